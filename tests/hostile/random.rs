//! Random arguments to everything, for as long as there is time.
//!
//! `TINYHOST_RANDOM_MS` makes it shorter or longer, `TINYHOST_RANDOM_SEED` another run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::busy::{LIMIT, cpu_time};
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::{Node, host, mem, pipe};
use tinyhost::wasi::{Kind, Row, TABLE};
use tinyhost::{Guest, Program, Step, WasiCtx};

use crate::calls::baseline::subscriptions;
use crate::calls::trees::{Scratch, dir, file, link, snapshot};
use crate::calls::{MEMORY_LEN, imports, mounted};

/// How long it goes on.
const DURATION_MS: u64 = 10_000;

/// Steps for one call; then the guest waits for what never comes and is dropped.
const STEPS: usize = 4;

/// Bytes of a command: row, nine arguments, and memory for them to point into.
const COMMAND: usize = 1024;
const COMMAND_AT: u32 = 0x1000;
const PAYLOAD: u32 = COMMAND_AT + 80;

/// A guest that makes the calls its standard input says.
fn program() -> Program {
    let mut text = imports();
    text += r#"(memory (export "memory") 2) (func (export "_start") (loop $next
        (i32.store (i32.const 16) (i32.const 0x1000)) (i32.store (i32.const 20) (i32.const 1024))
        (if (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24))
            (then (return)))
        (if (i32.ne (i32.load (i32.const 24)) (i32.const 1024)) (then (return)))
        (call $one) (br $next)))
        (func $one (local $result i32)"#;
    for row in TABLE {
        let index = TABLE.iter().position(|it| it.name == row.name).expect("it is there");
        text += &format!("(if (i32.eq (i32.load (i32.const 0x1000)) (i32.const {index})) (then ");
        let call = format!("(call ${} {})", row.name, loads(row));
        text += &if row.returns { format!("(local.set $result {call})))") } else { call + "))" };
    }
    text += "(if (i32.gt_u (local.get $result) (i32.const 76)) (then (unreachable))))";
    Program::new(wat::parse_str(format!("(module {text})")).expect("text")).expect("a program")
}

fn loads(row: &Row) -> String {
    let load = |(index, param): (usize, &tinyhost::wasi::Param)| {
        let wide = if param.kind.is_wide() { "i64" } else { "i32" };
        format!("({wide}.load (i32.const {}))", COMMAND_AT as usize + 8 + 8 * index)
    };
    row.params.iter().enumerate().map(load).collect::<Vec<_>>().join(" ")
}

/// Marsaglia's xorshift64: the same calls for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

const PATHS: [&str; 24] = [
    "",
    ".",
    "..",
    "/",
    "file",
    "dir",
    "dir/",
    "dir/file",
    "link",
    "link/",
    "out",
    "out/x",
    "loop",
    "mem",
    "mem/file",
    "mem/dir/../file",
    "dev/null",
    "dev/zero",
    "dev/full",
    "dev/random",
    "dev/fd/0",
    "dev/fd/3",
    "new",
    "dir/../new",
];

/// Where the payload has what.
const PATHS_AT: u32 = 0;
const IOVECS_AT: u32 = 512;
const SUBSCRIPTIONS_AT: u32 = 640;

fn payload(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; COMMAND - 80];
    for (index, chunk) in bytes[..IOVECS_AT as usize].chunks_mut(32).enumerate() {
        let path = PATHS[(index + random.below(8) as usize) % PATHS.len()].as_bytes();
        chunk[..path.len()].copy_from_slice(path);
    }
    for chunk in bytes[IOVECS_AT as usize..SUBSCRIPTIONS_AT as usize].chunks_mut(8) {
        let at = random.pick(&[0x3000, 0x3004, 0x4000, MEMORY_LEN - 4, MEMORY_LEN, u32::MAX]);
        let len = random.pick(&[0, 1, 8, 100, 5000, 70_000, u32::MAX]);
        let usual = random.below(8) > 0;
        chunk[..4].copy_from_slice(&(if usual { 0x3000 } else { at }).to_le_bytes());
        chunk[4..].copy_from_slice(&(if usual { 64 } else { len }).to_le_bytes());
    }
    for chunk in bytes[SUBSCRIPTIONS_AT as usize..].chunks_exact_mut(48) {
        chunk.copy_from_slice(&subscriptions()[..48]);
        chunk[8] = random.below(3) as u8;
        chunk[16] = random.below(8) as u8;
        chunk[24] = random.below(256) as u8;
        if random.below(16) == 0 {
            chunk[random.below(48) as usize] = random.next() as u8;
        }
    }
    bytes
}

