//! What the host's tree may have in it besides files and directories.
#![cfg(target_os = "linux")]

use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::task::Waker;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::vfs::{Filetype, Interest, Opened, Ready, Wait};

/// Far longer than it takes on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs what must not block, and gives up if it does.
fn does_not_block(what: &str, run: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        run();
        let _ = done.send(());
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(LIMIT) {
        panic!("{what} took longer than {LIMIT:?}");
    }
    thread.join().unwrap();
}

fn fifo() -> (Scratch, Arc<dyn Node>) {
    let scratch = Scratch::new();
    let path = scratch.path("fifo");
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let node = scratch.node().lookup(name("fifo")).unwrap();
    (scratch, node)
}

#[test]
fn a_fifo_never_blocks() {
    does_not_block("a FIFO", || {
        let (_scratch, fifo) = fifo();
        assert_eq!(fifo.stat().unwrap().filetype, Filetype::Unknown);
        let at_once = Open { nonblock: true, ..WRITE };
        assert_eq!(error(fifo.open(at_once)), Errno::Nxio);
        let Opened::Pending(mut waiting) = fifo.open(WRITE).unwrap() else { panic!("it is open") };
        assert_eq!(waiting.proceed().err(), Some(Errno::Again));
        assert!(matches!(waiting.wait(Waker::noop()), Wait::Never(_)));
        assert!(waiting.deadline().is_some());
        drop(waiting);
        // Who asks for both directions is the other end.
        fifo.open(BOTH).unwrap().at_once().unwrap();
        // "No writer" is the end for who does not wait.
        let hasty = Open { nonblock: true, ..READ };
        let mut hasty = fifo.open(hasty).unwrap().at_once().unwrap();
        assert_eq!(read(&mut *hasty, 9, 0), Ok(String::new()));
        drop(hasty);
        let mut reader = fifo.open(READ).unwrap().at_once().unwrap();
        // No writer yet is not the end.
        assert_eq!(read(&mut *reader, 9, 0), Err(Errno::Again));
        assert_eq!(reader.ready(Interest::READ), Err(Errno::Again));
        assert!(matches!(reader.wait(Interest::READ, Waker::noop()), Wait::Fd(_)));
        assert_eq!(read(&mut *reader, 0, 0), Ok(String::new()));

        let mut writer = fifo.open(WRITE).unwrap().at_once().unwrap();
        assert_eq!(read(&mut *reader, 9, 0), Err(Errno::Again));
        assert_eq!(writer.ready(Interest::WRITE).map(|ready| ready.hangup), Ok(false));
        assert_eq!(write(&mut *writer, "hello", 77), Ok(5));
        assert_eq!(reader.ready(Interest::READ), Ok(Ready { nbytes: 5, hangup: false }));
        assert_eq!(read(&mut *reader, 2, 99), Ok("he".into()));
        assert_eq!(read(&mut *reader, 9, 0), Ok("llo".into()));
        assert_eq!(writer.append(&[IoSlice::new(b"!")]).map(|(written, _)| written), Ok(1));
        assert_eq!(writer.allocate(0, 1), Err(Errno::Spipe));
        drop(writer);
        assert_eq!(read(&mut *reader, 9, 0), Ok("!".into()));
        assert_eq!(read(&mut *reader, 9, 0), Ok(String::new()));
        assert_eq!(reader.ready(Interest::READ), Ok(Ready { nbytes: 0, hangup: true }));
        assert_eq!(reader.set_len(0), Err(Errno::Inval));
        assert_eq!(reader.sync(false), Err(Errno::Inval));
    });
}

#[test]
fn a_full_fifo_says_again_and_a_broken_one_says_so() {
    does_not_block("a FIFO", || {
        let (_scratch, fifo) = fifo();
        let reader = fifo.open(READ).unwrap().at_once().unwrap();
        let mut writer = fifo.open(WRITE).unwrap().at_once().unwrap();
        let chunk = "x".repeat(1 << 16);
        let mut total = 0;
        let full = loop {
            match write(&mut *writer, &chunk, 0) {
                Ok(written) => total += written,
                Err(error) => break error,
            }
        };
        assert_eq!(full, Errno::Again);
        assert!(total > 0);
        assert_eq!(writer.ready(Interest::WRITE), Err(Errno::Again));
        drop(reader);
        assert!(writer.ready(Interest::WRITE).unwrap().hangup);
        assert_eq!(write(&mut *writer, "x", 0), Err(Errno::Pipe));
    });
}

#[test]
fn a_socket_in_a_directory_is_no_file() {
    let scratch = Scratch::new();
    let _listener = UnixListener::bind(scratch.path("socket")).unwrap();
    let socket = scratch.node().lookup(name("socket")).unwrap();
    assert_eq!(socket.stat().unwrap().filetype, Filetype::SocketStream);
    for how in [LOOK, READ, WRITE, BOTH] {
        assert_eq!(error(socket.open(how)), Errno::Nxio);
    }
}

#[test]
fn devices_are_streams() {
    let dev = open(Path::new("/dev")).unwrap();
    let zero = dev.lookup(name("zero")).unwrap();
    assert_eq!(zero.stat().unwrap().filetype, Filetype::CharacterDevice);
    let mut zero = zero.open(READ).unwrap().at_once().unwrap();
    assert_eq!(read(&mut *zero, 2, u64::MAX), Ok("\0\0".into()));
    assert!(zero.ready(Interest::READ).is_ok());
    let mut null = dev.lookup(name("null")).unwrap().open(BOTH).unwrap().at_once().unwrap();
    assert_eq!(read(&mut *null, 2, 0), Ok(String::new()));
    assert_eq!(write(&mut *null, "gone", u64::MAX), Ok(4));
}

#[test]
fn a_regular_file_is_always_ready() {
    let scratch = Scratch::with(&["file=text"]);
    let mut file =
        scratch.node().lookup(name("file")).unwrap().open(BOTH).unwrap().at_once().unwrap();
    for want in [Interest::READ, Interest::WRITE] {
        assert_eq!(file.ready(want), Ok(Ready::default()));
        assert!(matches!(file.wait(want, Waker::noop()), Wait::Now));
    }
}
