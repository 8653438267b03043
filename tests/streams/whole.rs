//! A write that blocks is whole.

use std::io::{IoSlice, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::pipe::{Capture, pipe};
use tinyhost::vfs::stdio::Stream;
use tinyhost::vfs::{Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat, mem};
use tinyhost::{Cause, Step, WasiCtx};

use super::kinds::{self, Kind};
use super::writer::{Writer, bytes, park, run};
use crate::calls::Calls;
use crate::calls::libc::{APPEND, NONBLOCK};
use crate::util::TempDir;

/// From what fits everywhere to more than is moved in one go.
const SIZES: [usize; 5] = [1, 4097, 100_000, 5_000_000, 20_000_000];

fn try_each(call: &str, which: impl Fn(&Kind) -> bool) {
    let dir = TempDir::new();
    let count = kinds::all(&dir).len();
    for index in 0..count {
        for size in SIZES {
            for parts in [1, 7] {
                let dir = TempDir::new();
                let Kind { name, file, drain, .. } = match kinds::all(&dir).swap_remove(index) {
                    kind if which(&kind) => kind,
                    _ => break,
                };
                if size > 5_000_000 && name == "a pipe" {
                    continue; // 20,000 turns show nothing more
                }
                let (mut guest, answers) = Writer::new().write(call, size, parts).guest(file);
                // Only the guest has the other end of a file, which is looked at afterwards.
                let ends = !name.contains("file") && !name.contains("capture");
                let drain = if ends { Ok(drain.begin()) } else { Err(drain) };
                run(&mut guest);
                drop(guest);
                let came = match drain {
                    Ok(reading) => reading.join().unwrap(),
                    Err(drain) => drain.begin().join().unwrap(),
                };
                let what = format!("{call} of {size} bytes in {parts} parts to {name}");
                assert_eq!(answers.told(), [Ok(size as u32)], "{what}");
                assert!(came == bytes(size), "{what}: {} bytes, or others", came.len());
            }
        }
    }
}

#[test]
fn a_blocking_write_takes_everything() {
    try_each("fd_write", |_| true);
}

#[test]
fn so_does_a_blocking_send() {
    try_each("sock_send", |kind| kind.socket);
}

#[test]
fn so_does_a_write_at_an_offset() {
    try_each("fd_pwrite", |kind| kind.name.contains("file"));
}

#[test]
fn nonblock_is_given_what_was_taken_and_then_again() {
    let dir = TempDir::new();
    for Kind { name, file, drain, endless, .. } in kinds::all(&dir) {
        // More than the system keeps of any connection that nobody reads.
        let size = 40_000_000;
        let writer = Writer::new().with_flags(NONBLOCK as u32).write("fd_write", size, 3);
        let (mut guest, answers) =
            (0..20).fold(writer, |writer, _| writer.write("fd_write", 1, 1)).guest(file);
        assert_eq!(guest.step(u64::MAX >> 1), Step::Exited(0), "{name} does not wait");
        let answers = answers.told();
        let taken = answers[0].unwrap() as usize;
        if endless {
            assert!(taken <= size && taken >= 16 << 20, "{name}: {taken}");
            continue;
        }
        assert!(taken > 0 && taken < size, "{name}: {taken}");
        let later = answers[1..].iter().filter(|answer| **answer == Ok(1)).count();
        assert!(answers[1..].iter().all(|a| matches!(a, Ok(1) | Err(Errno::Again))), "{name}");
        drop(guest);
        let came = drain.begin().join().unwrap();
        assert_eq!(came[..taken], bytes(size)[..taken], "{name}");
        assert_eq!(came.len(), taken + later, "{name}");
    }
}

#[test]
fn a_guest_that_is_gone_in_the_middle_has_written_a_part_once() {
    let dir = TempDir::new();
    for Kind { name, file, drain, endless, .. } in kinds::all(&dir) {
        if endless {
            continue;
        }
        let (mut guest, answers) = Writer::new().write("fd_write", 40_000_000, 1).guest(file);
        park(&mut guest);
        // Woken for nothing, it goes on waiting.
        park(&mut guest);
        drop(guest);
        assert_eq!(answers.told(), [], "{name}");
        let came = drain.begin().join().unwrap();
        assert!(!came.is_empty() && came.len() < 40_000_000, "{name}: {}", came.len());
        assert!(came == bytes(came.len()), "{name}: each byte once");
    }
}

#[test]
fn an_error_after_a_part_comes_with_the_next_call() {
    let (mut reader, writer) = pipe(4096);
    let writes = Writer::new().write("fd_write", 100_000, 2).write("fd_write", 5, 1);
    let (mut guest, answers) = writes.guest(Box::new(writer));
    park(&mut guest);
    assert_eq!(reader.read(&mut [0; 10]), Ok(10));
    park(&mut guest);
    drop(reader);
    run(&mut guest);
    assert_eq!(answers.told(), [Ok(4106), Err(Errno::Pipe)]);
}

#[test]
fn a_connection_that_is_gone_in_the_middle_is_a_short_count_and_then_an_error() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let file = Box::new(Stream::new(&near).unwrap());
    drop(near);
    let writes = Writer::new().write("sock_send", 40_000_000, 1).write("sock_send", 5, 1);
    let (mut guest, answers) = writes.guest(file);
    park(&mut guest);
    far.read_exact(&mut [0; 100]).unwrap();
    drop(far);
    run(&mut guest);
    let answers = answers.told();
    assert!(answers[0].unwrap() < 40_000_000);
    assert!(matches!(answers[1], Err(Errno::Pipe | Errno::Connreset)), "{:?}", answers[1]);
}