fn argument(random: &mut Random, kind: Kind) -> u64 {
    let wild = [0, 1, 7, 8, 1 << 16, (1 << 17) - 1, 1 << 17, 1 << 26, 1 << 29, 1 << 31];
    if random.below(12) == 0 {
        let wide = [u64::from(u32::MAX), i64::MAX.cast_unsigned(), 1 << 63, u64::MAX];
        return match random.below(3) {
            0 => random.next(),
            1 => random.pick(&wide),
            _ => random.pick(&wild),
        };
    }
    let within = |random: &mut Random, at: u32, len: u64| {
        u64::from(PAYLOAD + at) + random.below(len) / 32 * 32
    };
    match kind {
        Kind::Fd => random.below(14),
        Kind::Path => within(random, PATHS_AT, 512),
        Kind::Iovs | Kind::Ciovs => u64::from(PAYLOAD + IOVECS_AT) + 8 * random.below(8),
        Kind::Ptr => u64::from(PAYLOAD + SUBSCRIPTIONS_AT),
        Kind::Out => 0x3000 + random.below(0x1_0000),
        Kind::Size => random.pick(&[0, 1, 2, 3, 4, 6, 8, 9, 64]),
        Kind::U32 => random.below(6),
        Kind::U64 | Kind::I64 => {
            random.pick(&[0, 1, 5, 100, 4096, (1 << 30) - 1, 1 << 20, u64::MAX])
        }
    }
}

fn command(random: &mut Random) -> Vec<u8> {
    // A guest that ends itself is the end of the run: now and then will do.
    let row = loop {
        let row = random.below(TABLE.len() as u64) as usize;
        let ends =
            ["proc_exit", "proc_raise", "fd_close", "fd_renumber"].contains(&TABLE[row].name);
        if !ends || random.below(8) == 0 {
            break row;
        }
    };
    let mut command = (row as u64).to_le_bytes().to_vec();
    for index in 0..9 {
        let kind = TABLE[row].params.get(index).map_or(Kind::U32, |param| param.kind);
        let mut value = argument(random, kind);
        if TABLE[row].name == "fd_allocate" && index > 0 {
            // The host's disk is not to be filled: little, or more than there can be.
            value = random.pick(&[0, 1, 4096, 1 << 20, 1 << 63, u64::MAX]);
        }
        command.extend(value.to_le_bytes());
    }
    command.extend(payload(random));
    command
}

/// A tree of the host, a tree in memory and devices, no network.
fn guest(program: &Program, scratch: &Scratch, mem: &Arc<dyn Node>) -> (Guest, pipe::Writer) {
    let root = host::open(&scratch.0.join("mount")).expect("a directory");
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let namespace = mounted(&[("/", &root), ("/mem", mem), ("/dev", &dev)]);
    let (stdin, commands) = pipe::pipe(COMMAND);
    let cx = WasiCtx::builder().arg("random").and_then(|b| b.env("A", "B")).expect("no NUL");
    let cx = cx.namespace(namespace).stdin(stdin).fds_max(40).memory_max(64 << 20);
    (Guest::new(program, cx.build()), commands)
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_arguments_break_nothing() {
    let scratch = Scratch::new();
    let top = host::open(&scratch.0).expect("a directory");
    file(&top, "mount/file", b"inside");
    file(&top, "mount/dir/file", b"inside");
    link(&top, "mount/link", "dir");
    link(&top, "mount/out", "../outside");
    link(&top, "mount/loop", "loop");
    file(&top, "outside/x", b"secret");
    let outside = snapshot(&dir(&top, "outside"));
    let mem = mem::tree(Some(1 << 20));
    file(&mem, "dir/file", b"inside");

    let seed = env("TINYHOST_RANDOM_SEED").unwrap_or(0x7469_6e79_686f_7374);
    let duration = Duration::from_millis(env("TINYHOST_RANDOM_MS").unwrap_or(DURATION_MS));
    let (program, mut random) = (program(), Random(seed));
    let (begin, mut made, mut guests) = (Instant::now(), 0_u64, 0_u64);
    let least = duration.as_millis() as u64 / 10;
    let enough = |made, guests| made > least && guests > least / 50;
    while begin.elapsed() < duration || !enough(made, guests) {
        assert!(begin.elapsed() < duration + LIMIT, "only {made} calls of {guests} guests");
        let (mut guest, mut commands) = guest(&program, &scratch, &mem);
        guests += 1;
        assert_eq!(guest.step(1_000_000), Step::Parked, "it waits for a command");
        'guest: for _ in 0..200 {
            let command = command(&mut random);
            // It may have closed its standard input, or read from it.
            if commands.write(&command) != Ok(COMMAND) {
                break;
            }
            made += 1;
            for _ in 0..STEPS {
                let began = cpu_time();
                let step = guest.step(1_000_000);
                let row = TABLE[usize::from(command[0])].name;
                assert!(cpu_time() - began < Duration::from_secs(5), "{row}: seed {seed}");
                match step {
                    // It waits for the next command, or in the middle of this one: then the
                    // next one is not taken.
                    Step::Parked if commands.is_empty() => continue 'guest,
                    Step::Parked | Step::Yielded => {}
                    Step::Exited(_) => break 'guest,
                    Step::Trapped(trap) => panic!("{row}, seed {seed}, call {made}: {trap}"),
                }
            }
            break; // It waits for what never comes, and is dropped so.
        }
    }
    assert_eq!(snapshot(&dir(&top, "outside")), outside);
    eprintln!("{made} calls of {guests} guests, seed {seed}");
}
