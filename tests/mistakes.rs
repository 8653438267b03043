//! Ten mistakes everybody makes once. The message alone is enough to get it right.

mod util;

use std::net::TcpListener;
use std::process::Stdio;

use util::{Ended, Process, TempDir, fixture, root, tinyhost};

/// Runs it in a folder that has `data/hello.txt`, and whatever `files` there are besides.
fn typed(words: &[&str], files: &[(&str, &[u8])]) -> Ended {
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    dir.file("data/hello.txt", b"hello\n");
    for (name, bytes) in files {
        dir.file(name, bytes);
    }
    let mut command = tinyhost(words);
    command.current_dir(dir.path());
    Process::start(command).input(b"").end()
}

fn wasm(name: &str) -> String {
    root().join(fixture(name)).display().to_string()
}

const NO_FILE: &str = "No such file or directory (os error 44)";

#[test]
fn wrong_mount() {
    let cat = wasm("cat");
    typed(&["run", &cat, "data/hello.txt"], &[]).expect(
        1,
        "",
        &format!(
            "cat: data/hello.txt: {NO_FILE}\n\
             tinyhost: hint: the guest has no directories, so it can't see 'data/hello.txt': \
             add this one with --dir .::/\n"
        ),
    );
    typed(&["run", "--dir", ".::/", &cat, "data/hello.txt"], &[]).expect(0, "hello\n", "");

    typed(&["run", "--dir", "data", &cat, "hello.txt"], &[]).expect(
        1,
        "",
        &format!(
            "cat: hello.txt: {NO_FILE}\n\
             tinyhost: hint: in the guest, 'hello.txt' is 'data/hello.txt' (its directories: data)\n"
        ),
    );
    typed(&["run", "--dir", "data::/d", &cat, "/etc/tinyhost/none"], &[]).expect(
        1,
        "",
        &format!(
            "cat: /etc/tinyhost/none: {NO_FILE}\n\
             tinyhost: hint: '/etc/tinyhost/none' is in none of the guest's directories (/d): \
             add one with --dir HOST::/etc/tinyhost\n"
        ),
    );
}

#[test]
fn missing_file() {
    typed(&["run", "--dir", "data::/d", &wasm("cat"), "/d/helo.txt"], &[]).expect(
        1,
        "",
        &format!(
            "cat: /d/helo.txt: {NO_FILE}\n\
             tinyhost: hint: the guest did not find '/d/helo.txt': on the host, this is 'data/helo.txt', which does not exist\n"
        ),
    );
    typed(&["run", "--mount", "/m=mem", &wasm("cat"), "/m/x"], &[]).expect(
        1,
        "",
        &format!(
            "cat: /m/x: {NO_FILE}\n\
             tinyhost: hint: the guest did not find '/m/x' in --mount '/m=mem'\n"
        ),
    );
    // Which file it was only the guest knows; this one doesn't say.
    typed(&["run", "--dir", "data::/d", &wasm("dial"), "/d/helo.txt", "x"], &[]).expect(
        1,
        "",
        "error: NotFound (os error 44)\n",
    );
}

#[test]
fn denied_host() {
    typed(&["run", &wasm("dial"), "/dev/example.com:80", "x"], &[]).expect(
        1,
        "",
        "error: PermissionDenied (os error 2)\n\
         tinyhost: denied: dial example.com:80 (allow with --net example.com:80)\n",
    );
}

#[test]
fn wrong_order() {
    let (cat, file) = (wasm("cat"), "/guest/hello.txt");
    typed(&["run", "--dir", "/guest::data", &cat, file], &[]).expect(
        125,
        "",
        "tinyhost: --dir '/guest::data': can't open '/guest': no such file or directory: \
         the order is HOST::GUEST: did you mean --dir data::/guest?\n",
    );
    typed(&["run", "--dir", "data:/guest", &cat, file], &[]).expect(
        125,
        "",
        "tinyhost: --dir 'data:/guest': can't open 'data:/guest': no such file or \
         directory: write two colons between the paths: did you mean --dir data::/guest?\n",
    );
    typed(&["run", "--dir", "data::/guest", &cat, file], &[]).expect(0, "hello\n", "");
}