#[test]
fn a_full_disk_is_a_short_count_and_then_an_error() {
    let tree = mem::tree(Some(1 << 20));
    let (name, how) = (Name::new("file").unwrap(), Open { write: true, ..Open::default() });
    tree.create(name, how).unwrap();
    for flags in [0, APPEND as u32] {
        let file = tree.lookup(name).unwrap().open(how).unwrap().at_once().unwrap();
        let writes = Writer::new().with_flags(flags).write("fd_write", 3 << 20, 2);
        let (mut guest, answers) = writes.write("fd_write", 1 << 20, 1).guest(file);
        run(&mut guest);
        let answers = answers.told();
        if flags == 0 {
            assert!((1 << 19..3 << 20).contains(&answers[0].unwrap()), "{answers:?}");
        } else {
            assert_eq!(answers[0], Err(Errno::Nospc), "nothing fits after that");
        }
        assert_eq!(answers[1], Err(Errno::Nospc));
    }
}

#[test]
fn a_capture_that_is_full_says_so() {
    let capture = Capture::new(1000);
    let writes = Writer::new().write("fd_write", 5000, 3).write("fd_write", 5, 1);
    let (mut guest, answers) = writes.guest(Box::new(capture.clone()));
    run(&mut guest);
    assert_eq!(answers.told(), [Ok(1000), Err(Errno::Fbig)]);
    assert!(capture.overflowed());
    assert_eq!(capture.take(), bytes(1000));
}

#[test]
fn a_device_takes_all_or_nothing() {
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    for (name, answer) in [("null", Ok(20_000_000)), ("full", Err(Errno::Nospc))] {
        let device = dev.lookup(Name::new(name).unwrap()).unwrap();
        let how = Open { write: true, ..Open::default() };
        let file = device.open(how).unwrap().at_once().unwrap();
        let (mut guest, answers) = Writer::new().write("fd_write", 20_000_000, 1).guest(file);
        run(&mut guest);
        assert_eq!(answers.told(), [answer], "{name}");
    }
}

/// Takes a few bytes at each call, and never says Again.
struct Sips(Capture, usize);

impl File for Sips {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        let first = &bufs[0][..bufs[0].len().min(self.1)];
        self.0.write(&[IoSlice::new(first)], offset)
    }
}

