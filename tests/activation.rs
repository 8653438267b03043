//! What a server is handed by systemd, and what it begins with.
#![cfg(target_os = "linux")]

mod util;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use util::{Process, TempDir, fixture, root};

/// `tinyhost serve` with this as descriptor 3.
fn activated(fd: OwnedFd) -> Process {
    let mut command = Command::new("sh");
    let line = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; \
                exec \"$0\" serve --workers=1 \"$1\"";
    command.args(["-c", line, env!("CARGO_BIN_EXE_tinyhost"), &fixture("echo")]);
    command.current_dir(root());
    Process::start_with_stdin(command, Stdio::from(fd))
}

/// `tinyhost serve` with these options and sockets, by name, from descriptor 3 on.
fn activated_by_name(options: &[&str], sockets: [(&str, OwnedFd); 2]) -> Process {
    // Another sh knows no descriptor above 9.
    let mut command = Command::new("bash");
    let names = sockets.each_ref().map(|(name, _)| *name).join(":");
    // The shell inherits them, under numbers that are none of those below.
    let inherited = sockets.each_ref().map(|(_, fd)| {
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 100).unwrap();
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
        fd
    });
    let [first, second] = inherited.each_ref().map(AsRawFd::as_raw_fd);
    let line = format!(
        "exec 3<&{first} 4<&{second} {first}<&- {second}<&-; \
         LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names} exec \"$0\" serve --workers=1 \"$@\""
    );
    command.args(["-c", &line, env!("CARGO_BIN_EXE_tinyhost")]);
    command.args(options).arg(fixture("echo")).current_dir(root());
    Process::start(command)
}

fn answered(addr: SocketAddr) {
    let mut client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(util::busy::LIMIT)).unwrap();
    client.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
}

#[test]
fn what_can_not_accept_is_refused_with_what_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let bound = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    );
    let stream = "write ListenStream= with a port, ADDR:PORT or a path in the .socket unit";
    let packets = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        None,
    );
    let cases: [(OwnedFd, String); 8] = [
        (
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            format!("a datagram socket: {stream}, not ListenDatagram="),
        ),
        (
            connected.into(),
            "a connection, not a socket that listens: write Accept=no in the .socket unit".into(),
        ),
        (bound.unwrap(), format!("a socket that does not listen: {stream}")),
        (
            packets.unwrap(),
            format!("a sequential-packet socket: {stream}, not ListenSequentialPacket="),
        ),
        (
            UnixStream::pair().unwrap().0.into(),
            "a connection, not a socket that listens: write Accept=no in the .socket unit".into(),
        ),
        (
            std::os::unix::net::UnixDatagram::unbound().unwrap().into(),
            format!("a datagram socket: {stream}, not ListenDatagram="),
        ),
        (std::io::pipe().unwrap().0.into(), format!("not a socket: {stream}")),
        (std::fs::File::open("/dev/null").unwrap().into(), format!("not a socket: {stream}")),
    ];
    for (fd, what) in cases {
        let line = format!("tinyhost: descriptor 3 of LISTEN_FDS is {what}\n");
        activated(fd).end().expect(2, "", &line);
    }
    // One that is not there.
    let mut command = Command::new("sh");
    let line = "exec 3<&-; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve";
    command.args(["-c", line, env!("CARGO_BIN_EXE_tinyhost")]);
    let line = "tinyhost: descriptor 3 of LISTEN_FDS is not open: start it by systemd, or unset \
                LISTEN_FDS\n";
    Process::start(command).input(b"").end().expect(2, "", line);
}

#[test]
fn a_socket_that_listens_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = activated(listener.into());
    answered(addr);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end().status, Some(0));
}

/// The file is systemd's: the next service listens at the same.
#[test]
fn a_unix_socket_that_listens_is_served_and_left_there() {
    let dir = TempDir::new();
    let path = dir.path().join("u.sock");
    let server = activated(UnixListener::bind(&path).unwrap().into());
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    server.signal(rustix::process::Signal::TERM);
    let ended = server.end();
    assert_eq!(ended.status, Some(0));
    let line = format!("listening on unix:{}\n", path.display());
    assert!(ended.stderr.contains(&line), "{ended:?}");
    assert!(path.exists());
}