/// What the guest's directory is called says nothing of the host: with a HOST that is only
/// mistyped, the other order would offer the host's own, writable.
#[test]
fn a_mistyped_host_is_not_taken_for_the_other_order() {
    let cat = wasm("cat");
    let none = "no such file or directory: check the path on the host";
    let first = ["typo::/", "typo::/tmp", "typo::/etc::ro", "typo::/./tmp/", "typo::."];
    for dir in first.into_iter().chain(["typo:/", "typo:/tmp", "typo:/etc:ro"]) {
        let ended = typed(&["run", "--dir", dir, &cat], &[]);
        let path = dir.split_once("::").map_or(dir, |(host, _)| host);
        let line =
            format!("tinyhost: --dir '{dir}': can't open '{path}': {none} (before the '::')\n");
        ended.expect(125, "", &line);
    }
    for mount in ["/tmp=host:typo", "/=mem:typo", "/tmp=tar:typo", "data=host:typo"] {
        let line =
            format!("tinyhost: --mount '{mount}': can't open 'typo': {none} (after the ':')\n");
        typed(&["run", "--mount", mount, &cat], &[]).expect(125, "", &line);
    }
}

#[test]
fn missing_program() {
    typed(&["run", "--dir", "."], &[]).expect(
        2,
        "",
        "tinyhost: no program given: write tinyhost run [OPTIONS] PROGRAM [ARGS...] \
         (tinyhost run --help lists the options)\n",
    );
    typed(&["run", "cat.wasm"], &[]).expect(
        125,
        "",
        "tinyhost: cat.wasm: can't read the file: no such file or directory: check the path\n",
    );
    typed(&["cat.wasm"], &[]).expect(
        2,
        "",
        "tinyhost: unknown command 'cat.wasm': to run a program, write tinyhost run cat.wasm\n\
         usage:\n  tinyhost run [OPTIONS] PROGRAM [ARGS...]\n  \
         tinyhost serve [OPTIONS] [PROGRAM [ARGS...]]\n  tinyhost help [COMMAND]\n",
    );
}

#[test]
fn component_given() {
    typed(&["run", "c.wasm"], &[("c.wasm", b"\0asm\x0d\0\x01\0")]).expect(
        125,
        "",
        "tinyhost: c.wasm: a WebAssembly component, not a module: build it for wasm32-wasip1 \
         (not wasip2), or take the core module before it was wrapped\n",
    );
}

#[test]
fn out_of_memory() {
    let nihao = wasm("nihao");
    let line = "exceeded the memory limit of 2097152 bytes (raise the limit with --memory)\n";
    typed(&["run", "--memory", "2M", &nihao], &[]).expect(
        137,
        "",
        &format!("tinyhost: {nihao}: {line}"),
    );
}

#[test]
fn timeout() {
    let spin = wasm("spin");
    let line = "timed out after 100 ms (raise the limit with --timeout)\n";
    typed(&["run", "--timeout", "100ms", &spin], &[]).expect(
        124,
        "",
        &format!("tinyhost: {spin}: {line}"),
    );
}

#[test]
fn port_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    typed(&["serve", "--bind", &addr], &[]).expect(
        125,
        "",
        &format!(
            "tinyhost: can't listen on {addr}: address already in use: another program listens \
             there; choose another port\n"
        ),
    );
    typed(&["run", "--listen", &addr, &wasm("hello")], &[]).expect(
        125,
        "",
        &format!(
            "tinyhost: can't listen on {addr}: address already in use: another program listens \
             there; choose another port\n"
        ),
    );
}

/// Each of the few that there are is the one too many once.
#[test]
fn too_few_descriptors() {
    let words = ["serve", "--bind=127.0.0.1:0", "--metrics=127.0.0.1:0", "--workers=4"];
    for limit in 5..16 {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_tinyhost")).args(words).arg(wasm("echo"));
        let ended = Process::start(command).end();
        assert_eq!(ended.status, Some(125), "{ended:?}");
        let (line, rest) = ended.stderr.split_once('\n').unwrap();
        assert!(line.contains("too many open files") && line.contains("ulimit -n"), "{line}");
        assert_eq!(rest, "");
    }
}

