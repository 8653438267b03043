//! Where the value of a secret is: at the server, and in no other place that can be looked at.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig, Secret, Tls};
use tinyhost::vfs::pipe::Capture;
use tinyhost::wasi::{self, WasiCtx};
use tinyhost::wasmi::{Engine, Extern, Linker, Module, Store};

use super::servers::Trusted;
use crate::tls_util::{Authority, BOTH, Session, config, finish, read_head, serve_one};
use crate::util::{Process, TempDir, tinyhost};

const VALUE: &str = "tok-5ecret-0f-the-test";

/// A form of the value that something may have been turned into.
fn forms() -> Vec<Vec<u8>> {
    let plain = VALUE.as_bytes().to_vec();
    let reversed = plain.iter().rev().copied().collect();
    let hex = plain.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let spaced = plain.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    // Half of it would be too much.
    vec![plain[..10].to_vec(), plain[12..].to_vec(), reversed, hex.into(), spaced.into()]
}

fn assert_absent(bytes: &[u8], place: &str) {
    for form in forms() {
        let there = bytes.windows(form.len()).any(|window| window == form);
        assert!(!there, "{place}: {}", String::from_utf8_lossy(&form));
    }
}

/// Answers with all that it may show.
fn serve(mut session: Session) -> String {
    let head = read_head(&mut session);
    session.write_all(b"HTTP/1.1 200 OK\r\n\r\nthe answer").unwrap();
    finish(session);
    head
}

#[test]
fn the_memory_of_a_guest_never_has_it() {
    let authority = Authority::new("test");
    let (at, server) = serve_one(config(&authority.server(), BOTH), serve);
    let peer = format!("localhost:{}", at.port());
    let secret = Secret::new(&peer, "Authorization", format!("Bearer {VALUE}").as_bytes()).unwrap();
    let tls = Tls::default().trust("test", authority.pem().as_bytes()).unwrap().secret(secret);
    assert_absent(format!("{tls:?}").as_bytes(), "Debug");
    let net = Net::new(NetConfig { tls, ..NetConfig::default() });
    assert_absent(format!("{net:?}").as_bytes(), "Debug");
    let dev = Arc::new(Dev::with_net(net));
    let names = Namespace::builder().mount("/dev", dev).unwrap().build();
    let out = Capture::new(1 << 16);
    let path = format!("/dev/https/{peer}");
    let mut cx = WasiCtx::builder().namespace(names).stdout(out.clone());
    for arg in ["dial", &path, "GET / HTTP/1.1\r\n\r\n"] {
        cx = cx.arg(arg).unwrap();
    }
    let engine = Engine::default();
    let module = Module::new(&engine, std::fs::read("fixtures/dial.wasm").unwrap()).unwrap();
    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |cx: &mut WasiCtx| cx).unwrap();
    let mut store = Store::new(&engine, cx.build());
    let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
    let start = instance.get_func(&store, "_start").unwrap();
    let _exit = start.call(&mut store, &[], &mut []);
    assert_eq!(out.take(), b"HTTP/1.1 200 OK\r\n\r\nthe answer");
    assert!(server.join().unwrap().contains(VALUE), "it was sent");
    let Some(Extern::Memory(memory)) = instance.get_export(&store, "memory") else {
        panic!("it has a memory")
    };
    let memory = memory.data(&store);
    assert!(memory.windows(10).any(|window| window == b"the answer"), "the scan finds things");
    assert_absent(memory, "guest memory");
}

