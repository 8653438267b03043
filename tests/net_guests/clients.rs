//! Clients: a web server through a file, a Unix socket by name, datagrams.

use std::net::UdpSocket;
use std::thread;

use super::program::{Ended, run};
use super::web::{Web, body};
use crate::net_util::LIMIT;

/// A client in each language, and how it is told where to go: `@` is `HOST:PORT`. (Zig's
/// opens names in the preopened `/dev`.)
const CLIENTS: [&[&str]; 5] = [
    &["httpget.wasm", "/dev/@"],
    &["chttpget.wasm", "/dev/@"],
    &["zighttpget.wasm", "@"],
    &["gonet.wasm", "get", "/dev/@"],
    &["gonet.wasm", "conn", "/dev/@"],
];

fn get(options: &[&str], client: &[&str], at: &str, path: &str) -> Ended {
    let client: Vec<String> = client.iter().map(|word| word.replace('@', at)).collect();
    let client = client.iter().map(String::as_str);
    let words: Vec<&str> = options.iter().copied().chain(client).collect();
    run(&[&words[..], &["localhost", path]].concat())
}

#[test]
fn clients_in_four_languages_speak_http_through_a_file() {
    let web = Web::start();
    let port = web.at.port();
    let rules = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let options = ["--net", &rules[0], "--net", &rules[1]];
    for (number, client) in CLIENTS.iter().enumerate() {
        let at = &rules[number % 2];
        let told = get(&options, client, at, "/data.txt").well();
        let (status, text) = told.split_once('\n').unwrap();
        assert!(status.ends_with(" 200 OK"), "{client:?}: {status}");
        assert!(text == body(), "{client:?}: {} bytes came", text.len());
        let told = get(&options, client, at, "/none").well();
        assert!(told.lines().next().unwrap().ends_with(" 404 Not Found"), "{client:?}: {told}");
    }
}

#[test]
fn every_language_is_told_when_it_may_not() {
    for client in CLIENTS {
        let ended = get(&["--net", "none"], client, "localhost:1997", "/");
        assert_eq!(ended.stdout, "", "{client:?}");
        assert_ne!(ended.status, Some(0), "{client:?}");
        let denied = "tinyhost: denied: dial localhost:1997 (allow with --net localhost:1997)\n";
        assert!(ended.stderr.contains(denied), "{client:?}: {}", ended.stderr);
    }
}

#[test]
fn a_unix_socket_is_mounted_by_name() {
    let web = Web::start();
    let mount = format!("/run/web=unix:{}", web.socket);
    for client in [&["httpget.wasm", "/run/@"][..], &["gonet.wasm", "get", "/run/@"]] {
        // Mounting it is the permission; no rule is asked.
        let told = get(&["--net", "none", "--mount", &mount], client, "web", "/data.txt").well();
        assert!(told.ends_with(&body()) && told.contains(" 200 OK\n"), "{client:?}");
    }
    let request = "GET /data.txt HTTP/1.0\r\n\r\n";
    let told = run(&["--mount", &mount, "dial.wasm", "/run/web", request]).well();
    assert!(told.ends_with(&body()));

    let none = format!("/run/none=unix:{}.none", web.socket);
    let ended = run(&["--mount", &none, "dial.wasm", "/run/none", "x"]);
    assert!(ended.stderr.starts_with("error: NotFound (os error 44)\n"), "{ended:?}");
}

#[test]
fn one_read_is_one_datagram() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let peer = thread::spawn(move || {
        let mut text = [0; 64];
        for _ in 0..3 {
            let (len, from) = socket.recv_from(&mut text).unwrap();
            text[..len].make_ascii_uppercase();
            // Nobody but its peer is heard by a connected socket.
            let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
            stranger.send_to(b"stranger", from).unwrap();
            socket.send_to(&text[..len], from).unwrap();
        }
    });
    let rule = format!("127.0.0.1:{port}");
    let name = format!("/dev/udp/127.0.0.1/{port}");
    let long = "0123456789abcdef and more";
    let told = run(&["--net", &rule, "datagram.wasm", &name, "one", long, "two"]).well();
    assert_eq!(told, "3 ONE\n16 0123456789ABCDEF\n3 TWO\n");
    peer.join().unwrap();
}
