//! Each limit, exceeded: what becomes of it is counted and logged, and the server goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use crate::busy::given_time;
use tinyhost::serve::logging::STDERR_PER_SECOND_PER_GUEST;
use tinyhost::serve::{Outcome, Refusal, ServeConfig};
use tinyhost::vfs::{Name, Namespace, Open, mem};

use crate::support::{Running, assembled, program, serve};

const SHORT: Duration = Duration::from_millis(100);

fn briefly(config: &mut ServeConfig) {
    config.limits.timeout = SHORT;
}

/// Exactly one guest or line has ended, so, and the log says it.
fn only(server: &Running, outcome: Outcome) {
    server.until_outcome(outcome);
    let metrics = server.handle.metrics();
    for other in Outcome::ALL {
        assert_eq!(metrics.outcome(*other), u64::from(*other == outcome), "{}", other.name());
    }
    let record = server.until_record(&format!("outcome={}", outcome.name()));
    assert!(record.contains("WARN") || record.contains("INFO"), "{record}");
    server.until("all to be gone", |m| m.guests == 0);
}

/// Whether the server closed a connection without a byte.
fn refused(client: &mut TcpStream) -> bool {
    matches!(client.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let server = serve(program("echo"), |config| {
        config.keep_open = true;
        config.limits.max_conns = 2;
    });
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.write_all(b"in\n").unwrap();
        assert_eq!(server.some(client, 3), b"in\n");
    }
    server.waits_for("a refusal");
    assert!(refused(&mut server.connect()));
    assert_eq!(server.until("the count", |m| m.conns_open == 2).refused(Refusal::Conns), 1);
    drop(clients);
    server.until("room", |m| m.conns_open == 0);
    let mut client = server.connect();
    client.write_all(b"again\n").unwrap();
    assert_eq!(server.some(&mut client, 6), b"again\n");
}

#[test]
fn one_address_has_no_more_connections_than_its_share() {
    let server = serve(program("echo"), |config| {
        config.keep_open = true;
        config.limits.max_conns_per_addr = 1;
        config.limits.count_loopback = true;
        config.binds.push("[::1]:0".parse().unwrap());
    });
    let mut first = server.connect();
    first.write_all(b"in\n").unwrap();
    assert_eq!(server.some(&mut first, 3), b"in\n");
    server.waits_for("a refusal");
    assert!(refused(&mut server.connect()));
    server.until("the count", |m| m.refused(Refusal::ConnsPerAddr) == 1);
}

#[test]
fn a_line_too_long_is_not_run() {
    for newline in [&b"\n"[..], b""] {
        let server = serve(program("echo"), |config| config.limits.max_line = 1000);
        let line = [&[b'x'; 1001], newline].concat();
        assert_eq!(server.ask(&line), b"");
        only(&server, Outcome::LineTooLong);
    }
    let server = serve(program("echo"), |config| config.limits.max_line = 1000);
    let line = [&[b'x'; 1000][..], b"\n"].concat();
    assert_eq!(server.ask(&line), line, "but one just as long is");
}

#[test]
fn a_reply_too_long_is_cut_off() {
    let server = serve(program("flood"), |config| config.limits.max_reply = 1 << 20);
    let reply = server.ask(b"go\n");
    assert_eq!(reply.len(), 1 << 20);
    only(&server, Outcome::ReplyTooLong);
    let server = serve(program("echo"), |config| config.limits.max_reply = 6);
    assert_eq!(server.ask(b"12345\n"), b"12345\n", "one just as long is not");
    assert_eq!(server.ask(b"123456\n"), b"123456");
    only_after_one_ok(&server, Outcome::ReplyTooLong);
}

fn only_after_one_ok(server: &Running, outcome: Outcome) {
    server.until("both", |m| m.outcome(Outcome::Ok) == 1 && m.outcome(outcome) == 1);
}

#[test]
fn time_is_up_while_a_guest_computes_sleeps_or_is_not_read() {
    let server = serve(program("spin"), briefly);
    assert_eq!(server.ask(b"go\n"), b"");
    only(&server, Outcome::Timeout);
    let sleeper = assembled("x", "(call $sleep_ms (i64.const 3600000))");
    let server = serve(sleeper, briefly);
    assert_eq!(server.ask(b"go\n"), b"");
    only(&server, Outcome::Timeout);
    let server = serve(program("flood"), |config| {
        config.limits.max_reply = usize::MAX;
        briefly(config);
    });
    let mut client = server.connect();
    client.write_all(b"go\n").unwrap();
    only(&server, Outcome::Timeout);
    // Its connection is given up as well, for the rest of the reply is not fetched.
    server.until("the end of it", |m| m.conns_open == 0 && m.conns_idle == 1);
}

#[test]
fn time_is_up_while_a_line_is_not_whole() {
    let server = serve(program("echo"), briefly);
    let mut client = server.connect();
    client.write_all(b"half a li").unwrap();
    assert_eq!(server.rest(&mut client), b"");
    only(&server, Outcome::Timeout);
}

#[test]
fn a_byte_now_and_then_buys_no_time() {
    let server = serve(program("echo"), briefly);
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        while writer.write_all(b"x").is_ok() {
            std::thread::sleep(SHORT / 10);
        }
    });
    server.waits_for("the end of it");
    assert!(refused(&mut client));
    only(&server, Outcome::Timeout);
    sender.join().unwrap();
}

