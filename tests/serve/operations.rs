//! Running a server: other programs, its end, what it tells.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use tinyhost::Program;
use tinyhost::serve::{Bind, Outcome, ServeConfig, Server, Unit};

use crate::busy::lock;
use crate::support::{assembled, fixture, program, serve};

#[test]
fn a_reload_changes_the_next_line_and_not_the_one_under_way() {
    let old =
        "(call $write (i32.const 1)) (call $sleep_ms (i64.const 300)) (call $write (i32.const 1))";
    let new = assembled("new\\n", "(call $write (i32.const 1))");
    let tries = AtomicUsize::new(0);
    let server = serve(assembled("old\\n", old), |config| {
        config.reload = Some(Arc::new(move || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("it is broken".into()),
            _ => Ok(new.clone()),
        }));
    });
    server.handle.reload();
    assert!(server.until_record("the old one stays").contains("error=\"it is broken\""));
    let mut client = server.connect();
    client.write_all(b"go\n").unwrap();
    assert_eq!(server.some(&mut client, 4), b"old\n", "under way");
    server.handle.reload();
    server.until_record("program reloaded");
    assert_eq!(server.ask(b"go\n"), b"new\n");
    assert_eq!(server.rest(&mut client), b"old\n", "to its end");
}

/// Puts a program in the place of another, as a careful copy does.
fn replace(path: &Path, wasm: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, wasm).unwrap();
    std::fs::rename(beside, path).unwrap();
}

#[test]
fn a_watched_file_is_loaded_when_it_changes() {
    let path = std::env::temp_dir().join(format!("tinyhost-watch-{}.wasm", std::process::id()));
    replace(&path, &fixture("echo"));
    let server = serve(program("echo"), |config| {
        config.watch = Some(path.clone());
        let path = path.clone();
        config.reload = Some(Arc::new(move || {
            let wasm = std::fs::read(&path).map_err(|error| error.to_string())?;
            Program::new(wasm).map_err(|error| error.to_string())
        }));
    });
    assert_eq!(server.ask(b" line\n"), b" line\n");
    replace(&path, b"not wasm");
    server.until_record("program not reloaded");
    assert_eq!(server.ask(b" line\n"), b" line\n");
    replace(&path, &fixture("promptreply"));
    server.until_record("program reloaded");
    assert_eq!(server.ask(b" line\n"), b"line\n");
    std::fs::remove_file(&path).unwrap();
}

/// As `rsync --inplace --times` does it, and builds whose files have one time.
#[test]
fn a_rewrite_of_the_same_length_and_time_is_seen() {
    use rustix::fs::{CWD, Timestamps, utimensat};
    let assembled = |status: u32| {
        let text = format!(
            r#"(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "\08\00\00\00\02\00\00\00{status}\n")
              (func (export "_start")
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))"#
        );
        wat::parse_str(text).unwrap()
    };
    let (one, two) = (assembled(1), assembled(2));
    assert_eq!(one.len(), two.len());
    let path = std::env::temp_dir().join(format!("tinyhost-same-{}.wasm", std::process::id()));
    let write = |wasm: &[u8]| {
        std::fs::write(&path, wasm).unwrap();
        let time = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    };
    write(&one);
    let server = serve(Program::new(&one).unwrap(), |config| {
        config.watch = Some(path.clone());
        let path = path.clone();
        config.reload = Some(Arc::new(move || {
            let wasm = std::fs::read(&path).map_err(|error| error.to_string())?;
            Program::new(wasm).map_err(|error| error.to_string())
        }));
    });
    assert_eq!(server.ask(b"x\n"), b"1\n");
    write(&two);
    server.until_record("program reloaded");
    assert_eq!(server.ask(b"x\n"), b"2\n");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn at_the_end_what_runs_may_finish_and_what_is_idle_is_dropped() {
    let start =
        "(call $write (i32.const 1)) (call $sleep_ms (i64.const 2000)) (call $write (i32.const 1))";
    let mut server = serve(assembled("still\\n", start), |config| {
        config.keep_open = true;
        config.workers = 2;
    });
    let mut idle = server.connect();
    let mut half = server.connect();
    half.write_all(b"half").unwrap();
    let mut busy = server.connect();
    busy.write_all(b"go\nand again\n").unwrap();
    assert_eq!(server.some(&mut busy, 6), b"still\n");
    server.until("three connections", |m| m.conns_open == 3);
    server.handle.shutdown();
    assert_eq!(server.rest(&mut idle), b"");
    assert_eq!(server.rest(&mut half), b"");
    assert_eq!(server.rest(&mut busy), b"still\n", "this line, and not the next");
    server.join();
    assert!(TcpStream::connect(server.addr).is_err(), "nobody listens any more");
    assert_eq!(server.handle.metrics().outcome(Outcome::Ok), 1);
}