#[test]
fn sockets_are_told_apart_by_their_names() {
    let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two) = (bound(), bound());
    let at = [&one, &two].map(|listener| listener.local_addr().unwrap());
    // All that no other option takes are served.
    let server = activated_by_name(&[], [("a", one.into()), ("b", two.into())]);
    at.into_iter().for_each(answered);
    drop(server);
    let (lines, metrics) = (bound(), bound());
    let at = [&lines, &metrics].map(|listener| listener.local_addr().unwrap());
    for options in [&["--metrics=fd:m"][..], &["--metrics=fd:m", "--bind=fd:l"]] {
        let sockets = [
            ("m", OwnedFd::from(metrics.try_clone().unwrap())),
            ("l", lines.try_clone().unwrap().into()),
        ];
        let server = activated_by_name(options, sockets);
        answered(at[0]);
        let mut client = TcpStream::connect(at[1]).unwrap();
        client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        drop(server);
    }
}

#[test]
fn a_name_that_is_not_there_or_left_over_is_refused() {
    let bound = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let refused = |options: &[&str], names: [&str; 2], why: &str| {
        let server = activated_by_name(options, names.map(|name| (name, bound())));
        server.end().expect(2, "", &format!("tinyhost: {why}\n"));
    };
    refused(
        &["--bind=fd:c"],
        ["a", "b"],
        "--bind fd:c: the sockets handed over are named a, b (FileDescriptorName=)",
    );
    refused(
        &["--bind=fd:b"],
        ["a", "b"],
        "descriptor 3 of LISTEN_FDS (a) is not used: add --bind fd:a, or leave out all --bind fd:",
    );
    refused(
        &["--metrics=fd:a"],
        ["a", "a"],
        "--metrics fd:a: several sockets have this name, and it takes one: give each a \
         FileDescriptorName= of its own",
    );
    refused(
        &[],
        ["a", "b:c"],
        "LISTEN_FDNAMES has 3 names for 2 sockets: start it by systemd, or unset it",
    );
    let words = ["serve", "--bind=fd:a", "--bind=127.0.0.1:0"];
    let why = "tinyhost: --bind fd:a: no socket was handed over: start it by systemd, with a \
               .socket unit\n";
    Process::start(util::tinyhost(words)).end().expect(2, "", why);
}

/// What no longer listens can't accept, now or ever: the server ends, and says why.
#[test]
fn a_listener_that_fails_is_not_asked_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let again = listener.try_clone().unwrap();
    let server = activated(listener.into());
    server.wait_for_line("listening on ");
    rustix::net::shutdown(&again, rustix::net::Shutdown::Both).unwrap();
    let ended = server.end();
    assert_eq!(ended.status, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("can't accept connections, listener closed"), "{ended:?}");
    let line = "tinyhost: can't accept connections: Invalid argument\n";
    assert!(ended.stderr.ends_with(line), "{ended:?}");
}

/// A guest of a server's that dials the server would be a line that becomes many.
#[test]
fn the_guests_of_a_server_dial_nothing_unless_a_rule_says_so() {
    let program = fixture("dial");
    for (rules, denied) in [(&[][..], true), (&["--net=localhost:1997"], false)] {
        let mut command = util::tinyhost(["serve", "--bind=127.0.0.1:0", "--workers=1"]);
        command.args(rules).args([&program, "/dev/localhost:1997", "x"]);
        let server = Process::start(command);
        let line = server.wait_for_line("listening on ");
        let mut client = TcpStream::connect(line.rsplit_once(' ').unwrap().1).unwrap();
        client.write_all(b"x\n").unwrap();
        let mut reply = String::new();
        let _ = BufReader::new(client).read_line(&mut reply);
        server.signal(rustix::process::Signal::TERM);
        let ended = server.end();
        let line = "denied: dial localhost:1997 (allow with --net localhost:1997)";
        assert_eq!(ended.stderr.contains(line), denied, "{}", ended.stderr);
    }
}