#[test]
fn an_idle_connection_is_closed() {
    given_time(SHORT, |idle| {
        let server = serve(program("echo"), |config| {
            config.keep_open = true;
            config.limits.idle = idle;
        });
        let mut client = server.connect();
        // It is closed before that, if this thread is kept from writing for too long.
        let mut reply = Vec::new();
        let answered =
            client.write_all(b"line\n").and_then(|()| client.read_to_end(&mut reply)).is_ok();
        server.until("the count", |m| m.conns_idle == 1 && m.conns_open == 0);
        answered && reply == b"line\n"
    });
}

#[test]
fn memory_is_refused_beyond_the_limit() {
    let server = serve(program("hog"), |config| config.limits.memory = 8 << 20);
    assert_eq!(server.ask(b"go\n"), b"");
    only(&server, Outcome::Memory);
    server.until_record("hog: out of memory after");
    assert_eq!(server.handle.metrics().refused(Refusal::Memory), 1);
    assert!(server.until_record("guest ended").contains("exit status 3 after it was refused"));
    // One that does not get what it needs to begin with.
    let server = serve(program("promptreply"), |config| config.limits.memory = 65_536);
    assert_eq!(server.ask(b"go\n"), b"");
    only(&server, Outcome::Memory);
}

#[test]
fn memory_of_all_guests_is_bounded_and_little_is_always_there() {
    let server = serve(program("hog"), |config| {
        config.limits.memory = 64 << 20;
        config.limits.memory_total = 8 << 20;
    });
    // What one had comes back at its end, or the second would have less.
    for round in 1..=2 {
        assert_eq!(server.ask(b"go\n"), b"");
        server.until("its end", |m| m.outcome(Outcome::Memory) == round);
        assert_eq!(server.handle.metrics().refused(Refusal::MemoryTotal), round);
        server.until("all to be gone", |m| m.guests == 0);
    }
    let ended = server.records("guest ended");
    let peak = |record: &String| -> usize {
        record.split("memory_peak=").nth(1).unwrap().trim().parse().unwrap()
    };
    assert!(ended.iter().all(|record| (11 << 20..=12 << 20).contains(&peak(record))), "{ended:?}");
    assert_eq!(server.handle.metrics().refused(Refusal::Memory), 0);
}

#[test]
fn fuel_runs_out() {
    let server = serve(program("spin"), |config| config.limits.fuel = Some(3_000_000));
    assert_eq!(server.ask(b"go\n"), b"");
    only(&server, Outcome::Fuel);
    let used = server.handle.metrics().fuel;
    // Up to the block of instructions there is not enough left for.
    assert!((2_999_000..=3_000_000).contains(&used), "{used}");
}

#[test]
fn cpu_time_runs_out_and_is_counted() {
    let cpu = Duration::from_millis(30);
    let server = serve(program("spin"), |config| config.limits.cpu = Some(cpu));
    assert_eq!(server.ask(b"go\n"), b"");
    only(&server, Outcome::Cpu);
    let used = Duration::from_nanos(server.handle.metrics().cpu_ns);
    assert!(used >= cpu, "{used:?}");
    let record = server.until_record("guest ended");
    let told: u64 =
        record.split("cpu_us=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(u128::from(told), used.as_micros());
}

#[test]
fn descriptors_are_refused_beyond_the_limit() {
    let tree = mem::tree(None);
    let create = Open { write: true, ..Open::default() };
    drop(tree.create(Name::new("file").unwrap(), create).unwrap());
    let namespace = Namespace::builder().mount("/", tree).unwrap().build();
    let server = serve(program("fdhog"), |config| {
        config.args = vec!["/file".into()];
        config.namespace = Arc::new(move || namespace.clone());
        config.limits.max_fds = 10;
    });
    let reply = String::from_utf8(server.ask(b"go\n")).unwrap();
    assert!(reply.starts_with("opened 6: "), "{reply}");
    server.until("the count", |m| m.refused(Refusal::Fds) == 1);
}

#[test]
fn a_guest_that_logs_without_end_is_not_let() {
    let many = "(loop $again (call $write (i32.const 2))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 20000))))";
    let server = serve(assembled("chatter\\n", many), |_| {});
    assert_eq!(server.ask(b"go\n"), b"");
    server.until_record("outcome=ok");
    let written = server.records("text=chatter").len();
    assert!((1..=5 * STDERR_PER_SECOND_PER_GUEST as usize).contains(&written), "{written}");
    let dropped = server.records("lines dropped");
    assert!(!dropped.is_empty(), "what is missing is told");
}

/// The line says what the guest does with it: `s` spins, anything else comes back.
fn spin_or_echo() -> tinyhost::Program {
    let start = "(local.set $i (call $read))
        (if (i32.eq (i32.load8_u (i32.const 4096)) (i32.const 115)) (then (loop $for_ever (br $for_ever))))
        (call $write (i32.const 1))";
    assembled("fine\\n", start)
}

#[test]
fn guests_that_spin_do_not_keep_the_others_from_their_replies() {
    let server = serve(spin_or_echo(), |_| {});
    let mut spinning: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    spinning.iter_mut().for_each(|client| client.write_all(b"spin\n").unwrap());
    server.until("all to spin", |m| m.guests == 20);
    for _ in 0..50 {
        assert_eq!(server.ask(b"echo\n"), b"fine\n");
    }
    assert_eq!(server.handle.metrics().guests, 20, "they spin still");
    drop(spinning);
}