#[test]
fn a_standard_stream_that_cannot_be_had_is_not_taken_for_closed() {
    let mut command = std::process::Command::new("sh");
    let line = "ulimit -n 4 && exec \"$0\" run \"$1\"";
    command.args(["-c", line, env!("CARGO_BIN_EXE_tinyhost"), &wasm("hello")]);
    let ended = Process::start(command).end();
    // Which of the three is the first to fail depends on what else the test was started with.
    assert_eq!((ended.status, &*ended.stdout), (Some(125), &b""[..]), "{ended:?}");
    assert!(ended.stderr.contains("too many open files for this process"), "{ended:?}");
}

/// Whether its standard input was closed, or is /dev/null, opened as Python and Node do: the
/// guest says itself that it found nothing there.
#[test]
fn of_a_standard_input_that_is_at_its_end_nothing_is_guessed() {
    let closed = "exec \"$0\" run \"$1\" <&-";
    for line in [closed, "exec \"$0\" run \"$1\" <>/dev/null", "exec \"$0\" run \"$1\" </dev/null"]
    {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", line, env!("CARGO_BIN_EXE_tinyhost"), &wasm("nihao")]);
        let ended = Process::start_with_stdin(command, Stdio::null()).end();
        ended.expect(1, "name> ", "nihao: no name: EOF\n");
    }
}

/// Beyond the ten: what is refused to a guest is said once, with what would allow it.
#[test]
fn read_only_and_out_of_its_directory() {
    let dial = wasm("dial");
    typed(&["run", "--dir", "data::/d::ro", &dial, "/d/hello.txt", "x"], &[]).expect(
        1,
        "",
        "error: ReadOnlyFilesystem (os error 69)\n\
         tinyhost: denied: path_open '/d/hello.txt' (EROFS): --dir 'data::/d::ro' is read-only \
         (leave out ::ro to allow it)\n",
    );
    typed(&["run", "--dir", "data::/d", &dial, "/d/../secret", "x"], &[]).expect(
        1,
        "",
        "error: Uncategorized (os error 76)\n\
         tinyhost: denied: path_open '/d/../secret': the path leaves '/d' through '..' or a link (mount what the guest needs with --dir HOST::GUEST)\n",
    );
}

#[test]
fn what_is_full_or_left_out_or_not_there_yet() {
    let (fstour, dial) = (wasm("fstour"), wasm("dial"));
    typed(&["run", "--mount", "/w=mem,quota=1K", &fstour, "/w"], &[]).expect(
        1,
        "",
        "fstour: /w/fstour: No space left on device (os error 51)\n\
         tinyhost: denied: path_create_directory '/w/fstour/a/b' (ENOSPC): --mount \
         '/w=mem,quota=1K' is full (raise the limit with quota=SIZE)\n",
    );
    let hint = "the guest has no '/dev/null' because of --no-dev: leave that out (also in the \
     policy)";
    for dirs in [&[][..], &["--dir", "data::/"]] {
        let words = [&["run", "--no-dev"], dirs, &[&*dial, "/dev/null", "x"]].concat();
        typed(&words, &[]).expect(
            1,
            "",
            &format!("error: NotFound (os error 44)\ntinyhost: hint: {hint}\n"),
        );
    }
}

/// What a descriptor may not be used for has nothing to do with where it is.
#[test]
fn a_directory_is_read_or_written_like_a_file() {
    typed(&["run", "--dir", "data::/d", &wasm("cat"), "/d"], &[]).expect(
        1,
        "",
        "cat: /d: Bad file descriptor (os error 8)\n\
         tinyhost: fd_read '/d': this is a directory: give the path of a file in it\n",
    );
    let write = |fd: u32| {
        let text = format!(
            r#"(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (func (export "_start")
                (call $exit (call $write (i32.const {fd}) (i32.const 0) (i32.const 0) (i32.const 8)))))"#
        );
        typed(
            &["run", "--dir", "data::/d", "w.wasm"],
            &[("w.wasm", &wat::parse_str(text).unwrap())],
        )
    };
    write(3).expect(8, "", "");
}

