//! Clients of Unix sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tinyhost::serve::{Bind, BoundAddr, Outcome, ServeConfig, Server, Unit};

use crate::support::{Running, assembled, program, serve};
use crate::temp::TempDir;

/// A server of this program at a path of its own, and nowhere else.
fn at_path(
    program: tinyhost::Program,
    dir: &TempDir,
    adjust: impl FnOnce(&mut ServeConfig),
) -> (Running, PathBuf) {
    let path = dir.path().join("s.sock");
    let server = serve(program, |config| {
        config.binds.push(Bind::Unix { path: path.clone(), mode: None });
        adjust(config);
    });
    (server, path)
}

fn ask(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    reply
}

/// What a server that is bound there says.
fn refused(path: &Path) -> String {
    let mut config = ServeConfig::new(program("echo"), "echo");
    config.binds = vec![Bind::Unix { path: path.to_owned(), mode: None }];
    let error = Server::bind(config).unwrap_err().to_string();
    let start = format!("can't listen on unix:{}: ", path.display());
    error.strip_prefix(&start).unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn lines_streams_and_requests_come_by_a_unix_socket_too() {
    let dir = TempDir::new();
    let (_one, path) = at_path(program("echo"), &dir, |_| {});
    assert_eq!(ask(&path, b"one\ntwo\n"), b"one\n");
    let dir = TempDir::new();
    let (_kept, path) = at_path(program("promptreply"), &dir, |config| config.keep_open = true);
    let lines: Vec<String> = (0..300).map(|number| format!("{number}\n")).collect();
    let lines = lines.concat();
    assert_eq!(ask(&path, lines.as_bytes()), lines.as_bytes());
    let dir = TempDir::new();
    let (_stream, path) = at_path(program("echo"), &dir, |config| config.unit = Unit::Connection);
    assert_eq!(ask(&path, lines.as_bytes()), lines.as_bytes());
    let dir = TempDir::new();
    let (_http, path) = at_path(crate::http::cgi(), &dir, |config| config.unit = Unit::Http);
    let reply = ask(&path, b"GET /env HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    for line in ["PROTO=UNIX\0", "REMOTE_ADDR=unix:\0", "SERVER_PORT=80\0"] {
        assert!(reply.contains(line), "{line} is not in {reply}");
    }
}

/// Its end is reported as a hangup, and what it had sent can still be read.
#[test]
fn a_client_that_sends_and_closes_at_once_is_served() {
    let dir = TempDir::new();
    let noted = assembled("served\\n", "(call $write (i32.const 2))");
    let (server, path) = at_path(noted, &dir, |config| config.keep_open = true);
    for _ in 0..200 {
        UnixStream::connect(&path).unwrap().write_all(b"a\nb\n").unwrap();
    }
    server.until("all lines", |metrics| {
        metrics.outcome(Outcome::Ok) + metrics.outcome(Outcome::ClientGone) == 400
    });
}

#[test]
fn a_client_is_known_by_its_process() {
    let dir = TempDir::new();
    let (server, path) = at_path(crate::ahead::tells(true), &dir, |_| {});
    let told = String::from_utf8(ask(&path, b"x\n")).unwrap();
    let meta = std::fs::metadata(&path).unwrap();
    let mut expected = vec!["PROTO=UNIX".to_owned()];
    if cfg!(target_os = "linux") {
        expected.push(format!("UNIXREMOTEPID={}", std::process::id()));
        expected.push(format!("UNIXREMOTEEUID={}", meta.uid()));
        expected.push(format!("UNIXREMOTEEGID={}", meta.gid()));
    }
    expected.push(format!("UNIXLOCALPATH={}", path.display()));
    assert_eq!(told.trim_end_matches('\0').split('\0').collect::<Vec<_>>(), expected);
    let record = server.until_record("guest ended");
    let name = format!("client=unix:{}:", std::process::id());
    assert!(!cfg!(target_os = "linux") || record.contains(&name), "{record}");
}

#[test]
fn clients_of_this_machine_are_counted_only_if_asked_to() {
    for (counted, refused) in [(false, 0), (true, 4)] {
        let dir = TempDir::new();
        let (server, path) = at_path(program("echo"), &dir, |config| {
            config.limits.max_conns_per_addr = 2;
            config.limits.count_loopback = counted;
        });
        let clients: Vec<_> = (0..6).map(|_| UnixStream::connect(&path).unwrap()).collect();
        server.until("all to be taken or refused", |metrics| {
            let limit = tinyhost::serve::Refusal::ConnsPerAddr;
            metrics.refused(limit) == refused && metrics.conns == 6 - refused
        });
        drop(clients);
    }
}

#[test]
fn metrics_are_read_by_a_unix_socket_too() {
    let dir = TempDir::new();
    let path = dir.path().join("m.sock");
    let _server = serve(program("echo"), |config| {
        config.metrics = Some(Bind::Unix { path: path.clone(), mode: None });
    });
    let answer = String::from_utf8(ask(&path, b"GET /healthz HTTP/1.0\r\n\r\n")).unwrap();
    assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[test]
fn the_file_has_its_mode_and_goes_with_the_server() {
    let dir = TempDir::new();
    for mode in [0o600, 0o660, 0o777] {
        let path = dir.path().join("m.sock");
        let mut server = serve(program("echo"), |config| {
            config.binds = vec![
                "127.0.0.1:0".parse().unwrap(),
                format!("unix:{},mode={mode:o}", path.display()).parse().unwrap(),
            ];
        });
        let meta = std::fs::symlink_metadata(&path).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o7777, mode);
        server.stop();
        assert!(!path.exists(), "it is removed");
    }
    // A server that never ran removes it as well.
    let path = dir.path().join("n.sock");
    let mut config = ServeConfig::new(program("echo"), "echo");
    config.binds = vec![Bind::Unix { path: path.clone(), mode: None }];
    let server = Server::bind(config).unwrap();
    assert_eq!(server.local_addrs(), [BoundAddr::Unix(path.clone())]);
    assert!(path.exists());
    drop(server);
    assert!(!path.exists());
}

#[test]
fn what_is_left_over_is_replaced_and_nothing_else() {
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    // Its process has ended, or was killed.
    drop(UnixListener::bind(&path).unwrap());
    let (mut server, path) = at_path(program("echo"), &dir, |_| {});
    assert_eq!(ask(&path, b"x\n"), b"x\n");
    let live = "another program listens there: stop it, or choose another path";
    assert_eq!(refused(&path), live);
    assert_eq!(ask(&path, b"y\n"), b"y\n", "it listens as before");
    // Another file in its place is not the server's to remove.
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    server.stop();
    assert!(path.exists());
    assert_eq!(refused(&path), live);
    drop(other);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "text").unwrap();
    assert_eq!(refused(&path), "there is a regular file: remove it, or choose another path");
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
    std::fs::remove_file(&path).unwrap();
    // Not even one that leads to a socket that is left over.
    drop(UnixListener::bind(dir.path().join("old.sock")).unwrap());
    symlink(dir.path().join("old.sock"), &path).unwrap();
    assert_eq!(refused(&path), "there is a symbolic link: remove it, or choose another path");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(refused(&path), "there is a directory: remove it, or choose another path");
    std::fs::remove_dir(&path).unwrap();
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    assert_eq!(refused(&path), "there is a socket of another kind: choose another path");
}

