//! What calls are charged, beside the time they take with their worst arguments.
//!
//! `cargo bench --bench charges [WORD]`: a line for each call and backend, those that are charged
//! the least for their time first. A ratio below 0.5 is too little: a slice of such calls holds
//! up everybody else. Figures of a busy machine are no good.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig, Policy};
use tinyhost::vfs::{Name, Namespace, Node, Open, host, mem};
use tinyhost::{Guest, Program, Step, WasiCtx};

const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_datasync" (func $datasync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate" (func $allocate (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_times" (func $set_times (param i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_tell" (func $tell (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))"#;

/// A call, or a few that belong together.
struct Case {
    name: &'static str,
    /// At 1024 and at 8192.
    paths: [String; 2],
    /// Once, before. The file is then descriptor 4, if it opens one.
    before: String,
    call: String,
    rounds: u32,
    /// Whether the call answers an error, which is what is measured.
    fails: bool,
}

impl Case {
    fn that_fails(self) -> Case {
        Case { fails: true, ..self }
    }
}

/// Opens the first path as descriptor 4, with these flags of `oflags`.
fn open(oflags: u32) -> String {
    const DIRECTORY: u32 = 2;
    if oflags & DIRECTORY == 0 { open_with(oflags, 0x1fff_ffff) } else { open_with(oflags, READ) }
}

/// The rights to read a file and list a directory.
const READ: u64 = 1 << 1 | 1 << 14;

fn open_with(oflags: u32, rights: u64) -> String {
    format!(
        "(drop (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (global.get $len) \
         (i32.const {oflags}) (i64.const {rights}) (i64.const {rights}) (i32.const 0) (i32.const 12)))"
    )
}

fn case(name: &'static str, path: &str, before: &str, call: &str, rounds: u32) -> Case {
    let paths = [path.to_owned(), "other".to_owned()];
    Case { name, paths, before: before.to_owned(), call: call.to_owned(), rounds, fails: false }
}

const STAT: &str =
    "(call $stat (i32.const 3) (i32.const 1) (i32.const 1024) (global.get $len) (i32.const 64))";
const IOVEC: &str =
    "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 16777216))";
const SMALL: &str =
    "(i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 1))";

/// What a tree can be asked for, in memory or of the host.
fn of_trees() -> Vec<Case> {
    let long = "d/../".repeat(818) + "d";
    let file = |flags, more: &str| open(flags) + more;
    let close = "(call $close (i32.load (i32.const 12)))";
    vec![
        case("stat, a long path", &long, "", STAT, 20),
        case("stat, a short path", "d", "", STAT, 2000),
        case("stat, nothing there", "nothing", "", STAT, 2000).that_fails(),
        case("stat, links to links", "l0", "", STAT, 20),
        case("open and close", "f", "", &(open(0) + close), 2000),
        case("open, a long path", &(long[5..].to_owned() + "/../f"), "", &(open(0) + close), 20),
        case(
            "create, unlink",
            "new",
            "",
            &(open(1)
                + "(drop "
                + close
                + ") (call $unlink (i32.const 3) (i32.const 1024) (global.get $len))"),
            500,
        ),
        case(
            "mkdir, rmdir",
            "new",
            "",
            "(drop (call $mkdir (i32.const 3) (i32.const 1024) (global.get $len))) (call $rmdir (i32.const 3) (i32.const 1024) (global.get $len))",
            500,
        ),
        case(
            "rename",
            "d",
            "",
            "(drop (call $rename (i32.const 3) (i32.const 1024) (global.get $len) (i32.const 3) (i32.const 8192) (i32.const 5))) \
             (call $rename (i32.const 3) (i32.const 8192) (i32.const 5) (i32.const 3) (i32.const 1024) (global.get $len))",
            500,
        ),
        case(
            "symlink, unlink",
            "new",
            "",
            "(drop (call $symlink (i32.const 8192) (i32.const 5) (i32.const 3) (i32.const 1024) (global.get $len))) \
             (call $unlink (i32.const 3) (i32.const 1024) (global.get $len))",
            500,
        ),
        case(
            "readlink",
            "l0",
            "",
            "(call $readlink (i32.const 3) (i32.const 1024) (global.get $len) (i32.const 65536) (i32.const 4096) (i32.const 8))",
            1000,
        ),
        case("fd_filestat_get", "f", &open(0), "(call $fstat (i32.const 4) (i32.const 64))", 5000),
        case(
            "fd_filestat_set_times",
            "f",
            &open(0),
            "(call $set_times (i32.const 4) (i64.const 1) (i64.const 1) (i32.const 5))",
            2000,
        ),
        case(
            "pwrite 1 byte",
            "f",
            &file(0, SMALL),
            "(call $pwrite (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))",
            5000,
        ),
        case(
            "pread 1 byte",
            "f",
            &file(0, SMALL),
            "(call $pread (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))",
            5000,
        ),
        case(
            "pwrite 16 MiB",
            "big",
            &file(0, IOVEC),
            "(call $pwrite (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))",
            5,
        ),
        case(
            "pread 16 MiB",
            "big",
            &file(0, IOVEC),
            "(call $pread (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))",
            5,
        ),
        case(
            "pwrite 16 MiB, cut",
            "cut",
            &file(1, IOVEC),
            "(drop (call $pwrite (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))) (call $set_size (i32.const 4) (i64.const 0))",
            5,
        ),
        case(
            "pwrite at 4 GiB, cut",
            "far",
            &file(1, SMALL),
            "(drop (call $pwrite (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 4294967295) (i32.const 8))) (call $set_size (i32.const 4) (i64.const 0))",
            50,
        ),
        case(
            "fd_sync",
            "f",
            &file(0, SMALL),
            "(drop (call $pwrite (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8))) (call $sync (i32.const 4))",
            50,
        ),
        case("fd_datasync", "f", &open(0), "(call $datasync (i32.const 4))", 200),
        case(
            "fd_allocate, cut",
            "f",
            &open(0),
            "(drop (call $allocate (i32.const 4) (i64.const 0) (i64.const 16777216))) (call $set_size (i32.const 4) (i64.const 0))",
            500,
        ),
        case(
            "readdir, all of 2,000",
            "many",
            &open(2),
            "(call $readdir (i32.const 4) (i32.const 65536) (i32.const 131072) (i64.const 0) (i32.const 8))",
            20,
        ),
        case(
            "readdir, one of 2,000",
            "many",
            &open(2),
            "(call $readdir (i32.const 4) (i32.const 65536) (i32.const 64) (i64.const 1000) (i32.const 8))",
            500,
        ),
    ]
}

/// Calls that ask no tree.
fn of_others() -> Vec<Case> {
    let random = IOVEC.to_owned() + &open(0);
    let clocks = "(loop $all (i32.store (i32.add (i32.const 65536) (i32.mul (global.get $i) (i32.const 48))) (i32.const 0)) \
        (i32.store8 (i32.add (i32.const 65544) (i32.mul (global.get $i) (i32.const 48))) (i32.const 0)) \
        (i32.store (i32.add (i32.const 65552) (i32.mul (global.get $i) (i32.const 48))) (i32.const 1)) \
        (global.set $i (i32.add (global.get $i) (i32.const 1))) (br_if $all (i32.lt_u (global.get $i) (i32.const 16384))))";
    vec![
        case(
            "fd_tell of a pipe",
            "urandom",
            "",
            "(call $tell (i32.const 0) (i32.const 8))",
            100_000,
        )
        .that_fails(),
        case(
            "fd_prestat_get",
            "urandom",
            "",
            "(call $prestat (i32.const 3) (i32.const 8))",
            100_000,
        ),
        case(
            "clock_time_get",
            "urandom",
            "",
            "(call $clock (i32.const 1) (i64.const 0) (i32.const 8))",
            100_000,
        ),
        case(
            "memory.grow, 64 KiB",
            "urandom",
            "",
            "(i32.eq (memory.grow (i32.const 1)) (i32.const -1))",
            1000,
        ),
        case(
            "memory.copy, 8 MiB",
            "urandom",
            "",
            "(memory.copy (i32.const 65536) (i32.const 12582912) (i32.const 8388608)) (i32.const 0)",
            20,
        ),
        case("sched_yield", "urandom", "", "(call $yield)", 20_000),
        case("args_get", "urandom", "", "(call $args (i32.const 65536) (i32.const 131072))", 1000),
        case(
            "random_get 1 MiB",
            "urandom",
            "",
            "(call $random (i32.const 65536) (i32.const 1048576))",
            5,
        ),
        case(
            "random_get 1 byte",
            "urandom",
            "",
            "(call $random (i32.const 65536) (i32.const 1))",
            5000,
        ),
        case(
            "/dev/urandom, 16 MiB asked",
            "urandom",
            &random,
            "(call $read (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8))",
            20,
        ),
        case(
            "/dev/zero, 16 MiB",
            "zero",
            &random,
            "(call $read (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8))",
            20,
        ),
        case(
            "poll_oneoff, 16,384 clocks",
            "urandom",
            clocks,
            "(call $poll (i32.const 65536) (i32.const 4194304) (i32.const 16384) (i32.const 8))",
            5,
        ),
        case(
            "an accept name's address",
            "accept/127.0.0.1:0,addr",
            "",
            &(open_with(0, READ) + "(call $close (i32.load (i32.const 12)))"),
            500,
        ),
        case(
            "a dial that is refused",
            "127.0.0.1:9",
            "",
            &open(0).replace("(drop ", "(i32.eqz "),
            200,
        ),
    ]
}

/// Charged, and taken.
fn measure(case: &Case, namespace: &Namespace) -> (f64, f64) {
    let [path, other] = &case.paths;
    let failed = if case.fails { "" } else { "unreachable" };
    let (before, call, rounds, len) = (&case.before, &case.call, case.rounds, path.len());
    let wat = format!(
        r#"(module {IMPORTS} (memory (export "memory") 384)
          (global $len i32 (i32.const {len})) (global $i (mut i32) (i32.const 0)) (global $n (mut i32) (i32.const {rounds}))
          (data (i32.const 1024) "{path}") (data (i32.const 8192) "{other}")
          (func (export "_start") {before} (drop (call $yield))
            (loop $again (if (call $once) (then {failed})) (global.set $n (i32.sub (global.get $n) (i32.const 1))) (br_if $again (global.get $n))))
          (func $once (result i32) {call}))"#
    );
    let program = Program::new(wat::parse_str(&wat).expect(case.name)).expect(case.name);
    let mut cx = WasiCtx::builder().namespace(namespace.clone());
    for _ in 0..1000 {
        cx = cx.arg("an argument of some length").expect("no NUL");
    }
    let mut guest = Guest::new(&program, cx.build());
    assert_eq!(guest.step(100_000_000), Step::Yielded, "{}", case.name);
    let (fuel, began) = (guest.fuel_used(), Instant::now());
    let mut waited = Duration::ZERO;
    loop {
        match guest.step(1_000_000) {
            Step::Yielded => {}
            Step::Parked => {
                let parked = Instant::now();
                guest.wait().expect("a poll");
                waited += parked.elapsed();
            }
            end => break assert_eq!(end, Step::Exited(0), "{}", case.name),
        }
    }
    let rounds = f64::from(case.rounds);
    let taken = (began.elapsed() - waited).as_nanos() as f64 / rounds;
    ((guest.fuel_used() - fuel) as f64 / rounds, taken)
}

/// A tree with what the cases look for in it.
fn furnish(root: &Arc<dyn Node>) {
    fn name(text: &str) -> Name<'_> {
        Name::new(text).expect("a name")
    }
    let how = Open { read: true, write: true, ..Open::default() };
    for dir in ["d", "many"] {
        root.create_directory(name(dir)).expect("a directory");
    }
    let many = root.lookup(name("many")).expect("it was made");
    for nth in 0..2000 {
        drop(many.create(name(&format!("file{nth:08}")), how).expect("a file"));
    }
    drop(root.create(name("f"), how).expect("a file"));
    let mut big = root.create(name("big"), how).expect("a file");
    for chunk in 0..16 {
        big.write(&[IoSlice::new(&vec![1; 1 << 20])], chunk << 20).expect("room");
    }
    for nth in 0..39 {
        let text = "d/../".repeat(100) + &format!("l{}", nth + 1);
        let text = if nth == 38 { "f".to_owned() } else { text };
        root.symlink(name(&format!("l{nth}")), &text).expect("a link");
    }
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let scratch =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("charges-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a directory");
    let policy = Policy::from_rules(["127.0.0.1:*"], ["127.0.0.1:*"]).expect("rules");
    let net = Net::new(NetConfig { policy, ..NetConfig::default() });
    let trees = [("mem", mem::tree(None)), ("host", host::open(&scratch).expect("a directory"))];
    let mut found = Vec::new();
    let mut all: Vec<(&str, Arc<dyn Node>, Vec<Case>)> = Vec::new();
    for (kind, root) in trees {
        furnish(&root);
        all.push((kind, root, of_trees()));
    }
    all.push(("dev", Arc::new(Dev::with_net(net)), of_others()));
    for (kind, root, cases) in all {
        let namespace = Namespace::builder().mount("/", root).expect("one mount").build();
        for case in cases.iter().filter(|case| case.name.contains(&wanted)) {
            // Whatever else the machine does only adds to the time.
            let runs = (0..3).map(|_| measure(case, &namespace));
            let (charged, taken) = runs.min_by(|a, b| a.1.total_cmp(&b.1)).expect("three runs");
            found.push((charged / taken, kind, case.name, charged, taken));
        }
    }
    let _ = std::fs::remove_dir_all(&scratch);
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    println!("{:>7}  {:5} {:28} {:>12} {:>12}", "ratio", "tree", "call", "fuel", "ns");
    for (nth, (ratio, kind, name, charged, taken)) in found.iter().enumerate() {
        if nth == 10 {
            println!("  (the worst ten above)");
        }
        println!("{ratio:7.2}  {kind:5} {name:28} {charged:12.0} {taken:12.0}");
    }
}
