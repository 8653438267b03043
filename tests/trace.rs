//! Traces, sums, reports and policies, through the real binary.
//!
//! The golden traces are in `tests/trace`, with times masked. To write them anew after a
//! change that is meant: `GOLDEN=write cargo test --test trace`.

mod util;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use util::busy::{given_time, in_ms};
use util::json::Json;
use util::{Ended, Process, TempDir, echo_server, fixture, root, run, tinyhost};

/// What is on stderr, with the times of trace lines masked: those at the beginning, and
/// those in angle brackets with a unit.
fn masked(stderr: &str) -> String {
    let mut out = String::new();
    for line in stderr.lines() {
        let (time, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        let traced = time.len() >= 8 && time.chars().all(|c| c.is_ascii_digit() || c == '.');
        let mut rest = if traced { format!("TIME {rest}") } else { line.to_owned() };
        for unit in ["ns>", "µs>", "ms>", "s>"] {
            if let Some(start) = rest.rfind('<').filter(|_| rest.ends_with(unit)) {
                rest.replace_range(start.., "<TIME>");
            }
        }
        if let Some(start) = rest.find("<parked ") {
            let end = start + rest[start..].find('>').unwrap();
            rest.replace_range(start..end, "<parked TIME");
        }
        out += &rest;
        out.push('\n');
    }
    out
}

/// Compares the whole trace of a guest. Whether it finds its input there already or is
/// parked until it comes is chance, so parks are left out; they have their own test.
#[track_caller]
fn golden(name: &str, options: &[&str], guest: &str, args: &[&str], stdin: &[u8]) {
    let (trace, _) = in_file("text", options, &[&[&*fixture(guest)], args].concat(), stdin);
    let found = masked(&trace).replace(" <parked TIME>", "");
    let calls = found.split_inclusive('\n').filter(|line| !line.ends_with("<parked>\n"));
    let found: String = calls.collect();
    let path = root().join(format!("tests/trace/{name}.txt"));
    if std::env::var_os("GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{}:\nexpected\n{expected}\nfound\n{found}", path.display());
}

#[test]
fn goldens_of_fixtures() {
    golden("hello", &[], "hello", &[], b"");
    golden("exit42", &[], "exit42", &[], b"");
    golden("yield", &[], "yield", &[], b"");
    golden("stderr", &[], "stderr", &[], b"a line\n");
    let tree = ["--dir", "fixtures/tree::/"];
    golden("cat", &tree, "cat", &["/sub/inner.txt", "/none"], b"");
    golden("cat-stdin", &["--trace-bytes=4"], "cat", &[], "grüße\n".as_bytes());
}

#[test]
fn a_guest_that_writes_and_lists_is_told_with_names() {
    let dir = TempDir::copy_of(&root().join("fixtures/tree/sub"));
    let mut command = tinyhost(["run", "--trace=path,fd_readdir,fd_seek,fd_filestat_get"]);
    command.current_dir(dir.path()).args(["--dir", ".::/d"]);
    command.arg(root().join(fixture("cshow"))).arg("/d");
    let ended = Process::start(command).input(b"x\n").end();
    let text = masked(&ended.stderr);
    for part in [
        "oflags=CREAT|TRUNC",
        "whence=SET",
        "opened_fd=5</d/cshow.txt>",
        "buf=[\".\", \"cshow.txt\"",
    ] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    assert!(!text.contains("fd_write") && !text.contains("clock_time_get"), "{text}");
}

#[test]
fn a_park_is_told_when_it_begins_and_when_it_is_over() {
    let ended = run(&["--trace=poll", &fixture("sleeper"), "20"], b"");
    let call = "poll_oneoff(in=[MONOTONIC +20 ms], nsubscriptions=1)";
    let expected =
        format!("TIME {call} <parked>\nTIME {call} = out=[clock] nevents=1 <parked TIME> <TIME>\n");
    assert_eq!(masked(&ended.stderr), expected);
}

#[test]
fn a_guest_ended_while_it_waits_shows_in_what() {
    let call = "TIME fd_read(fd=0<stdin>, iovs=[8192])";
    given_time(Duration::from_millis(100), |time| {
        let mut command = tinyhost(["run", "--trace=fd_read", "--timeout", &in_ms(time)]);
        command.arg(fixture("promptreply"));
        let ended = Process::start(command).end();
        assert_eq!(ended.status, Some(124), "{ended:?}");
        let text = masked(&ended.stderr);
        text.starts_with(&format!("{call} <parked>\n"))
            && text.contains(&format!("\n{call} = ? <parked TIME> <TIME>\n"))
    });
}

#[test]
fn the_network_is_a_group_of_what_is_on_a_socket() {
    let (addr, server) = echo_server("127.0.0.1:0").unwrap();
    let (rule, path) = (addr.to_string(), format!("/dev/{addr}"));
    let ended = run(&["--net", &rule, "--trace=net", &fixture("dial"), &path, "hi\n"], b"");
    assert_eq!(server.join().unwrap(), b"hi\n");
    let text = masked(&ended.stderr).replace(&rule, "ADDR");
    let lines: Vec<_> = text.lines().filter(|line| !line.ends_with("<parked>")).collect();
    assert!(lines[0].starts_with("TIME path_open(fd=3</dev>, "), "{text}");
    assert!(lines[0].contains("path=\"ADDR\"") && lines[0].contains("opened_fd=4</dev/ADDR>"));
    assert!(lines[1].starts_with("TIME fd_write(fd=4</dev/ADDR>, iovs=\"hi\\n\") = nwritten=3"));
    assert!(lines.iter().any(|line| line.contains("fd_read(fd=4</dev/ADDR>, iovs=\"hi\\n\")")));
    assert!(lines.iter().all(|line| line.contains("/dev")), "{text}");
}

#[test]
fn only_errors_are_told_if_only_they_are_asked_for() {
    let options = ["--quiet", "--trace=path,errors", "--dir", "fixtures/tree::/"];
    let ended = run(&[&options[..], &[&fixture("cat"), "/none", "/empty"]].concat(), b"");
    let text = masked(&ended.stderr);
    let traced: Vec<_> = text.lines().filter(|line| line.starts_with("TIME")).collect();
    assert_eq!(traced.len(), 1, "{text}");
    assert!(traced[0].contains("path=\"none\"") && traced[0].contains("ENOENT (No such file"));
}

/// The trace in a file, and what is left on stderr.
fn in_file(format: &str, options: &[&str], guest: &[&str], stdin: &[u8]) -> (String, Ended) {
    let dir = TempDir::new();
    let file = dir.path().join("trace").display().to_string();
    let trace = ["--trace", "--trace-format", format, "--trace-file", &file];
    let ended = run(&[&trace[..], options, guest].concat(), stdin);
    (fs::read_to_string(&file).unwrap(), ended)
}

#[test]
fn json_is_an_object_a_line() {
    let guest = [&*fixture("cat"), "/hello.txt"];
    let (text, ended) = in_file("json", &["--dir=fixtures/tree::/"], &guest, b"");
    ended.expect(0, "hello from the tree\n", "");
    let calls: Vec<Json> = text.lines().map(|line| Json::parse(line).unwrap()).collect();
    let named = |name: &str| {
        let is = |call: &&Json| call.field("call").and_then(Json::text) == Some(name);
        calls.iter().find(is).unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let open = named("path_open");
    let args = open.field("args").unwrap();
    assert_eq!(args.field("path").and_then(Json::text), Some("hello.txt"));
    assert_eq!(args.field("fd").unwrap().field("path").and_then(Json::text), Some("/"));
    let opened = open.field("result").unwrap().field("opened_fd").unwrap();
    assert_eq!(opened.field("path").and_then(Json::text), Some("/hello.txt"));
    let read = named("fd_read").field("args").unwrap().field("iovs").unwrap();
    assert_eq!(read.field("text").and_then(Json::text), Some("hello from the tree\n"));
    let prestat = calls.iter().filter_map(|call| call.field("errno")).next().unwrap();
    assert_eq!(prestat.text(), Some("EBADF"));
    assert!(calls.iter().all(|call| call.field("took_us").and_then(Json::number).is_some()));
}

#[test]
fn chrome_has_a_track_and_events_that_nest() {
    let (text, ended) = in_file("chrome", &[], &[&fixture("sleeper"), "20"], b"");
    ended.expect(0, "slept\n", "");
    let events = Json::parse(&text).unwrap();
    let events = events.list().unwrap();
    let name = |event: &Json| event.field("name").and_then(Json::text).unwrap().to_owned();
    assert_eq!(name(&events[0]), "thread_name");
    let find = |wanted: &str| events.iter().find(|event| name(event) == wanted).unwrap();
    let span = |event: &Json| {
        let number = |key: &str| event.field(key).and_then(Json::number).unwrap();
        (number("ts"), number("ts") + number("dur"))
    };
    let (poll, park) = (span(find("poll_oneoff")), span(find("parked")));
    assert!(park.0 >= poll.0 && park.1 <= poll.1 && park.1 - park.0 >= 20_000.0, "{text}");
    // Cut off as by a kill, it is still what the format allows.
    assert!(text.starts_with("[\n") && text.ends_with("\n]\n"));
}

#[test]
fn sums_are_told_at_the_end() {
    let options = ["--stats", "--dir", "fixtures/tree::/"];
    let ended = run(&[&options[..], &[&fixture("cat"), "/hello.txt"]].concat(), b"");
    let words: Vec<Vec<&str>> =
        ended.stderr.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["tinyhost:", "stats", "of", "fixtures/cat.wasm"]);
    assert_eq!((words[1][0], words[1][3]), ("wall", "fuel"), "{}", ended.stderr);
    let line = |name: &str| words.iter().find(|line| line.first() == Some(&name)).unwrap();
    assert_eq!(line("fd_prestat_get")[1..3], ["3", "1"]);
    assert_eq!(line("path_open")[1..3], ["1", "0"]);
    assert_eq!(line("5</hello.txt>")[1..], ["20", "B", "0", "B"]);
    assert_eq!(line("1<stdout>")[1..], ["0", "B", "20", "B"]);
}

#[test]
fn a_report_of_a_crash_has_what_one_needs() {
    let dir = TempDir::new();
    let reports = dir.path().join("reports");
    let at = reports.to_str().unwrap();
    let ended = run(&["--crash-dir", at, &fixture("trap")], b"");
    let (line, rest) = ended.stderr.split_once('\n').unwrap();
    assert!(line.starts_with("tinyhost: fixtures/trap.wasm: trap: unreachable executed"), "{line}");
    let path = rest.trim_start().strip_prefix("report: ").unwrap().trim_end();
    let text = fs::read_to_string(path).unwrap();
    for part in [
        "program   fixtures/trap.wasm\n",
        "ended     fixtures/trap.wasm: trap: unreachable executed (a panic or abort of the program)\n",
        "in        _start\n",
        "elapsed   ",
        "fuel      ",
        "memory    1.0 MiB (peak)\n",
        "    1           16 <stdout>\n",
        "    3            0 </dev>\n",
        "last 1 calls",
        "fd_write(fd=1, iovs=0x",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    given_time(Duration::from_millis(50), |time| {
        let args = ["--crash-dir", at, "--timeout", &in_ms(time), &fixture("sleeper"), "600000"];
        let ended = run(&args, b"");
        let path = ended.stderr.split_once("report: ").unwrap().1.trim_end();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("timed out after "), "{text}");
        text.contains("<parked>\n")
    });
    // A guest that ends by itself is no crash.
    run(&["--crash-dir", at, &fixture("exit"), "7"], b"").expect(7, "", "");
    assert_eq!(fs::read_dir(&reports).unwrap().count(), 2);
}

#[test]
fn a_server_traces_each_guest_and_reports_each_cause_once() {
    let dir = TempDir::new();
    let at = dir.path().join("reports").display().to_string();
    let mut command = tinyhost(["serve", "--bind=127.0.0.1:0", "--workers=1", "--trace=fd"]);
    command.args(["--crash-dir", &at, &fixture("trap")]);
    let server = Process::start(command);
    let line = server.wait_for_line("listening on ");
    let addr = line.rsplit_once(' ').unwrap().1;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(addr).unwrap();
        clients.push(client.local_addr().unwrap());
        client.write_all(b"x\n").unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "before the trap\n");
    }
    server.signal(Signal::TERM);
    let ended = server.end();
    for client in clients {
        let call =
            format!("[{client}] fd_write(fd=1<stdout>, iovs=\"before the trap\\n\") = nwritten=16");
        assert_eq!(ended.stderr.matches(&call).count(), 1, "{}", ended.stderr);
    }
    assert_eq!(ended.stderr.matches("crash report").count(), 1, "{}", ended.stderr);
    assert_eq!(fs::read_dir(&at).unwrap().count(), 1);
}

