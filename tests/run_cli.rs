//! What `tinyhost` is told, what it answers, and its exit statuses.

mod util;

use std::fs;
use std::net::TcpListener;

use util::{Ended, Process, TempDir, fixture, run, tinyhost};

/// Runs a guest with options and arguments, and nothing on stdin.
fn guest(options: &[&str], name: &str, args: &[&str]) -> Ended {
    let fixture = fixture(name);
    run(&[options, &[&fixture], args].concat(), b"")
}

/// Asserts that nothing was started: a status, and lines on stderr of which the first is
/// tinyhost's and has all of `parts`. The answer is what follows it.
#[track_caller]
fn refused(ended: &Ended, status: i32, parts: &[&str]) -> String {
    assert_eq!((ended.status, &*ended.stdout), (Some(status), &b""[..]), "{ended:?}");
    let (line, rest) = ended.stderr.split_once('\n').expect("a whole line");
    assert!(line.starts_with("tinyhost: "), "{line}");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
    rest.to_owned()
}

/// [`refused`] with one line.
#[track_caller]
fn refused_in_a_line(ended: &Ended, status: i32, parts: &[&str]) {
    assert_eq!(refused(ended, status, parts), "", "{ended:?}");
}

#[test]
fn a_trap_is_134_and_what_was_printed_is_kept() {
    guest(&[], "trap", &[]).expect(
        134,
        "before the trap\n",
        "tinyhost: fixtures/trap.wasm: trap: unreachable executed \
         (a panic or abort of the program)\n",
    );
}

#[test]
fn an_exhausted_stack_is_134_and_names_its_option() {
    let line = "tinyhost: fixtures/deep.wasm: trap: call stack exhausted \
                (raise the limit with --stack)\n";
    guest(&[], "deep", &["100000000"]).expect(134, "", line);
    guest(&["--stack", "64K"], "deep", &["5000"]).expect(134, "", line);
    // As the line says: more stack, more calls.
    guest(&["--stack", "256M"], "deep", &["1000000"]).expect(0, "4293967294\n", "");
}

#[test]
fn used_up_fuel_is_137_and_names_its_option() {
    guest(&["--fuel", "1M"], "spin", &[]).expect(
        137,
        "",
        "tinyhost: fixtures/spin.wasm: ran out of fuel (raise the limit with --fuel)\n",
    );
    guest(&["--fuel", "1M"], "hello", &[]).expect(0, "hello, world\n", "");
}

#[test]
fn used_up_cpu_time_is_137_and_names_its_option() {
    guest(&["--cpu", "20ms"], "spin", &[]).expect(
        137,
        "",
        "tinyhost: fixtures/spin.wasm: ran out of CPU time (raise the limit with --cpu)\n",
    );
    // Time spent waiting is none: it sleeps for longer than it may compute.
    guest(&["--cpu", "1s"], "sleeper", &["1100"]).expect(0, "slept\n", "");
}

#[test]
fn a_guest_that_fails_for_want_of_memory_is_137() {
    let line = |name: &str, bytes: u64| {
        format!(
            "tinyhost: fixtures/{name}.wasm: exceeded the memory limit of {bytes} bytes \
             (raise the limit with --memory)\n"
        )
    };
    // It can't even begin; its runtime gives up.
    guest(&["--memory", "64K"], "hello", &[]).expect(137, "", &line("hello", 65536));
    guest(&["--memory", "2M"], "nihao", &[]).expect(137, "", &line("nihao", 2 << 20));
    guest(&["--memory", "64M"], "nihao", &[]).expect(1, "name> ", "nihao: no name: EOF\n");
}

