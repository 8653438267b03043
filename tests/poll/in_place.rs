//! A guest that is called plainly: its thread waits.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Listener, Net, NetConfig};
use tinyhost::vfs::stdio::Stream;
use tinyhost::vfs::{Node, pipe};
use tinyhost::{Errno, WasiCtx};

use super::records::{CLOCK, Event, MONOTONIC, READ, REALTIME, WRITE, clock, event, events, fd};
use crate::busy::LIMIT;
use crate::calls::{Calls, DATA, OUT, libc, mounted};

/// What is far longer than any of these tests takes, ns.
const LONG: u64 = 600_000_000_000;

fn poll(calls: &mut Calls, subscriptions: &[[u8; 48]]) -> Vec<Event> {
    let (room, count) = (DATA + 0x2000, subscriptions.len());
    calls.put(DATA, &subscriptions.concat());
    let args = [DATA.into(), room.into(), count as u64, OUT.into()];
    calls.call("poll_oneoff", &args).expect("poll_oneoff");
    let events_count = calls.u32_at(OUT);
    events(&calls.bytes(room, 32 * count as u32), events_count)
}

/// Fails instead of hanging for ever.
fn within(limit: Duration, what: &'static str, test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("still waiting after {limit:?}: {what}");
    }
    thread.join().expect(what);
}

#[test]
fn a_sleep_lasts_as_long_as_it_says() {
    within(LIMIT, "a sleep of 30 ms", || {
        let mut calls = Calls::new(WasiCtx::builder().build());
        let ms = 1_000_000;
        let begin = Instant::now();
        let slept = poll(&mut calls, &[clock(1, MONOTONIC, 30 * ms, false)]);
        assert!(begin.elapsed() >= Duration::from_millis(30));
        assert_eq!(slept, [event(1, CLOCK, 0)]);
        for id in [REALTIME, MONOTONIC] {
            calls.call("clock_time_get", &[id.into(), 0, OUT.into()]).expect("a clock");
            let (begin, until) = (Instant::now(), calls.u64_at(OUT) + 20 * ms);
            assert_eq!(poll(&mut calls, &[clock(2, id, until, true)]), [event(2, CLOCK, 0)]);
            assert!(begin.elapsed() >= Duration::from_millis(19), "{:?}", begin.elapsed());
            assert_eq!(poll(&mut calls, &[clock(3, id, until, true)]), [event(3, CLOCK, 0)]);
        }
    });
}

#[test]
fn a_pipe_ends_the_wait() {
    within(LIMIT, "a byte from another thread", || {
        let (stdin, mut writer) = pipe::pipe(10);
        let mut calls = Calls::new(WasiCtx::builder().stdin(stdin).build());
        let (asked, go) = mpsc::channel();
        let other = thread::spawn(move || {
            go.recv().expect("the guest is there");
            writer.write(b"ab").expect("room");
            go.recv().expect("the guest is there");
        });
        let both = [fd(1, READ, 0), clock(2, MONOTONIC, LONG, false)];
        asked.send(()).expect("sent");
        assert_eq!(poll(&mut calls, &both), [event(1, READ, 2)]);
        assert_eq!(calls.read(0, 10).as_deref(), Ok(&b"ab"[..]));
        asked.send(()).expect("sent");
        let gone = Event { hangup: true, ..event(1, READ, 0) };
        assert_eq!(poll(&mut calls, &both), [gone]);
        other.join().expect("the other thread");
    });
}

#[test]
fn sockets_are_polled_like_anything_else() {
    within(LIMIT, "a client on 127.0.0.1", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let net = Net::new(NetConfig::default());
        let listener = Listener::new(listener, &net).expect("a listener");
        let cx = WasiCtx::builder().socket("listener", Box::new(listener));
        let mut calls = Calls::new(cx.build());
        // Nobody is there yet.
        let now = [fd(1, READ, 3), clock(2, MONOTONIC, 0, false)];
        assert_eq!(poll(&mut calls, &now), [event(2, CLOCK, 0)]);
        let client = thread::spawn(move || TcpStream::connect(address).expect("connect"));
        let wait = [fd(1, READ, 3), clock(2, MONOTONIC, LONG, false)];
        assert_eq!(poll(&mut calls, &wait).first().map(|event| event.userdata), Some(1));
        calls.call("sock_accept", &[3, 0, OUT.into()]).expect("a client");
        let stream = calls.u32_at(OUT);
        let mut client = client.join().expect("the client");

        let directions = [fd(1, READ, stream), fd(2, WRITE, stream)];
        let ready = poll(&mut calls, &directions);
        assert_eq!(ready.iter().map(|event| event.userdata).collect::<Vec<_>>(), [2]);
        client.write_all(b"hello").expect("write");
        let wait = [fd(1, READ, stream), clock(2, MONOTONIC, LONG, false)];
        assert_eq!(poll(&mut calls, &wait), [event(1, READ, 5)]);
        assert_eq!(calls.read(stream, 10).as_deref(), Ok(&b"hello"[..]));
        assert_eq!(calls.write(stream, b"answer"), Ok(6));
        calls.call("sock_shutdown", &[stream.into(), 2]).expect("shutdown");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "answer");
        drop(client);
        let end = poll(&mut calls, &wait);
        assert_eq!((end[0].userdata, end[0].nbytes), (1, 0));
        assert_eq!(calls.read(stream, 10).as_deref(), Ok(&b""[..]));
        assert_eq!(calls.write(3, b"x"), Err(Errno::Notconn), "a listener is no stream");
    });
}

/// Two numbers of one file, in two directions.
#[test]
fn a_file_is_watched_in_all_directions_that_are_waited_for() {
    within(LIMIT, "a connection that is drained", || {
        let (mut reader, mut writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        while writer.write(&[0; 4096]).is_ok() {}
        let dev: Arc<dyn Node> = Arc::new(Dev::new());
        let stdout = Stream::new(&writer).unwrap();
        let cx = WasiCtx::builder().stdout(stdout).namespace(mounted(&[("/dev", &dev)]));
        let mut calls = Calls::new(cx.build());
        let alias = calls.open(3, "stdout", 0, libc::ALL).expect("another number");
        let drain = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            reader.set_nonblocking(true).unwrap();
            while reader.read(&mut [0; 4096]).is_ok() {}
            reader
        });
        let ready = poll(&mut calls, &[fd(1, READ, 1), fd(2, WRITE, alias)]);
        assert_eq!(ready.iter().map(|event| event.userdata).collect::<Vec<_>>(), [2]);
        drop(drain.join());
    });
}