/// One looks into the file while the server runs, and after it was ended in a hurry.
#[test]
fn a_servers_trace_is_in_its_file_when_a_guest_has_ended() {
    let dir = TempDir::new();
    let path = dir.path().join("trace").display().to_string();
    let mut command = tinyhost(["serve", "--bind=127.0.0.1:0", "--workers=1", "--keep-open"]);
    command.args(["--trace=fd_write,proc", "--trace-format=chrome", "--trace-file", &path]);
    // It spins after its first line: only the second signal ends it.
    let guest = r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "\40\00\00\00\05\00\00\00")
      (func (export "_start")
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 115)) (then (loop $ever (br $ever))))))"#;
    command.arg(dir.file("guest.wasm", &wat::parse_str(guest).unwrap()));
    let server = Process::start(command);
    let line = server.wait_for_line("listening on ");
    let mut client = TcpStream::connect(line.rsplit_once(' ').unwrap().1).unwrap();
    let mut reply = [0; 5];
    client.write_all(b"line\n").unwrap();
    client.read_exact(&mut reply).unwrap();
    // Its reply is out a little before it has ended.
    let told = || fs::read_to_string(&path).unwrap().contains("fd_write");
    let until = Instant::now() + util::LIMIT;
    while !told() {
        assert!(Instant::now() < until, "nothing in it");
        std::thread::sleep(Duration::from_millis(10));
    }
    client.write_all(b"spin\n").unwrap();
    client.read_exact(&mut reply).unwrap();
    server.signal(Signal::TERM);
    server.wait_for_line("stopping");
    server.signal(Signal::TERM);
    assert_eq!(server.end().status, Some(128 + 15));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("fd_write").count(), 2, "{text}");
    assert!(Json::parse(&text).is_ok(), "{text}");
}

