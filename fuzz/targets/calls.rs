//! Host calls: a guest makes the calls that the input describes, with any arguments. Nothing panics,
//! every result is an errno, and each step ends.
#![no_main]

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::{Name, Namespace, Node, mem, pipe};
use tinyhost::wasi::{Kind, Param, Row, TABLE};
use tinyhost::{Guest, ManualClock, Program, Step, WasiCtx, seeded};

/// A command to the guest: the call, nine arguments, and 48 bytes for them to point to.
const COMMAND: usize = 128;
const ARGUMENTS: usize = 9;
const PAYLOAD: u64 = 0x1000 + 80;
const MEMORY: u64 = 2 << 16;

/// Bytes of the input for one command.
const INPUT: usize = 1 + 2 * ARGUMENTS + 48;

/// Where the guest has these paths.
const PATHS: u64 = 0x800;
const PATH_ROOM: u64 = 16;
const TEXTS: [&str; 16] = [
    "",
    ".",
    "..",
    "/",
    "a",
    "d",
    "d/a",
    "d/..",
    "l",
    "l/",
    "dev/null",
    "dev/zero",
    "dev/fd/0",
    "dev/random",
    "n",
    "../a",
];

fuzz_target!(|input: &[u8]| {
    let (stdin, mut commands) = pipe::pipe(COMMAND);
    let mut guest = Guest::new(&PROGRAM, context(stdin));
    assert_eq!(guest.step(1_000_000), Step::Parked, "it waits for a command");
    for chunk in input.chunks_exact(INPUT).take(64) {
        if commands.write(&command(chunk)) != Ok(COMMAND) {
            return;
        }
        for _ in 0..4 {
            match guest.step(1_000_000) {
                Step::Parked if commands.is_empty() => break,
                Step::Parked | Step::Yielded => {}
                Step::Exited(_) => return,
                Step::Trapped(trap) => panic!("{}: {trap}", row(chunk).name),
            }
        }
        // One that waits for what never comes is dropped so.
        if !commands.is_empty() {
            return;
        }
    }
});

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut text = String::from("(module ");
    for row in TABLE {
        let _ = write!(text, r#"(import "wasi_snapshot_preview1" "{0}" (func ${0} "#, row.name);
        for param in row.params {
            text += if param.kind.is_wide() { "(param i64)" } else { "(param i32)" };
        }
        text += if row.returns { "(result i32)))" } else { "))" };
    }
    text += r#"(memory (export "memory") 2) (func (export "_start") (loop $next
        (i32.store (i32.const 16) (i32.const 0x1000)) (i32.store (i32.const 20) (i32.const 128))
        (if (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24))
            (then (return)))
        (if (i32.ne (i32.load (i32.const 24)) (i32.const 128)) (then (return)))
        (call $one) (br $next)))
        (func $one (local $result i32)"#;
    for (index, row) in TABLE.iter().enumerate() {
        let _ =
            write!(text, "(if (i32.eq (i32.load (i32.const 0x1000)) (i32.const {index})) (then ");
        let call = format!("(call ${} {})", row.name, loads(row.params));
        text += &if row.returns { format!("(local.set $result {call})))") } else { call + "))" };
    }
    text += "(if (i32.gt_u (local.get $result) (i32.const 76)) (then (unreachable))))";
    for (path, at) in TEXTS.iter().zip((PATHS..).step_by(PATH_ROOM as usize)) {
        let _ = write!(text, "(data (i32.const {at}) \"{path}\")");
    }
    text.push(')');
    Program::new(wat::parse_str(text).expect("text")).expect("a program")
});

fn loads(params: &[Param]) -> String {
    let load = |(index, param): (usize, &Param)| {
        let wide = if param.kind.is_wide() { "i64" } else { "i32" };
        format!("({wide}.load (i32.const {}))", 0x1008 + 8 * index)
    };
    params.iter().enumerate().map(load).collect::<Vec<_>>().join(" ")
}

fn row(chunk: &[u8]) -> &'static Row {
    &TABLE[usize::from(chunk[0]) % TABLE.len()]
}

fn command(chunk: &[u8]) -> Vec<u8> {
    let row = row(chunk);
    let index = TABLE.iter().position(|it| it.name == row.name).expect("it is there");
    let mut command = (index as u64).to_le_bytes().to_vec();
    for (at, bytes) in chunk[1..=2 * ARGUMENTS].chunks_exact(2).enumerate() {
        let kind = row.params.get(at).map_or(Kind::U32, |param| param.kind);
        command.extend(argument(kind, bytes[0], bytes[1]).to_le_bytes());
    }
    command.extend(&chunk[1 + 2 * ARGUMENTS..]);
    command
}

/// Mostly what is meant for this kind; with a high `class`, anything.
fn argument(kind: Kind, class: u8, value: u8) -> u64 {
    let value = u64::from(value);
    match class {
        0xe0..=0xef => return u64::MAX >> (value % 64),
        0xf0.. => return MEMORY.wrapping_add(value).wrapping_sub(128),
        _ => {}
    }
    match kind {
        Kind::Fd => value % 12,
        Kind::Path => PATHS + value % TEXTS.len() as u64 * PATH_ROOM,
        Kind::Iovs | Kind::Ciovs | Kind::Ptr => PAYLOAD + value % 48,
        Kind::Out => 0x3000 + value * 8,
        Kind::Size => value % 17,
        Kind::U32 => value,
        Kind::U64 | Kind::I64 => value << (class % 32),
    }
}

fn context(stdin: pipe::Reader) -> WasiCtx {
    let name = |text| Name::new(text).expect("a name");
    let mem = mem::tree(Some(1 << 20));
    mem.create_directory(name("d")).expect("mkdir");
    mem.symlink(name("l"), "d").expect("symlink");
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let names = Namespace::builder().mount("/", mem).and_then(|it| it.mount("/dev", dev));
    WasiCtx::builder()
        .arg("calls")
        .expect("no NUL")
        .namespace(names.expect("mounts").build())
        .stdin(stdin)
        .clock(Arc::new(ManualClock::new(1)))
        .random(seeded(1997))
        .fds_max(24)
        .memory_max(16 << 20)
        .build()
}
