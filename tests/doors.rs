//! Where the program listens, and who its clients are.
#![cfg(unix)]

mod util;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Signal;
use util::{Process, TempDir, fixture, tinyhost};

fn ask(mut client: impl Read + Write, sent: &str) -> String {
    client.write_all(sent.as_bytes()).unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    reply
}

fn dial(path: &Path) -> UnixStream {
    UnixStream::connect(path).unwrap()
}

fn start(options: &[&str], program: &str) -> Process {
    Process::start(tinyhost([&["serve", "--workers=1"], options, &[program]].concat()))
}

fn address(line: &str) -> SocketAddr {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_at_the_end() {
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    // Left over by a server that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let bind = format!("--bind=unix:{},mode=0600", path.display());
    for signals in [&[Signal::TERM][..], &[Signal::INT], &[Signal::TERM, Signal::TERM]] {
        let server = start(&[&bind], &fixture("flood"));
        let line = server.wait_for_line("listening on ");
        assert!(line.ends_with(&format!("listening on unix:{}", path.display())), "{line}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        let mut client = dial(&path);
        if signals.len() > 1 {
            // Its guest waits for it to read on, and the server for its guest.
            client.write_all(b"x\n").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        for signal in signals {
            server.signal(*signal);
            server.wait_for_line("stopping");
        }
        let ended = server.end();
        assert_eq!(ended.status, Some(if signals.len() == 1 { 0 } else { 143 }), "{ended:?}");
        assert!(!path.exists(), "{signals:?}");
    }
}

#[test]
fn several_places_are_listened_at() {
    let dir = TempDir::new();
    let [one, two] = ["1.sock", "2.sock"].map(|name| dir.path().join(name));
    let binds = [&one, &two].map(|path| format!("--bind=unix:{}", path.display()));
    let metrics = format!("--metrics=unix:{}/m.sock", dir.path().display());
    let options = ["--bind=127.0.0.1:0", &binds[0], &binds[1], &metrics];
    let server = start(&options, &fixture("linefilter"));
    let tcp = address(&server.wait_for_line("listening on 127.0.0.1"));
    server.wait_for_line("metrics on unix:");
    assert_eq!(ask(TcpStream::connect(tcp).unwrap(), "a b\n"), "a b\n");
    assert_eq!(ask(dial(&one), "a b\n"), "a b\n");
    assert_eq!(ask(dial(&two), "a b\n"), "a b\n");
    let page = ask(dial(&dir.path().join("m.sock")), "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(page.contains("\ntinyhost_connections_total 3\n"), "{page}");
}

#[test]
fn traces_name_clients_by_what_they_are() {
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    let bind = format!("--bind=unix:{}", path.display());
    let options = [&*bind, "--bind=127.0.0.1:0", "--trace=proc", "--proxy-protocol"];
    let server = start(&options, &fixture("exit42"));
    let tcp = address(&server.wait_for_line("listening on 127.0.0.1"));
    ask(dial(&path), "x\n");
    let name = format!("unix:{}:1", std::process::id());
    server.wait_for_line(&format!("client={name}"));
    ask(TcpStream::connect(tcp).unwrap(), "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nx\n");
    server.wait_for_line("client=192.0.2.1:5");
    server.signal(Signal::TERM);
    let ended = server.end();
    for name in [&*name, "192.0.2.1:5"] {
        let named = |line: &str| line.contains(name) && line.contains("proc_exit");
        assert!(ended.stderr.lines().any(named), "{name} in {}", ended.stderr);
    }
}

/// A client of which only its connection is known has no port, and says who it is.
#[test]
fn a_guest_finds_its_client_in_dev_client() {
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    let bind = format!("--bind=unix:{}", path.display());
    let mut command = tinyhost(["serve", "--workers=1", &*bind]);
    command.args([&fixture("cat"), "/dev/client/addr", "/dev/client/pid", "/dev/client/uid"]);
    let server = Process::start(command);
    server.wait_for_line("listening on ");
    let mut client = dial(&path);
    client.write_all(b"x\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut told = String::new();
    client.read_to_string(&mut told).unwrap();
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(told, format!("unix\n{}\n{uid}\n", std::process::id()));
}

/// A container that shares a socket with its host: the kernel says 0 for the client's process.
#[cfg(target_os = "linux")]
#[test]
fn a_client_outside_of_the_pid_namespace_has_no_number() {
    let apart = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let tried = std::process::Command::new("unshare").args(apart).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: unshare can't make a PID namespace");
        return;
    }
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    let mut command = std::process::Command::new("unshare");
    command.args(apart).arg(env!("CARGO_BIN_EXE_tinyhost")).current_dir(util::root());
    command.args(["serve", "--workers=1", "--log-level=debug"]);
    command.arg(format!("--bind=unix:{}", path.display())).arg(fixture("envdump"));
    let server = Process::start(command);
    server.wait_for_line("listening on ");
    let told = ask(dial(&path), "x\n");
    assert!(told.contains("UNIXREMOTEEUID=0\n"), "{told}");
    assert!(!told.contains("UNIXREMOTEPID"), "{told}");
    server.wait_for_line("guest ended client=unix:1 ");
}

#[test]
fn sigterm_drains_and_sigint_does_not() {
    let options = ["--bind=127.0.0.1:0", "--metrics=127.0.0.1:0", "--drain=10m"];
    let server = start(&options, &fixture("echo"));
    let at = address(&server.wait_for_line("listening on "));
    server.signal(Signal::TERM);
    server.wait_for_line("draining for 600 s: /healthz answers 503");
    assert_eq!(ask(TcpStream::connect(at).unwrap(), "x\n"), "x\n");
    server.signal(Signal::TERM);
    assert_eq!(server.end().status, Some(143), "the second signal ends it at once");
    let server = start(&options, &fixture("echo"));
    server.wait_for_line("metrics on ");
    server.signal(Signal::INT);
    assert_eq!(server.end().status, Some(0));
    let server = start(&["--bind=127.0.0.1:0", "--drain=50ms"], &fixture("echo"));
    server.wait_for_line("listening on ");
    server.signal(Signal::TERM);
    let ended = server.end();
    assert_eq!(ended.status, Some(0));
    assert!(ended.stderr.ends_with(" INFO stopped\n"), "{ended:?}");
}

#[test]
fn a_wrong_door_is_refused_with_what_to_write() {
    let dir = TempDir::new();
    let file = dir.file("file", b"");
    let here = format!("--bind=unix:{file}");
    let mounted = format!("--bind=unix:{}/s.sock", dir.path().display());
    let mount = format!("--dir={}::/d", dir.path().display());
    for (options, status, why) in [
        (&["--bind=/run/a.sock"][..], 2, "invalid --bind '/run/a.sock': write unix:/run/a.sock\n".to_owned()),
        (&["--bind=unix:"], 2, "invalid --bind 'unix:': the path is missing: write unix:/run/NAME.sock\n".into()),
        (
            &["--metrics=unix:a,mode=9"],
            2,
            "invalid --metrics 'unix:a,mode=9': '9' is not a mode: write it in octal, such as mode=0660\n".into(),
        ),
        (
            &[&here],
            125,
            format!("can't listen on unix:{file}: there is a regular file: remove it, or choose another path\n"),
        ),
        (
            &[&mounted, &mount],
            2,
            format!("unix:{}/s.sock: the directory of this socket is mounted for guests: choose another\n", dir.path().display()),
        ),
        (
            &["--proxy-protocol=maybe"],
            2,
            "invalid --proxy-protocol 'maybe': write --proxy-protocol or --proxy-protocol=required\n".into(),
        ),
        (
            &["--proxy-protocol", "required"],
            2,
            "--proxy-protocol takes its value after an equals sign: write --proxy-protocol=required\n".into(),
        ),
        (
            &["--proxy-from=10.0.0.1"],
            2,
            "--proxy-from has no effect without --proxy-protocol: add it, or leave it out\n".into(),
        ),
        (
            &["--proxy-protocol", "--proxy-from=10.0.0.1/8"],
            2,
            "invalid --proxy-from '10.0.0.1/8': the address has bits beyond its mask: write 10.0.0.0/8\n".into(),
        ),
    ] {
        let ended = start(options, &fixture("echo")).end();
        ended.expect(status, "", &format!("tinyhost: {why}"));
    }
}