#[test]
fn a_file_that_sips_is_offered_the_rest_while_others_have_their_turn() {
    let capture = Capture::new(1 << 20);
    let sips = Sips(capture.clone(), 10);
    let (mut guest, answers) = Writer::new().write("fd_write", 1000, 3).guest(Box::new(sips));
    let mut turns = 0;
    while guest.step(1_000_000) == Step::Yielded {
        turns += 1;
    }
    assert_eq!(answers.told(), [Ok(1000)]);
    assert_eq!(capture.take(), bytes(1000));
    assert!(turns > 5, "{turns}");
}

#[test]
fn a_file_that_takes_nothing_is_not_asked_for_ever() {
    let capture = Capture::new(1 << 20);
    let writes = Writer::new().write("fd_write", 1000, 1);
    let (mut guest, answers) = writes.guest(Box::new(Sips(capture, 0)));
    run(&mut guest);
    assert_eq!(answers.told(), [Ok(0)]);
}

#[test]
fn a_limit_holds_in_the_middle_of_a_write() {
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let null = dev.lookup(Name::new("null").unwrap()).unwrap();
    let how = Open { write: true, ..Open::default() };
    let file = null.open(how).unwrap().at_once().unwrap();
    // Vectors may overlap: 1 GiB of 16 MiB. Only what gives way can be stopped.
    let writes = (0..64).fold(Writer::new(), |writer, _| writer.write("fd_write", 1 << 20, 1));
    let (mut guest, _) = writes.guest(file);
    guest.limit_fuel(1 << 20);
    match guest.run().unwrap() {
        Step::Trapped(trap) => assert_eq!(trap.cause, Cause::Fuel),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plain_call_waits_in_place() {
    let (mut reader, writer) = pipe(1000);
    let mut calls = Calls::new(WasiCtx::builder().stdout(writer).build());
    let sent = bytes(60_000);
    let drain = thread::spawn(move || {
        let (mut came, mut piece) = (Vec::new(), [0; 333]);
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return came,
                Ok(count) => came.extend_from_slice(&piece[..count]),
                Err(_) => thread::sleep(Duration::from_micros(50)),
            }
        }
    });
    assert_eq!(calls.write(1, &sent), Ok(60_000));
    drop(calls);
    assert!(drain.join().unwrap() == sent);
}

/// An offer of more than a datagram can be is refused; of what fits, nothing is divided.
#[test]
fn a_datagram_is_never_divided() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let own = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    own.connect(peer.local_addr().unwrap()).unwrap();
    let dialled = kinds::net()
        .lookup(Name::new("udp").unwrap())
        .and_then(|udp| udp.lookup(Name::new("127.0.0.1").unwrap()))
        .and_then(|host| {
            let port = peer.local_addr().unwrap().port().to_string();
            host.lookup(Name::new(&port).unwrap())
        })
        .and_then(|node| node.open(Open { read: true, write: true, ..Open::default() }))
        .and_then(Opened::at_once)
        .unwrap();
    for file in [Box::new(Stream::new(&own).unwrap()), dialled] {
        let writes = Writer::new()
            .write("sock_send", 60_000, 7)
            .write("fd_write", 70_000, 1)
            .write("fd_write", 20_000_000, 1)
            .write("sock_send", 0, 1)
            .write("fd_write", 5, 2);
        let (mut guest, answers) = writes.guest(file);
        run(&mut guest);
        let too_long = Err(Errno::Msgsize);
        assert_eq!(answers.told(), [Ok(60_000), too_long, too_long, Ok(0), Ok(5)]);
        let mut message = vec![0; 70_000];
        for length in [60_000, 0, 5] {
            assert_eq!(peer.recv(&mut message).unwrap(), length);
        }
        peer.set_nonblocking(true).unwrap();
        assert!(peer.recv(&mut message).is_err(), "nothing else was sent");
        peer.set_nonblocking(false).unwrap();
    }
}
