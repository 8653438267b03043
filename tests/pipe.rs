//! Pipes, fixed input, captured output.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use tinyhost::vfs::pipe::{Capture, Input, Reader, Writer, pipe};
use tinyhost::vfs::{Errno, File, Filetype, Interest, Ready, Wait};

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn count() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

impl Count {
    fn woken(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn read(reader: &mut Reader, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let n = reader.read(&mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn waits(file: &mut dyn File, want: Interest, waker: &Waker) -> bool {
    match file.wait(want, waker) {
        Wait::Waker => true,
        Wait::Now => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_come_out_as_they_went_in() {
    let (mut reader, mut writer) = pipe(8);
    assert_eq!(read(&mut reader, 4), Err(Errno::Again));
    assert_eq!(writer.write(b"abcdef"), Ok(6));
    assert_eq!((reader.len(), writer.len()), (6, 6));
    assert_eq!(read(&mut reader, 4).as_deref(), Ok(&b"abcd"[..]));
    // Around the end of the ring.
    assert_eq!(writer.write(b"ghijklmnop"), Ok(6));
    assert_eq!(writer.write(b"x"), Err(Errno::Again));
    assert_eq!(read(&mut reader, 99).as_deref(), Ok(&b"efghijkl"[..]));
    assert!(reader.is_empty() && writer.is_empty());
    // As a guest reads and writes.
    let bufs = [IoSlice::new(b"12"), IoSlice::new(b""), IoSlice::new(b"345")];
    assert_eq!(File::write(&mut writer, &bufs, 77), Ok(5));
    assert_eq!(writer.append(&[IoSlice::new(b"6789")]).map(|(n, _)| n), Ok(3));
    let (mut a, mut b) = ([0; 3], [0; 9]);
    let bufs = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!(File::read(&mut reader, bufs, 77), Ok(8));
    assert_eq!((&a, &b[..5]), (b"123", &b"45678"[..]));
}

#[test]
fn nothing_to_move_is_no_wait() {
    let (mut reader, mut writer) = pipe(1);
    assert_eq!(read(&mut reader, 0).as_deref(), Ok(&b""[..]));
    assert_eq!(writer.write(b"x"), Ok(1));
    assert_eq!(writer.write(b""), Ok(0));
}

#[test]
fn a_gone_writer_is_the_end() {
    let (mut reader, mut writer) = pipe(8);
    writer.write(b"last").expect("write");
    writer.close();
    assert_eq!(read(&mut reader, 2).as_deref(), Ok(&b"la"[..]));
    assert_eq!(reader.ready(Interest::READ), Ok(Ready { nbytes: 2, hangup: true }));
    assert_eq!(read(&mut reader, 9).as_deref(), Ok(&b"st"[..]));
    assert_eq!(read(&mut reader, 9).as_deref(), Ok(&b""[..]));
    assert_eq!(reader.ready(Interest::READ), Ok(Ready { nbytes: 0, hangup: true }));
}

#[test]
fn a_gone_reader_is_a_broken_pipe() {
    let (reader, mut writer) = pipe(2);
    writer.write(b"ab").expect("write");
    reader.close();
    assert_eq!(writer.write(b"c"), Err(Errno::Pipe));
    assert_eq!(writer.ready(Interest::WRITE), Ok(Ready { nbytes: 0, hangup: true }));
}

#[test]
fn readiness_says_how_much() {
    let (mut reader, mut writer) = pipe(5);
    assert_eq!(reader.ready(Interest::READ), Err(Errno::Again));
    assert_eq!(writer.ready(Interest::WRITE), Ok(Ready { nbytes: 5, hangup: false }));
    writer.write(b"abc").expect("write");
    assert_eq!(reader.ready(Interest::READ), Ok(Ready { nbytes: 3, hangup: false }));
    assert_eq!(writer.ready(Interest::WRITE), Ok(Ready { nbytes: 2, hangup: false }));
    writer.write(b"de").expect("write");
    assert_eq!(writer.ready(Interest::WRITE), Err(Errno::Again));
}

#[test]
fn a_reader_is_woken_by_bytes_and_by_the_end() {
    let (mut reader, mut writer) = pipe(5);
    let (woken, waker) = count();
    assert!(waits(&mut reader, Interest::READ, &waker));
    assert!(waits(&mut reader, Interest::READ, &waker), "the same waker again");
    assert_eq!(woken.woken(), 0);
    writer.write(b"ab").expect("write");
    assert_eq!(woken.woken(), 1);
    writer.write(b"c").expect("write");
    assert_eq!(woken.woken(), 1, "one shot");
    assert!(!waits(&mut reader, Interest::READ, &waker), "it is ready");
    read(&mut reader, 9).expect("read");
    assert!(waits(&mut reader, Interest::READ, &waker));
    drop(writer);
    assert_eq!(woken.woken(), 2);
    assert!(!waits(&mut reader, Interest::READ, &waker), "the end is there");
}

#[test]
fn a_writer_is_woken_by_room_and_by_a_broken_pipe() {
    let (mut reader, mut writer) = pipe(2);
    let (woken, waker) = count();
    assert!(!waits(&mut writer, Interest::WRITE, &waker), "there is room");
    writer.write(b"ab").expect("write");
    assert!(waits(&mut writer, Interest::WRITE, &waker));
    read(&mut reader, 1).expect("read");
    assert_eq!(woken.woken(), 1);
    read(&mut reader, 1).expect("read");
    assert_eq!(woken.woken(), 1, "one shot");
    writer.write(b"ab").expect("write");
    assert!(waits(&mut writer, Interest::WRITE, &waker));
    drop(reader);
    assert_eq!(woken.woken(), 2);
    assert!(!waits(&mut writer, Interest::WRITE, &waker));
}

#[test]
fn the_last_waker_counts() {
    let (mut reader, mut writer) = pipe(2);
    let ((first, a), (second, b)) = (count(), count());
    assert!(waits(&mut reader, Interest::READ, &a));
    assert!(waits(&mut reader, Interest::READ, &b));
    writer.write(b"x").expect("write");
    assert_eq!((first.woken(), second.woken()), (0, 1));
}

#[test]
fn an_end_does_what_it_is_for() {
    let (mut reader, mut writer) = pipe(0);
    let mut buf = [0];
    assert_eq!(File::write(&mut reader, &[IoSlice::new(b"x")], 0), Err(Errno::Badf));
    assert_eq!(File::read(&mut writer, &mut [IoSliceMut::new(&mut buf)], 0), Err(Errno::Badf));
    for end in [&mut reader as &mut dyn File, &mut writer] {
        assert_eq!(end.stat().expect("stat").filetype, Filetype::Unknown);
        assert_eq!(end.allocate(0, 1), Err(Errno::Spipe));
        assert_eq!(end.set_len(0), Err(Errno::Inval));
    }
    assert_eq!(writer.write(b"xy"), Ok(1), "a pipe holds at least one byte");
}

/// Two threads, parked until woken: every byte arrives, and no wake is missing.
#[test]
fn threads_move_everything() {
    const BYTES: usize = 200_000;
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn park(file: &mut dyn File, want: Interest) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        if let Wait::Waker = file.wait(want, &waker) {
            while file.ready(want) == Err(Errno::Again) {
                std::thread::park();
            }
        }
    }
    fn send(mut writer: Writer) {
        let mut sent = 0;
        while sent < BYTES {
            let bytes: Vec<u8> = (sent..BYTES.min(sent + 700)).map(|n| n as u8).collect();
            match writer.write(&bytes) {
                Ok(n) => sent += n,
                Err(errno) => {
                    assert_eq!(errno, Errno::Again);
                    park(&mut writer, Interest::WRITE);
                }
            }
        }
    }
    let (mut reader, writer) = pipe(1000);
    let sender = std::thread::spawn(|| send(writer));
    let mut received = 0;
    loop {
        match read(&mut reader, 333) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => {
                for byte in bytes {
                    assert_eq!(byte, received as u8);
                    received += 1;
                }
            }
            Err(errno) => {
                assert_eq!(errno, Errno::Again);
                park(&mut reader, Interest::READ);
            }
        }
    }
    sender.join().expect("sender");
    assert_eq!(received, BYTES);
}

#[test]
fn input_is_there_and_then_ends() {
    fn check(mut input: impl File) {
        let (mut a, mut b) = ([0; 2], [0; 2]);
        let bufs = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(input.ready(Interest::READ).map(|ready| ready.nbytes), Ok(5));
        assert_eq!(input.read(bufs, 99), Ok(4));
        assert_eq!(input.read(bufs, 0), Ok(1));
        assert_eq!(input.read(bufs, 0), Ok(0));
        assert_eq!((&a, &b), (b"ea", b"bl"));
        assert!(matches!(input.wait(Interest::READ, Waker::noop()), Wait::Now));
        assert_eq!(input.write(&[IoSlice::new(b"x")], 0), Err(Errno::Badf));
    }
    check(Input::new("table"));
    check(Input::new(String::from("table").into_bytes()));
    check(Input::new(Arc::<[u8]>::from(*b"table")));
}

#[test]
fn capture_keeps_up_to_its_limit() {
    let host = Capture::new(6);
    let mut guest = host.clone();
    assert_eq!(guest.write(&[IoSlice::new(b"ab"), IoSlice::new(b"c")], 9), Ok(3));
    assert!(!host.overflowed());
    let bufs = [IoSlice::new(b"d"), IoSlice::new(b"efgh")];
    assert_eq!(guest.append(&bufs).map(|(n, _)| n), Ok(3));
    assert!(host.overflowed());
    assert_eq!(guest.write(&[IoSlice::new(b"x")], 0), Err(Errno::Fbig));
    assert_eq!(guest.write(&[], 0), Ok(0));
    assert_eq!((host.len(), host.take()), (6, b"abcdef".to_vec()));
    assert_eq!(guest.write(&[IoSlice::new(b"next")], 0), Ok(4));
    assert_eq!(host.take(), b"next");
    assert!(host.is_empty());
}