#[test]
fn a_guest_that_copes_without_memory_ends_as_it_likes() {
    let ended = guest(&["--memory", "16M"], "hog", &[]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    let count = ended.stderr.strip_prefix("hog: out of memory after ");
    let hint = " MiB\ntinyhost: hint: the guest reached its memory limit: raise it with --memory\n";
    let count = count.and_then(|rest| rest.strip_suffix(hint)).expect("the guest's line, a hint");
    // One for its stack and its data, and an allocator may grow by more than it needs.
    assert!((10..16).contains(&count.parse::<u32>().unwrap()), "{count} MiB of 16");
}

#[test]
fn the_descriptor_limit_is_the_guests_emfile() {
    let line = |count| format!("opened {count}: Uncategorized (os error 33)\n");
    // Three streams and the directory /dev have one each.
    guest(&["--max-fds", "20"], "fdhog", &["/dev/null"]).expect(0, &line(16), "");
    guest(&[], "fdhog", &["/dev/null"]).expect(0, &line(1020), "");
}

#[test]
fn what_is_no_program_is_125_and_says_what_to_do() {
    let dir = TempDir::new();
    let hello = fs::read(util::root().join(fixture("hello"))).unwrap();
    let unknown_section = [b"\0asm\x01\0\0\0".as_slice(), &[0x77, 0]].concat();
    let locked = dir.file("locked.wasm", &hello);
    let cases: [(String, &[&str]); 11] = [
        (dir.file("text.wasm", b"#!/bin/sh\n"), &["not a WebAssembly module", "wasm32-wasip1"]),
        (dir.file("empty.wasm", b""), &["not a WebAssembly module"]),
        (dir.file("four.wasm", b"\0asm"), &["not a valid WebAssembly module", "truncated"]),
        (dir.file("half.wasm", &hello[..hello.len() / 2]), &["not a valid", "truncated"]),
        (dir.file("odd.wasm", &unknown_section), &["not a valid WebAssembly module"]),
        (
            dir.file("component.wasm", b"\0asm\x0d\0\x01\0\x07\x05\x01\x41\x02\x01\x42"),
            &["a WebAssembly component, not a module", "build it for wasm32-wasip1"],
        ),
        (dir.path().join("none.wasm").display().to_string(), &["no such file", "check the path"]),
        (dir.path().display().to_string(), &["it is a directory", "give the path of a .wasm file"]),
        (fixture("missing"), &["imports 'env.nope'", "wasi_snapshot_preview1"]),
        (fixture("badimport"), &["imports 'wasi_snapshot_preview1.fd_nope'", "current toolchain"]),
        (fixture("nostart"), &["no function '_start'", "build it as a command"]),
    ];
    for (path, parts) in cases {
        let ended = run(&[&path], b"");
        refused_in_a_line(&ended, 125, &[&[&*path], parts].concat());
    }
    // One whose permissions say no; they say nothing to root.
    rustix::fs::chmod(locked.as_str(), rustix::fs::Mode::empty()).unwrap();
    if fs::File::open(&locked).is_err() {
        refused_in_a_line(&run(&[&locked], b""), 125, &[&locked, "check its permissions"]);
    }
}

#[test]
fn what_only_looks_like_a_command_is_125() {
    let tail = guest(&[], "tailhost", &[]);
    refused_in_a_line(&tail, 125, &["fixtures/tailhost.wasm", "'_start' without parameters"]);
    // What sleeps in its start section is a command like any other.
    guest(&[], "startsleep", &[]).expect(0, "", "");
    let dir = TempDir::new();
    let wasm = |text: &str| dir.file("guest.wasm", &wat::parse_str(text).unwrap());
    let types = r#"(module (import "wasi_snapshot_preview1" "fd_close" (func (param i64)))
        (func (export "_start")))"#;
    refused_in_a_line(&run(&[&wasm(types)], b""), 125, &["fd_close' with a wrong signature"]);
    let old = r#"(module (import "wasi_unstable" "fd_close" (func (param i32) (result i32)))
        (func (export "_start")))"#;
    refused_in_a_line(&run(&[&wasm(old)], b""), 125, &["wasi_unstable.fd_close", "preview0"]);
}

