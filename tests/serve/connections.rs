//! A guest that lives as long as its connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::busy::given_time;
use tinyhost::Program;
use tinyhost::serve::{Metrics, Outcome, ServeConfig, Unit};

use crate::support::{Running, assembled, program, serve};

fn connected(program: Program, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    serve(program, |config| {
        config.unit = Unit::Connection;
        adjust(config);
    })
}

#[test]
fn one_guest_answers_all_of_a_connection() {
    let server = connected(program("linefilter"), |_| {});
    let mut client = server.connect();
    for number in 0..100 {
        let line = format!("line {number}\n");
        client.write_all(line.as_bytes()).unwrap();
        assert_eq!(server.some(&mut client, line.len()), line.as_bytes());
    }
    client.write_all(b"the last").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.rest(&mut client), b"the last", "half-closed: all it had is answered");
    server.until_outcome(Outcome::Ok);
    let metrics = server.until("the end", |m| m.conns_open == 0);
    assert_eq!((metrics.conns, metrics.outcome(Outcome::Ok), metrics.guests), (1, 1, 0));
    assert_eq!(metrics.bytes_in, metrics.bytes_out);
}

#[test]
fn much_goes_through_whole() {
    const BYTES: usize = 8 << 20;
    let server = connected(program("cat"), |_| {});
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let text: Vec<u8> =
        (0..BYTES / 4).flat_map(|n| u32::try_from(n).unwrap().to_le_bytes()).collect();
    let sent = text.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reply = server.rest(&mut client);
    sender.join().unwrap();
    assert!(reply == text, "{} bytes of {BYTES}", reply.len());
}

#[test]
fn a_guest_speaks_first_if_it_likes() {
    let start = "(call $write (i32.const 1)) (drop (call $read))";
    let server = connected(assembled("welcome\\n", start), |_| {});
    let mut client = server.connect();
    assert_eq!(server.some(&mut client, 8), b"welcome\n");
    client.write_all(b"bye").unwrap();
    assert_eq!(server.rest(&mut client), b"");
}