#[test]
fn at_the_end_guests_of_connections_find_theirs() {
    let start = "(loop $more (br_if $more (call $read))) (call $write (i32.const 1))";
    let mut server = serve(assembled("goodbye\\n", start), |config| config.unit = Unit::Connection);
    let mut client = server.connect();
    server.until("the guest to read", |m| m.guests_parked == 1);
    server.handle.shutdown();
    assert_eq!(server.rest(&mut client), b"goodbye\n");
    server.join();
}

#[test]
fn a_guest_that_does_not_end_is_ended() {
    let mut server = serve(program("spin"), |_| {});
    let mut client = server.connect();
    client.write_all(b"go\n").unwrap();
    server.until("the guest to spin", |m| m.guests == 1);
    server.stop();
    server.until_record("outcome=stopped");
    let _ = client.read(&mut [0]);
}

#[test]
fn connections_spread_evenly_over_the_workers() {
    let server = serve(program("echo"), |config| {
        config.workers = 3;
        config.keep_open = true;
    });
    let clients: Vec<TcpStream> = (0..90).map(|_| server.connect()).collect();
    let metrics = server.until("all to be taken", |m| m.conns_open == 90);
    let counts = &metrics.conns_by_worker;
    assert!(counts.iter().all(|count| (26..=34).contains(count)), "{counts:?}");
    drop(clients);
}

fn http(server: &crate::support::Running, request: &str) -> String {
    let mut client = TcpStream::connect(server.metrics.unwrap()).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    String::from_utf8(server.rest(&mut client)).unwrap()
}