/// A program may try, and do without: only if it fails is it told, or beside its calls.
#[test]
fn what_was_denied_to_a_guest_that_succeeds_is_not_told() {
    let imports = r#"(import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "__pycache__") (data (i32.const 20) "../x") (data (i32.const 40) "example.org:80")"#;
    let open = |fd: u32, at: u32, len: u32| {
        format!(
            "(drop (call $open (i32.const {fd}) (i32.const 0) (i32.const {at}) (i32.const {len})
              (i32.const 0) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 900)))"
        )
    };
    // The directory is 3, and /dev is 4.
    let probes = [open(3, 20, 4), open(4, 40, 14)].concat();
    let exit = |status: u32| {
        let text = format!(
            "(module {imports} (func (export \"_start\")
              (drop (call $mkdir (i32.const 3) (i32.const 0) (i32.const 11))) {probes}
              (call $exit (i32.const {status}))))"
        );
        wat::parse_str(text).unwrap()
    };
    let typed = |status: u32, options: &[&str]| {
        let words = [&["run", "--dir", "data::/d::ro"], options, &["p.wasm"]].concat();
        let ended = typed(&words, &[("p.wasm", &exit(status))]);
        assert_eq!(ended.status, Some(i32::try_from(status).unwrap()), "{ended:?}");
        ended.stderr.lines().filter(|line| line.contains("denied: ")).count()
    };
    assert_eq!(typed(0, &[]), 0);
    assert_eq!(typed(1, &[]), 3);
    assert_eq!(typed(0, &["--trace=proc"]), 3);
    // Who wants no hints is told what the network denied nonetheless.
    assert_eq!(typed(1, &["--quiet"]), 1);
}

/// The case of `python -c '1/0'`: an argument that only looks like a path, and files that were
/// looked for in vain and are not what the guest failed for.
#[test]
fn a_hint_is_about_what_the_guest_says_it_failed_for() {
    // Looks for two files, says what it is told to, and fails.
    let program = |said: &str| {
        let text = format!(
            r#"(module
              (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "main.py") (data (i32.const 20) "pyvenv.cfg") (data (i32.const 40) "out.o")
              (data (i32.const 100) "{said}") (data (i32.const 80) "\64\00\00\00\{:02x}\00\00\00")
              (func $look (param i32 i32 i32 i64)
                (drop (call $open (i32.const 3) (i32.const 0) (local.get 0) (local.get 1)
                  (local.get 2) (local.get 3) (i64.const 0) (i32.const 0) (i32.const 900))))
              (func (export "_start")
                (call $look (i32.const 0) (i32.const 7) (i32.const 0) (i64.const 2))
                (call $look (i32.const 20) (i32.const 10) (i32.const 0) (i64.const 2))
                (call $look (i32.const 40) (i32.const 5) (i32.const 0) (i64.const 66))
                (drop (call $write (i32.const 2) (i32.const 80) (i32.const 1) (i32.const 900)))
                (call $exit (i32.const 1))))"#,
            said.len()
        );
        wat::parse_str(text).unwrap()
    };
    let hint = |said: &str, args: &[&str]| {
        let words = [&["run", "--dir", "data::/", "p.wasm"], args].concat();
        let ended = typed(&words, &[("p.wasm", &program(said))]);
        let mut lines = ended.stderr.strip_prefix(said).unwrap().lines();
        lines.find_map(|line| line.strip_prefix("tinyhost: hint: ").map(str::to_owned))
    };
    for (said, args) in [
        ("ZeroDivisionError: 1/0", &["-c", "1/0"][..]),
        ("File /main.py, line 1: bad", &["/main.py"]),
        ("out.o: not found", &[]),
        ("hello.txt: not found", &["hello.txt"]),
        ("x: not found", &[]),
        ("it failed", &["data/no/such"]),
    ] {
        assert_eq!(hint(said, args), None, "{said}");
    }
    let found = "the guest did not find '/main.py': on the host, this is 'data/main.py', which \
     does not exist";
    assert_eq!(hint("can't open '//main.py': Errno 44", &[]).as_deref(), Some(found));
}