#[test]
fn a_path_that_can_not_be_says_why() {
    let dir = TempDir::new();
    let missing = "no such file or directory: make its directory first";
    assert_eq!(refused(&dir.path().join("missing/s.sock")), missing);
    let long = dir.path().join("x".repeat(120));
    let why = "the path is too long for a socket (107 bytes on Linux): choose a shorter one";
    assert_eq!(refused(&long), why);
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left behind");
}

/// Of servers that start at once where one was killed, one serves and the others say so.
#[test]
fn one_of_many_takes_the_place_of_what_is_left_over() {
    for _ in 0..10 {
        let dir = TempDir::new();
        let path = dir.path().join("s.sock");
        drop(UnixListener::bind(&path).unwrap());
        let bind = || {
            let mut config = ServeConfig::new(program("echo"), "echo");
            config.binds = vec![Bind::Unix { path: path.clone(), mode: None }];
            Server::bind(config).ok()
        };
        let servers: Vec<Option<Server>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut servers: Vec<Server> = servers.into_iter().flatten().collect();
        assert_eq!(servers.len(), 1);
        let server = servers.remove(0);
        let handle = server.handle();
        let thread = std::thread::spawn(move || server.run());
        let mut client = BufReader::new(UnixStream::connect(&path).unwrap());
        client.get_mut().write_all(b"x\n").unwrap();
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        assert_eq!(line, "x\n");
        handle.shutdown();
        thread.join().unwrap().unwrap();
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left behind");
    }
}

#[test]
fn a_place_to_listen_at_is_parsed_or_refused() {
    let parse = |text: &str| text.parse::<Bind>().map_err(|why| why.to_string());
    let modes = [("unix:/a", None), ("unix:a,mode=0640", Some(0o640)), ("unix:a,mode=7", Some(7))];
    for (text, expected) in modes {
        assert!(matches!(parse(text), Ok(Bind::Unix { mode, .. }) if mode == expected), "{text}");
    }
    for (text, why) in [
        ("unix:", "the path is missing: write unix:/run/NAME.sock"),
        (
            "unix:@a",
            "abstract sockets have no permissions: write a path, such as unix:/run/NAME.sock",
        ),
        ("unix:/a,mode=8", "'8' is not a mode: write it in octal, such as mode=0660"),
        ("unix:/a,mode=", "'' is not a mode: write it in octal, such as mode=0660"),
        ("unix:/a,mode=+7", "'+7' is not a mode: write it in octal, such as mode=0660"),
        ("unix:/a,mode=1777", "'1777' is not a mode: write it in octal, such as mode=0660"),
        (
            "unix:/a,user=b",
            "'user=b' is not an option: the only option of a Unix socket is mode, such as ,mode=0660",
        ),
        ("1997", "write ADDR:PORT or unix:PATH"),
    ] {
        assert_eq!(parse(text).map(|_| ()), Err(why.to_owned()), "{text}");
    }
}