#[test]
fn metrics_and_health_are_told_over_http() {
    let server =
        serve(program("echo"), |config| config.metrics = Some("127.0.0.1:0".parse().unwrap()));
    server.ask(b"line\n");
    server.until("its end", |m| m.conns_open == 0 && m.conns == 1);
    let answer = http(&server, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    for line in [
        "tinyhost_connections_total 1",
        "tinyhost_lines_total{outcome=\"ok\"} 1",
        "tinyhost_lines_total{outcome=\"trap\"} 0",
        "tinyhost_received_bytes_total 5",
        "tinyhost_line_seconds_count 1",
        "tinyhost_guests_live 0",
    ] {
        assert!(answer.lines().any(|have| have == line), "{line} is not in {answer}");
    }
    assert!(http(&server, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok\n"));
    assert!(
        http(&server, "HEAD /healthz HTTP/1.0\r\n\r\n")
            .ends_with("Content-Length: 3\r\nConnection: close\r\n\r\n")
    );
    assert!(http(&server, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 404 "));
    assert!(http(&server, "POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 405 "));
    // A client that says nothing delays no other.
    let silent = TcpStream::connect(server.metrics.unwrap()).unwrap();
    assert!(http(&server, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
    drop(silent);
}

#[test]
fn silent_clients_do_not_keep_a_probe_from_its_answer() {
    let server =
        serve(program("echo"), |config| config.metrics = Some("127.0.0.1:0".parse().unwrap()));
    let mut silent: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(server.metrics.unwrap()).unwrap()).collect();
    assert!(http(&server, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
    server.waits_for("the first of them to be closed");
    assert_eq!(silent[0].read(&mut [0]).unwrap_or(0), 0);
    server.waits_for("the last of them to be answered");
    silent[99].write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert!(server.rest(&mut silent[99]).ends_with(b"ok\n"));
    assert!(crate::support::logged("the metrics have too many clients: the oldest is closed"));
}

#[test]
fn what_came_from_no_file_is_not_reloaded_and_that_is_logged() {
    let server = serve(program("echo"), |_| {});
    server.handle.reload();
    server.until_record("program not reloaded: it came from no file");
}

#[test]
fn health_tells_of_the_end() {
    let start = "(call $write (i32.const 1)) (call $sleep_ms (i64.const 2000))";
    let mut server = serve(assembled("x", start), |config| {
        config.metrics = Some("127.0.0.1:0".parse().unwrap());
    });
    let mut client = server.connect();
    client.write_all(b"go\n").unwrap();
    server.some(&mut client, 1);
    server.handle.shutdown();
    assert!(http(&server, "GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 503 "));
    server.join();
}

#[test]
fn health_names_a_worker_that_is_stuck() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let server = serve(program("echo"), |config| {
        config.metrics = Some("127.0.0.1:0".parse().unwrap());
        // Longer than a busy machine keeps a worker from its turn every second.
        config.stuck_after = Duration::from_secs(3);
        // It runs on the worker's thread.
        config.prepare = Some(Arc::new(move |_, cx| {
            let _ = lock(&held).recv();
            cx
        }));
    });
    assert!(http(&server, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
    let mut client = server.connect();
    client.write_all(b"line\n").unwrap();
    server.waits_for("the worker to be stuck");
    let stuck = loop {
        let answer = http(&server, "GET /healthz HTTP/1.0\r\n\r\n");
        if !answer.ends_with("ok\n") {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(stuck.starts_with("HTTP/1.0 503 "), "{stuck}");
    assert!(stuck.contains("\nworker 0 is stuck: it has done nothing for "), "{stuck}");
    drop(release);
    assert_eq!(server.rest(&mut client), b"line\n");
    server.waits_for("the worker to turn again");
    while !http(&server, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n") {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_half_started() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut config = ServeConfig::new(program("echo"), "echo");
    config.binds = vec!["127.0.0.1:0".parse().unwrap(), addr.into()];
    let error = Server::bind(config).unwrap_err().to_string();
    assert!(error.starts_with(&format!("can't listen on {addr}: ")), "{error}");
    assert!(error.contains("choose another port"), "{error}");
}

#[test]
fn sockets_that_listen_already_are_taken_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // This one has come before there is a server.
    let mut early = TcpStream::connect(addr).unwrap();
    let server = serve(program("echo"), |config| {
        config.binds = vec![Bind::Open(listener.into())];
    });
    assert_eq!(server.addr, addr);
    early.write_all(b"early\n").unwrap();
    assert_eq!(server.rest(&mut early), b"early\n");
    assert_eq!(server.ask(b"late\n"), b"late\n");
}

#[test]
fn many_threads_of_clients_and_workers_get_every_reply() {
    let server = serve(program("promptreply"), |config| config.workers = 4);
    let start = Barrier::new(16);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (server, start) = (&server, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..50 {
                    let text = format!("{thread}/{number}\n");
                    assert_eq!(server.ask(text.as_bytes()), text.as_bytes());
                }
            });
        }
    });
    let metrics = server.until("all to be closed", |m| m.conns_open == 0);
    assert_eq!(metrics.outcome(Outcome::Ok), 16 * 50);
    assert_eq!(metrics.conns, 16 * 50);
}

#[test]
fn a_reload_that_fails_is_counted_and_the_old_program_stays() {
    let tries = Arc::new(AtomicUsize::new(0));
    let server = serve(program("echo"), |config| {
        let tries = tries.clone();
        config.reload = Some(Arc::new(move || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("it is damaged".to_owned()),
            _ => Ok(program("exit")),
        }));
    });
    server.handle.reload();
    let metrics = server.until("the first to fail", |metrics| metrics.reloads_failed == 1);
    assert_eq!(metrics.reloads, 0);
    assert_eq!(server.ask(b"x\n"), b"x\n");
    assert!(server.until_record("not reloaded").contains("error=\"it is damaged\""));
    server.handle.reload();
    let metrics = server.until("the second", |metrics| metrics.reloads == 1);
    let text = metrics.prometheus();
    for line in
        ["tinyhost_reloads_total{result=\"ok\"} 1", "tinyhost_reloads_total{result=\"failed\"} 1"]
    {
        assert!(text.lines().any(|there| there == line), "{line} is not in {text}");
    }
    assert_eq!(server.ask(b"x\n"), b"");
}

#[test]
fn the_process_is_measured() {
    let server = serve(program("echo"), |_| {});
    server.ask(b"x\n");
    let process = server.handle.metrics().process;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(process.started <= since && process.started + crate::busy::LIMIT > since);
    assert!(!process.cpu.is_zero() && process.fds_max > 0);
    if cfg!(target_os = "linux") {
        assert!(process.resident > 0 && process.virtual_memory > process.resident);
        assert!(process.fds > 3 && process.fds <= process.fds_max);
    }
    // A start that moves would be taken for another process.
    assert_eq!(server.handle.metrics().process.started, process.started);
    let text = server.handle.metrics().prometheus();
    let version = format!("tinyhost_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "{text}");
}