/// All files in a folder, and below it.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn trace_report_policy_and_messages_never_have_it() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    for format in ["text", "json", "chrome"] {
        // One that goes well, one that is refused, and one that the host ends.
        for (request, limits, status) in [
            ("GET / HTTP/1.1\r\n\r\n", &[][..], 0),
            ("GET http://evil/ HTTP/1.1\r\n\r\n", &[], 1),
            ("GET / HTTP/1.1\r\n\r\n", &["--timeout", "300ms"], 124),
        ] {
            let (at, server) = serve_one(config(&authority.server(), BOTH), move |mut session| {
                if status == 124 {
                    let head = read_head(&mut session);
                    let _ = session.read(&mut [0; 16]);
                    return head;
                }
                serve(session)
            });
            let folder = TempDir::new();
            let (trace, policy) = (folder.path().join("trace"), folder.path().join("policy"));
            let (trace, policy) = (trace.display().to_string(), policy.display().to_string());
            let crashes = folder.path().join("crashes").display().to_string();
            let secret = format!("localhost:{} Authorization=Bearer @env:TOKEN", at.port());
            let mut words =
                vec!["run", "--trace", "--trace-format", format, "--trace-file", &trace];
            words.extend(["--trace-bytes", "100000", "--crash-dir", &crashes, "--learn", &policy]);
            words.extend(["--stats", "--tls-ca", &trusted.path, "--secret", &secret]);
            words.extend_from_slice(limits);
            let path = format!("/dev/https/localhost:{}", at.port());
            words.extend(["fixtures/dial.wasm", &path, request]);
            let mut command = tinyhost(words);
            command.env("TOKEN", VALUE);
            let process = Process::start(command);
            let line =
                std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
            assert_absent(&line, "command line");
            let ended = process.input(b"").end();
            assert_eq!(ended.status, Some(status), "{ended:?}");
            assert_eq!(server.join().unwrap().contains(VALUE), status != 1, "{ended:?}");
            assert_absent(&ended.stdout, "stdout");
            assert_absent(ended.stderr.as_bytes(), "stderr");
            let mut found = Vec::new();
            files(folder.path(), &mut found);
            assert!(found.len() >= if status == 124 { 3 } else { 2 }, "{found:?}");
            found.iter().for_each(|(name, bytes)| assert_absent(bytes, name));
            let learned = String::from_utf8(std::fs::read(&policy).unwrap()).unwrap();
            if status == 0 {
                assert!(learned.contains(&format!("\nnet https:localhost:{}\n", at.port())));
                assert!(learned.contains("# What --secret adds is not written down"), "{learned}");
            }
        }
    }
}

#[test]
fn log_and_metrics_of_a_server_never_have_it() {
    use std::net::TcpStream;
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let (at, server) = serve_one(config(&authority.server(), BOTH), serve);
    let secret = format!("localhost:{} Authorization=Bearer @env:TOKEN", at.port());
    let folder = TempDir::new();
    let trace = folder.path().join("trace").display().to_string();
    let path = format!("/dev/https/localhost:{}", at.port());
    let mut command = tinyhost([
        "serve",
        "--bind",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--log-level",
        "trace",
        "--trace",
        "--trace-file",
        &trace,
        "--tls-ca",
        &trusted.path,
        "--secret",
        &secret,
        "fixtures/dial.wasm",
        &path,
    ]);
    command.env("TOKEN", VALUE);
    let serving = Process::start(command);
    let address = |line: String| line.rsplit(' ').next().unwrap().to_owned();
    let line = address(serving.wait_for_line("listening on "));
    let metrics = address(serving.wait_for_line("metrics on "));
    let metrics = metrics.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    // A line is a whole request only if it needs no more than one line: this one is refused.
    let mut client = TcpStream::connect(&line).unwrap();
    client.write_all(b"GET / HTTP/1.1\n").unwrap();
    let _ = client.read_to_end(&mut Vec::new());
    drop(server);
    let mut status = TcpStream::connect(metrics).unwrap();
    status.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = Vec::new();
    status.read_to_end(&mut text).unwrap();
    assert!(String::from_utf8_lossy(&text).contains("tinyhost_lines_total"));
    assert_absent(&text, "metrics");
    serving.wait_for_line("the request is refused: a line ends without CR");
    serving.signal(rustix::process::Signal::TERM);
    let ended = serving.end();
    assert_absent(ended.stderr.as_bytes(), "log");
    assert_absent(&std::fs::read(&trace).unwrap(), "trace");
}