#[test]
fn a_server_explains_a_denial_once_for_all_its_guests() {
    let mut command = tinyhost(["serve", "--bind=127.0.0.1:0", "--dir=fixtures/tree::/d::ro"]);
    command.args([&fixture("dial"), "/d/hello.txt", "x"]);
    let server = Process::start(command);
    let line = server.wait_for_line("listening on ");
    for _ in 0..3 {
        let mut client = TcpStream::connect(line.rsplit_once(' ').unwrap().1).unwrap();
        client.write_all(b"x\n").unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    server.signal(Signal::TERM);
    let log = server.end().stderr;
    let text =
        "denied: path_open '/d/hello.txt' (EROFS): --dir 'fixtures/tree::/d::ro' is read-only";
    assert_eq!((log.matches(text).count(), log.matches("ReadOnly").count()), (1, 3), "{log}");
}

#[test]
fn what_was_learned_is_enough_and_no_more() {
    let dir = TempDir::copy_of(&root().join("fixtures/tree"));
    let (addr, server) = echo_server("127.0.0.1:0").unwrap();
    let tiny = |args: &[&str]| {
        let mut command = tinyhost(["run"]);
        command.current_dir(dir.path()).args(args);
        command
    };
    let wasm = |name: &str| root().join(fixture(name)).display().to_string();
    let learn = |args: &[&str]| {
        let learned = [&["--learn", "policy", "--dir", ".::/", "--env", "A=b c"], args].concat();
        let ended = Process::start(tiny(&learned)).input(b"").end();
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let text = fs::read_to_string(dir.path().join("policy")).unwrap();
        let directives = text.lines().filter(|line| !line.starts_with('#'));
        (directives.collect::<Vec<_>>().join("; "), text)
    };
    let (directives, text) = learn(&[&wasm("cat"), "/sub/inner.txt"]);
    assert_eq!(directives, "dir sub::/sub::ro; net none; no-dev");
    assert!(text.contains("\n# As options: --dir sub::/sub::ro --net none --no-dev\n"), "{text}");
    // It does what was learned, and nothing else.
    let policed = |args: &[&str]| {
        Process::start(tiny(&[&["--quiet", "--policy", "policy"], args].concat())).input(b"").end()
    };
    policed(&[&wasm("cat"), "/sub/inner.txt"]).expect(0, "inner\n", "");
    assert_eq!(policed(&[&wasm("cat"), "/hello.txt"]).status, Some(1));
    let denied = policed(&[&wasm("dial"), "/sub/inner.txt", "x"]);
    assert!(denied.stderr.contains("ReadOnly"), "{denied:?}");

    let (directives, _) = learn(&[&wasm("envdump")]);
    assert_eq!(directives, "env A=b c; net none; no-dev");
    policed(&[&wasm("envdump")]).expect(0, "arg[0]=envdump.wasm\nA=b c\n", "");

    let (rule, path) = (addr.to_string(), format!("/dev/{addr}"));
    let (directives, _) = learn(&["--net", &rule, &wasm("dial"), &path, "hi\n"]);
    assert_eq!(directives, format!("net {rule}; net none"));
    server.join().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_can_not_be_learned_is_told_before_the_guest_runs_or_beside_its_end() {
    let line = |path: &str, why: &str| {
        format!("tinyhost: {path}: can't write the file: {why}: choose another path\n")
    };
    let ended = run(&["--learn", "/no/such/policy", &fixture("hello")], b"");
    ended.expect(125, "", &line("/no/such/policy", "no such file or directory"));
    // One that is full says so only when it is written to.
    let full = line("/dev/full", "no space left on device");
    let learn = |args: &[&str]| run(&[&["--learn", "/dev/full"], args].concat(), b"");
    learn(&[&fixture("exit"), "7"]).expect(7, "", &full);
    learn(&[&fixture("hello")]).expect(0, "hello, world\n", &full);
    let up =
        "tinyhost: fixtures/spin.wasm: timed out after 50 ms (raise the limit with --timeout)\n";
    learn(&["--timeout=50ms", &fixture("spin")]).expect(124, "", &(full + up));
    // What is there is kept if the guest can't be started.
    let dir = TempDir::new();
    let path = dir.file("policy", b"net none\n");
    assert_eq!(run(&["--learn", &path, "--dir=none", &fixture("hello")], b"").status, Some(125));
    assert_eq!(fs::read(&path).unwrap(), b"net none\n");
}

#[test]
fn a_policy_that_means_nothing_is_refused_by_line() {
    let dir = TempDir::new();
    let path = dir.file("policy", b"# rules\n\nnet none\nallow everything\n");
    let ended = run(&["--policy", &path, &fixture("hello")], b"");
    let text = format!(
        "tinyhost: --policy {path}: line 4: unknown directive in 'allow everything': write \
         dir, mount, no-dev, env, net, net-listen, listen, tls-ca, tls-pin or secret\n"
    );
    ended.expect(2, "", &text);
    for (line, rest) in [
        (
            "net 10.0.0.0/33:80",
            "net '10.0.0.0/33:80', column 10: invalid mask: write a number from 0 to 32\n  \
             10.0.0.0/33:80\n           ^^\n",
        ),
        ("dir ::/x", "invalid dir '::/x': a path is missing: write --dir HOST[::GUEST][::ro]\n"),
        (
            "env =x",
            "invalid env '=x': the name is missing: write --env NAME=VALUE, or --env NAME\n",
        ),
        ("net", "'net' has no value: write it as for --net\n"),
        (
            "mount /a=mem,quota=5X",
            "mount '/a=mem,quota=5X': invalid quota '5X': write a size such as 64K, 10M or 1G\n",
        ),
        ("listen x", "invalid listen 'x': write ADDR:PORT, such as 127.0.0.1:8080 or [::1]:8080\n"),
    ] {
        let path = dir.file("policy", format!("net none\n\n{line}\n").as_bytes());
        let ended = run(&["--policy", &path, &fixture("hello")], b"");
        ended.expect(2, "", &format!("tinyhost: --policy {path}: line 3: {rest}"));
    }
}
