//! Whole programs on a stream inside TLS: much of it, in parts, and with a time limit.

use std::io::{Read, Write};

use super::servers::Trusted;
use crate::tls_util::{Authority, BOTH, config, finish, serve_one};
use crate::util::{Process, run, tinyhost};

#[test]
fn a_write_larger_than_all_buffers_is_whole() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let (at, server) = serve_one(config(&authority.server(), BOTH), |mut session| {
        let mut all = vec![0; 32 << 20];
        session.read_exact(&mut all).unwrap();
        session.write_all(b"whole").unwrap();
        finish(session);
        all.chunks(251).all(|part| part == &PATTERN[..part.len()])
    });
    let rule = format!("tls:127.0.0.1:{}", at.port());
    let path = format!("/dev/tls/127.0.0.1/{}", at.port());
    let much: Vec<u8> = PATTERN.iter().copied().cycle().take(32 << 20).collect();
    let options = ["--net", &rule, "--tls-ca", &trusted.path];
    let ended = run(&[&options[..], &["fixtures/dial.wasm", &path]].concat(), &much);
    ended.expect(0, "whole", "");
    assert!(server.join().unwrap());
}

const PATTERN: [u8; 251] = {
    let mut pattern = [0; 251];
    let mut index = 0;
    while index < 251 {
        pattern[index] = index as u8;
        index += 1;
    }
    pattern
};

#[test]
fn a_time_limit_holds_in_a_handshake_and_in_a_read() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let silent =
        crate::tls_util::serve_raw(|stream| std::io::copy(&mut &stream, &mut std::io::sink()));
    let open = serve_one(config(&authority.server(), BOTH), |mut session| {
        session.flush().unwrap();
        std::io::copy(&mut session, &mut std::io::sink())
    });
    for at in [silent.0, open.0] {
        let rule = format!("tls:127.0.0.1:{}", at.port());
        let path = format!("/dev/tls/127.0.0.1/{}", at.port());
        let options = ["--net", &rule, "--tls-ca", &trusted.path, "--timeout", "500ms"];
        let ended = run(&[&options[..], &["fixtures/dial.wasm", &path, "x"]].concat(), b"");
        assert_eq!(ended.status, Some(124), "{ended:?}");
        ended.expect_idle();
    }
    let _ = (silent.1.join().unwrap(), open.1.join().unwrap());
}

#[test]
fn a_guest_that_only_waits_computes_nothing() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let (at, server) = serve_one(config(&authority.server(), BOTH), |mut session| {
        let mut text = [0; 5];
        session.read_exact(&mut text).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(700));
        session.write_all(&text).unwrap();
        finish(session);
    });
    let rule = format!("tls:127.0.0.1:{}", at.port());
    let path = format!("/dev/tls/127.0.0.1/{}", at.port());
    let words =
        ["run", "--net", &rule, "--tls-ca", &trusted.path, "fixtures/dial.wasm", &path, "hello"];
    let ended = Process::start(tinyhost(words)).input(b"").end();
    ended.expect(0, "hello", "");
    ended.expect_idle();
    server.join().unwrap();
}
