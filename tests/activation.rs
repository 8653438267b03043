//! What a server is handed by systemd, and what it begins with.
#![cfg(target_os = "linux")]

mod util;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
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

#[test]
fn what_can_not_accept_is_refused_with_what_it_is() {
    let dir = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let bound = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    );
    let stream = "write ListenStream=PORT or ListenStream=ADDR:PORT in the .socket unit";
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
            UnixListener::bind(dir.path().join("u.sock")).unwrap().into(),
            format!(
                "a Unix socket, and serve listens on TCP: {stream}, such as \
                 ListenStream=127.0.0.1:1997"
            ),
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
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"hello\n").unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end().status, Some(0));
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