#[test]
fn an_exit_may_come_in_a_start_section_or_a_tail_call() {
    let dir = TempDir::new();
    let exits = |body: &str| {
        let text = format!(
            r#"(module
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1) {body})"#
        );
        let path = dir.file("exits.wasm", &wat::parse_str(&text).unwrap());
        run(&[&path], b"").expect(7, "", "");
    };
    exits(r#"(func (export "_start") (call $exit (i32.const 7)) unreachable)"#);
    exits(r#"(func (export "_start") (return_call $exit (i32.const 7)))"#);
    exits(
        r#"(start $first) (func $first (call $exit (i32.const 7)))
           (func (export "_start") unreachable)"#,
    );
}

#[test]
fn a_rule_that_does_not_parse_stops_the_start_and_is_pointed_at() {
    let cases = [
        (
            "--net",
            "example.org",
            "column 12: the port is missing",
            "  example.org\n             ^\n",
        ),
        ("--net", "exa mple.org:80", "column 4: a blank", "  exa mple.org:80\n     ^\n"),
        ("--net-listen", "7000", "the host is missing: write 127.0.0.1:7000", "  7000\n  ^\n"),
        ("--net-listen", "none", "write ADDR:PORT, as 127.0.0.1:7000", "  none\n      ^\n"),
        ("--net-listen", "[::1]", "write [::1]:7000, or [::1]:*", "  [::1]\n       ^\n"),
        ("--net", "7000", "the host is missing: write localhost:7000", "  7000\n  ^\n"),
        ("--net-listen", "nowhere:80", "invalid address", "  nowhere:80\n  ^^^^^^^\n"),
    ];
    for (option, rule, what, caret) in cases {
        let ended = guest(&[option, rule], "hello", &[]);
        assert_eq!(refused(&ended, 2, &[&format!("{option} '{rule}'"), what]), caret, "{ended:?}");
    }
}

#[test]
fn what_is_typed_wrong_is_2_and_says_how_to_type_it() {
    let cases: [(&[&str], &[&str]); 19] = [
        (&["--dir", ""], &["--dir ''", "HOST[::GUEST][::ro]"]),
        (&["--dir", ".::/a::/b"], &["more than two paths"]),
        (&["--dir", "../x"], &["--dir '../x'", "--dir ../x::/data"]),
        (&["--dir", ".::/x", "--mount", "/x=mem"], &["/x"]),
        (&["--mount", "/x"], &["invalid --mount '/x': '=' is missing", "GUEST=KIND"]),
        (&["--mount", "/x=disk"], &["unknown kind 'disk'", "tar:FILE"]),
        (
            &["--mount", "/x=mem,quota=lots"],
            &["--mount '/x=mem,quota=lots': invalid quota 'lots'", "64K"],
        ),
        (&["--env", "=x"], &["invalid --env '=x': the name is missing", "NAME=VALUE"]),
        (&["--timeout", "5"], &["invalid --timeout '5': add a unit, such as 5s"]),
        (&["--timeout", "-1s"], &["invalid --timeout '-1s': write a time such as"]),
        (&["--memory", "x"], &["invalid --memory 'x'", "64K"]),
        (&["--memory", "99999999999G"], &["invalid --memory '99999999999G'"]),
        (&["--fuel", "1.5"], &["invalid --fuel '1.5'"]),
        (&["--max-fds", "many"], &["invalid --max-fds 'many'"]),
        (&["--stack", ""], &["invalid --stack ''"]),
        (&["--listen", "localhost"], &["invalid --listen 'localhost'", "127.0.0.1:8080"]),
        (&["--frob"], &["--frob", "tinyhost run --help"]),
        (&["--timeout", "1s", "--timeout", "2s"], &["timeout"]),
        (&["--dev", "no"], &["--dev"]),
    ];
    for (options, parts) in cases {
        refused_in_a_line(&guest(options, "hello", &[]), 2, parts);
    }
}

#[test]
fn a_command_without_its_parts_is_2() {
    let cases: [(&[&str], &[&str]); 3] = [
        (&["run"], &["no program given", "tinyhost run [OPTIONS] PROGRAM"]),
        (&["run", "--"], &["no program given"]),
        (&["run", "--dir"], &["--dir DIR", "HOST[::GUEST][::ro]"]),
    ];
    for (args, parts) in cases {
        refused_in_a_line(&Process::start(tinyhost(args)).end(), 2, parts);
    }
    let cases: [(&[&str], &str); 2] =
        [(&[], "no command given"), (&["frob"], "unknown command 'frob'")];
    for (args, what) in cases {
        let usage = refused(&Process::start(tinyhost(args)).end(), 2, &[what]);
        assert!(usage.contains("\n  tinyhost run [OPTIONS] PROGRAM"), "{usage}");
    }
}

#[test]
fn options_of_serve_that_make_no_sense_are_2() {
    let cases: [(&[&str], &[&str]); 20] = [
        (&["--env", "PROTO=x"], &["--env PROTO: serve sets this variable", "leave it out"]),
        (&["--env=A=1", "--env=TCPLOCALPORT="], &["--env TCPLOCALPORT: serve sets this variable"]),
        (&["--port", "8080"], &["no option --port: write --bind 127.0.0.1:8080"]),
        (&["--listen=[::]:80"], &["no option --listen: write --bind [::]:80"]),
        (&["--metrics", "9797"], &["invalid --metrics '9797': write 127.0.0.1:9797"]),
        (&["--bind", "localhost:80"], &["': write 127.0.0.1:80"]),
        (&["--bind", ":80"], &["': write 127.0.0.1:80"]),
        (&["--bind", "here"], &["write ADDR:PORT, such as 127.0.0.1:1997 or [::1]:1997"]),
        (
            &["--per", "connection", "--max-line", "1K"],
            &["--max-line", "--per connection", "leave it out"],
        ),
        (
            &["--per=connection", "--max-reply=1K"],
            &["--max-reply", "--per connection", "leave it out"],
        ),
        (&["--workers", "0"], &["invalid --workers '0': write a number from 1 to 1024"]),
        (&["--per", "guest"], &["invalid --per 'guest': write line or connection"]),
        (&["--ahead", "some"], &["--ahead"]),
        (&["--call", "f"], &["--call names what is called of a warm program: add --warm"]),
        (&["--ahead", "5000"], &["invalid --ahead '5000': write a number up to 1024"]),
        (
            &["--ahead", "2", "--per", "connection"],
            &["--ahead can't be combined with --per connection: leave one"],
        ),
        (&["--ahead", "2", "--trace=net"], &["--ahead can't be combined with --trace: leave one"]),
        (&["--log-level", "loud"], &["invalid --log-level 'loud': write error, warn, info"]),
        (&["--log-format", "xml"], &["invalid --log-format 'xml': write text or json"]),
        (&["--watch"], &["--watch needs a program that is read from a file: give its path"]),
    ];
    for (options, parts) in cases {
        let args = ["serve", "--bind", "127.0.0.1:0"].iter().chain(options);
        refused_in_a_line(&Process::start(tinyhost(args)).end(), 2, parts);
    }
}

#[test]
fn a_zero_with_which_nothing_could_be_done_is_2() {
    let none = "leave it out for no limit";
    for (option, zero, instead) in [
        ("--timeout", "0s", none),
        ("--fuel", "0", none),
        ("--memory", "0", none),
        ("--max-fds", "0", "leave it out for the default of 1024"),
    ] {
        let line =
            format!("tinyhost: invalid {option} '{zero}': zero would allow nothing: {instead}\n");
        guest(&[option, zero], "hello", &[]).expect(2, "", &line);
    }
    for (option, zero, instead) in [
        ("--max-conns", "0", "write 1 or more, or leave it out for the default of 1024"),
        ("--max-conns-per-addr", "0", "write 1 or more, or leave it out for the default of 64"),
        ("--max-line", "0", "write more, or leave it out for the default of 64K"),
        ("--max-reply", "0", "write more, or leave it out for the default of 8192K"),
        ("--timeout", "0s", "write 1ms or more, or leave it out for the default of 5s"),
        ("--idle", "0ms", "write 1ms or more, or leave it out for the default of 60s"),
        ("--memory", "0M", "write more, or leave it out for the default of 65536K"),
        ("--fuel", "0", none),
        ("--max-fds", "0", "write 1 or more, or leave it out for the default of 64"),
    ] {
        let line =
            format!("tinyhost: invalid {option} '{zero}': zero would allow nothing: {instead}\n");
        let args = ["serve", "--bind", "127.0.0.1:0", option, zero];
        Process::start(tinyhost(args)).end().expect(2, "", &line);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_argument_that_is_not_utf8_is_2() {
    use std::os::unix::ffi::OsStrExt;
    let bytes = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let mut command = tinyhost(["run", &fixture("hello")]);
    command.arg(bytes);
    refused_in_a_line(&Process::start(command).end(), 2, &["caf", "not valid UTF-8"]);
    // Nor is it a value that could be passed on.
    let mut command = tinyhost(["run", "--env", "TINYHOST_TEST_BYTES", &fixture("envdump")]);
    command.env("TINYHOST_TEST_BYTES", bytes);
    let parts = ["--env TINYHOST_TEST_BYTES: the value on the host is not UTF-8", "=VALUE"];
    refused_in_a_line(&Process::start(command).end(), 2, &parts);
}

#[test]
fn what_can_not_be_opened_is_125() {
    let dir = TempDir::new();
    let none = dir.path().join("none").display().to_string();
    let text = dir.file("text", b"no archive");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|at| (taken, at.to_string())).unwrap();
    let cases: [([&str; 2], &[&str]); 6] = [
        (["--dir", &none], &[&none, "no such file", "check the path on the host"]),
        (["--dir", &format!("{text}::/x")], &[&text, "not a directory"]),
        (["--mount", &format!("/x=mem:{none}")], &[&none, "no such file"]),
        (["--mount", &format!("/x=tar:{none}")], &[&none, "no such file"]),
        (["--mount", &format!("/x=tar:{text}")], &["/x=tar:"]),
        (["--listen", &taken.1], &["can't listen on", &taken.1, "in use"]),
    ];
    for (options, parts) in cases {
        refused_in_a_line(&guest(&options, "hello", &[]), 125, parts);
    }
}

/// What is typed is judged before anything is read, and what is read before a guest runs.
#[test]
fn nothing_is_half_started() {
    let ended = guest(&["--net", "x"], "no-such-program", &[]);
    refused(&ended, 2, &["the port is missing"]);
    let ended = guest(&["--dir", "no-such-folder::/x"], "no-such-program", &[]);
    refused_in_a_line(&ended, 125, &["no-such-program.wasm"]);
    let ended = guest(&["--timeout", "soon"], "no-such-program", &[]);
    refused_in_a_line(&ended, 2, &["--timeout"]);
}

#[test]
fn a_variable_is_given_or_passed_on() {
    let shown = |options: &[&str]| {
        let mut command = tinyhost(["run"]);
        command.args(options).arg(fixture("envdump"));
        command.env("TINYHOST_TEST_HERE", "a value").env_remove("TINYHOST_TEST_NONE");
        let ended = Process::start(command).input(b"").end();
        assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
        let text = String::from_utf8(ended.stdout).unwrap();
        text.strip_prefix("arg[0]=envdump.wasm\n").unwrap().to_owned()
    };
    assert_eq!(shown(&[]), "");
    assert_eq!(shown(&["--env", "TINYHOST_TEST_HERE"]), "TINYHOST_TEST_HERE=a value\n");
    assert_eq!(shown(&["--env", "TINYHOST_TEST_NONE"]), "");
    assert_eq!(shown(&["--env", "A=1", "--env", "B=x=y", "--env", "A=2"]), "A=2\nB=x=y\n");
    let own = ["--env", "TINYHOST_TEST_HERE", "--env", "TINYHOST_TEST_HERE=mine"];
    assert_eq!(shown(&own), "TINYHOST_TEST_HERE=mine\n");
}

#[test]
fn what_follows_the_program_is_its_own() {
    let shown = |args: &[&str]| {
        let ended = run(args, b"");
        assert_eq!((ended.status, &*ended.stderr), (Some(0), ""), "{args:?}");
        let text = String::from_utf8(ended.stdout).unwrap();
        let args = text.lines().map(|line| line.split_once('=').unwrap().1.to_owned());
        args.collect::<Vec<_>>()
    };
    let guest = fixture("envdump");
    let own = ["--dir", "none", "--", "-x", "--help", "help", "--version", "--env", "A=1", ""];
    let expected = [&["envdump.wasm"][..], &own].concat();
    assert_eq!(shown(&[&[&*guest][..], &own].concat()), expected);
    assert_eq!(shown(&[&["--", &guest][..], &own].concat()), expected);
    assert_eq!(shown(&[&["--no-dev", "--", &guest][..], &own].concat()), expected);
}

#[test]
fn the_program_may_be_given_by_any_path() {
    let whole = util::root().join(fixture("envdump"));
    for path in [whole.to_str().unwrap(), "./fixtures/../fixtures/envdump.wasm"] {
        run(&[path], b"").expect(0, "arg[0]=envdump.wasm\n", "");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let answer = |args: &[&str]| {
        let ended = Process::start(tinyhost(args)).input(b"").end();
        assert_eq!((ended.status, &*ended.stderr), (Some(0), ""), "{args:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let version = answer(&["--version"]);
    let number = format!("tinyhost {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&number) && version.contains("+net"), "{version}");
    assert_eq!(answer(&["-V"]), version);
    let help = answer(&["--help"]);
    assert!(help.contains("tinyhost run ") && help.contains("tinyhost serve "), "{help}");
    let help = answer(&["run", "--help"]);
    for option in ["--dir", "--mount", "--env", "--net", "--timeout", "--memory", "--fuel"] {
        assert!(help.contains(option), "no {option} in:\n{help}");
    }
    // Help does not start anything.
    assert_eq!(answer(&["run", "--help", &fixture("hello")]), help);
}