#[test]
fn a_guest_that_closes_its_stdout_can_read_on() {
    let start = "(call $write (i32.const 1)) (drop (call $fd_close (i32.const 1)))
        (loop $more (br_if $more (call $read))) (call $write (i32.const 2))";
    let server = connected(assembled("that is all\\n", start), |_| {});
    let mut client = server.connect();
    assert_eq!(server.rest(&mut client), b"that is all\n", "the end, though the guest lives");
    server.until("the guest to read on", |m| (m.guests, m.guests_parked) == (1, 1));
    client.write_all(&[b'x'; 100_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    server.until_record("text=\"that is all\"");
    server.until_outcome(Outcome::Ok);
    assert_eq!(server.handle.metrics().bytes_in, 100_000);
}

#[test]
fn a_guest_whose_client_has_gone_gets_epipe() {
    let server = connected(program("flood"), |_| {});
    let mut client = server.connect();
    server.some(&mut client, 100_000);
    drop(client);
    server.until_outcome(Outcome::ClientGone);
    let record = server.until_record("outcome=client_gone");
    assert!(record.contains("why=\"exit status 1\""), "it ended by itself: {record}");
    server.until("all to be gone", |m| m.guests == 0 && m.conns_open == 0);
    let mut client = server.connect();
    assert_eq!(server.some(&mut client, 10).len(), 10, "the server goes on");
}

#[test]
fn a_guest_that_ignores_that_is_ended() {
    let start = "(call $write (i32.const 1)) (call $sleep_ms (i64.const 3600000))";
    let server = connected(assembled("hello\\n", start), |config| {
        config.limits.timeout = Duration::from_millis(100);
    });
    let mut client = server.connect();
    server.some(&mut client, 3);
    drop(client);
    server.until_outcome(Outcome::ClientGone);
    server.until("all to be gone", |m| m.guests == 0 && m.conns_open == 0);
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed() {
    given_time(Duration::from_millis(100), |idle| {
        let server = connected(program("linefilter"), |config| config.limits.idle = idle);
        let mut client = server.connect();
        // It is closed before that, if this thread is kept from writing for too long.
        let mut reply = Vec::new();
        let answered =
            client.write_all(b"line\n").and_then(|()| client.read_to_end(&mut reply)).is_ok();
        server.until_outcome(Outcome::Idle);
        answered && reply == b"line\n"
    });
}

#[test]
fn a_client_that_does_not_read_parks_its_guest_and_delays_nobody() {
    let server = connected(program("flood"), |_| {});
    let mut silent = server.connect();
    server.until("the guest to be parked", |m| (m.guests, m.guests_parked) == (1, 1));
    let mut other = server.connect();
    server.some(&mut other, 1 << 20);
    drop(other);
    server.until("the other to be gone", |m| m.guests == 1);
    server.some(&mut silent, 16 << 20);
}

#[test]
fn a_thousand_guests_wait_and_each_still_answers() {
    let server = connected(program("echo"), |config| {
        config.limits.max_conns_per_addr = 1000;
        config.workers = 2;
    });
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| server.connect()).collect();
    let metrics = server.until("all to be parked", |m| m.guests_parked == 1000);
    let fewest = metrics.conns_by_worker.iter().min();
    assert!(fewest.is_some_and(|count| *count > 400), "{:?}", metrics.conns_by_worker);
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = format!("{number}\n");
        assert_eq!(server.some(client, expected.len()), expected.as_bytes());
    }
    drop(clients);
    let metrics = server.until("all to be gone", |m| m.guests == 0 && m.conns_open == 0);
    assert_eq!(metrics.outcome(Outcome::Ok), 1000);
}

#[test]
fn random_disconnects_leave_nothing_behind() {
    let server = connected(program("linefilter"), |_| {});
    for number in 0_usize..300 {
        let mut client = server.connect();
        if number % 3 > 0 {
            client.write_all(b"some line\nand more").unwrap();
        }
        if number % 5 == 0 {
            client.shutdown(Shutdown::Write).unwrap();
        }
        if number % 7 == 0 && number % 3 > 0 {
            let _ = client.read(&mut [0; 4]);
        }
    }
    let metrics = server.until("all to be gone", |m| m.conns == 300 && m.conns_open == 0);
    assert_eq!((metrics.guests, metrics.guests_parked), (0, 0));
}

#[test]
fn a_guest_that_ends_when_it_would_be_ended_is_counted_and_its_connection_closed() {
    let sleeper = assembled("x", "(call $sleep_ms (i64.const 100))");
    let server = connected(sleeper, |config| config.limits.idle = Duration::from_millis(100));
    // Both alarms ring in the same turn, for some of them if not for all.
    let clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let ended = |m: &Metrics| m.outcome(Outcome::Ok) + m.outcome(Outcome::Idle);
    server.until("20 ends", |m| ended(m) == 20);
    let metrics = server.until("all to be gone", |m| m.conns_open == 0 && m.guests == 0);
    assert_eq!((ended(&metrics), metrics.conns_idle), (20, metrics.outcome(Outcome::Idle)));
    drop(clients);
}

#[test]
fn a_guest_that_takes_what_came_before_is_not_idle() {
    let a_byte_at_a_time = "(loop $again
        (i32.store (i32.const 0) (i32.const 4096))
        (i32.store (i32.const 4) (i32.const 1))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i32.load (i32.const 8)) (then (call $sleep_ms (i64.const 60)) (br $again))))
        (call $write (i32.const 1))";
    let program = assembled("done\\n", a_byte_at_a_time);
    given_time(Duration::from_millis(400), |idle| {
        let server = connected(program.clone(), |config| config.limits.idle = idle);
        // For longer than it may be idle.
        let bytes = vec![b'x'; idle.as_millis() as usize / 40];
        server.ask_and_shut(&bytes) == b"done\n"
    });
}
