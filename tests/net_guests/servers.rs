//! Servers: by accept name, on a preopened socket, for many clients at once.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::program::{run, start};
use crate::net_util::LIMIT;

const ACCEPT: &str = "/dev/accept/127.0.0.1:0";
const BY_NAME: [&str; 2] = ["--net-listen", "127.0.0.1:0"];
const PREOPENED: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn client(at: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(at).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client
}

/// Runs an echo server; three clients come at once, and are answered whatever the order
/// they are served in.
fn echoes(words: &[&str]) -> String {
    let server = start(words);
    let at = server.listening();
    let mut clients = [client(at), client(at), client(at)];
    for (number, client) in clients.iter_mut().enumerate() {
        let said = vec![b'0' + number as u8; 5000 * (number + 1)];
        client.write_all(&said).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert!(heard == said, "{words:?}: client {number} got {} bytes", heard.len());
    }
    server.end().well()
}

const ONE_BY_ONE: &str = "client 1: 5000 bytes\nclient 2: 10000 bytes\nclient 3: 15000 bytes\n";

#[test]
fn servers_in_four_languages_accept_by_name() {
    // Zig's opens names in the preopened /dev.
    let servers: [&[&str]; 4] = [
        &["acceptecho.wasm", ACCEPT],
        &["cacceptecho.wasm", ACCEPT],
        &["zigacceptecho.wasm", &ACCEPT["/dev/".len()..]],
        &["gonet.wasm", "accept", ACCEPT],
    ];
    for server in servers {
        assert_eq!(echoes(&[&BY_NAME, server, &["3"]].concat()), ONE_BY_ONE, "{server:?}");
    }
}

#[test]
fn servers_accept_on_a_preopened_socket() {
    for server in [&["listenecho.wasm"][..], &["clistenecho.wasm"]] {
        assert_eq!(echoes(&[&PREOPENED, server, &["3"]].concat()), ONE_BY_ONE, "{server:?}");
    }
    // One directory more, one descriptor later.
    let words = ["--mount", "/tmp=mem", "listenecho.wasm", "3", "5"];
    assert_eq!(echoes(&[&PREOPENED[..], &words].concat()), ONE_BY_ONE);
}

#[test]
fn a_go_server_on_listen_has_a_goroutine_a_client() {
    let server = start(&[&PREOPENED[..], &["gonet.wasm", "listen", "20"]].concat());
    let at = server.listening();
    let mut clients: Vec<_> = (0..20).map(|_| client(at)).collect();
    talk_to_all(&mut clients);
    drop(clients);
    assert_eq!(server.end().well(), "20 clients\n");
}

/// All are connected all the time, and the last speaks first.
fn talk_to_all(clients: &mut [TcpStream]) {
    for round in 0..3 {
        let said = |number: usize| format!("client {number}, round {round}\n");
        for (number, client) in clients.iter_mut().enumerate().rev() {
            client.write_all(said(number).as_bytes()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut heard = vec![0; said(number).len()];
            client.read_exact(&mut heard).unwrap();
            assert_eq!(String::from_utf8(heard).unwrap(), said(number));
        }
    }
}

#[test]
fn one_guest_serves_a_hundred_clients_at_once() {
    for words in [[BY_NAME, ["pollserver.wasm", ACCEPT]], [PREOPENED, ["pollserver.wasm", "-"]]] {
        let server = start(&[&words.concat()[..], &["100"]].concat());
        let at = server.listening();
        let mut clients: Vec<_> = (0..100).map(|_| client(at)).collect();
        talk_to_all(&mut clients);
        drop(clients);
        assert_eq!(server.end().well(), "served 100, 100 at once\n", "{words:?}");
    }
}

#[test]
fn an_accept_name_tells_where_it_is_bound() {
    let ended = run(&[&BY_NAME[..], &["cat.wasm", &format!("{ACCEPT},addr")]].concat());
    assert_eq!(ended.stderr, format!("tinyhost: listening on {}", ended.stdout));
    let at: SocketAddr = ended.stdout.trim_end().parse().unwrap();
    assert_ne!(at.port(), 0);
}

#[test]
fn listening_must_be_allowed() {
    let ended = run(&["acceptecho.wasm", "/dev/accept/127.0.0.1:0", "1"]);
    let denied = "tinyhost: denied: listen on 127.0.0.1:0 (allow with --net-listen 127.0.0.1:0)\n";
    assert!(ended.stderr.ends_with(denied), "{}", ended.stderr);
    assert_eq!(ended.status, Some(1));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let ended = run(&["--listen", &at, "clistenecho.wasm", "1"]);
    assert_eq!(ended.status, Some(125));
    assert!(ended.stderr.starts_with(&format!("tinyhost: can't listen on {at}: ")));
}
