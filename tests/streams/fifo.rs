//! FIFOs in a directory of the host.

use std::io::{Read, Write};
use std::task::Waker;
use std::time::Duration;

use tinyhost::vfs::host;
use tinyhost::{Armed, Errno, Guest, Step, WasiCtx};

use super::kinds;
use super::writer::{park, run};
use crate::calls::libc::{FD_READ, FD_WRITE, NONBLOCK, TRUNC};
use crate::calls::mounted;
use crate::calls::script::{Ending, Script};
use crate::util::TempDir;

const PATH: u32 = 0x1000;
const VECTOR: u32 = 0x1100;
const OUT: u32 = 0x2000;

/// A guest that opens the FIFO and does this with what it gets.
fn guest(dir: &TempDir, oflags: u64, rights: u64, fdflags: u64, then: &str) -> (Guest, Ending) {
    let vector = [PATH, 4].map(u32::to_le_bytes).concat();
    let mut script = Script::new().data(PATH, b"fifo").data(VECTOR, &vector);
    let open = [3, 0, PATH.into(), 4, oflags, rights, 0, fdflags, OUT.into()];
    script = script.call("path_open", &open);
    if !then.is_empty() {
        script = script.call(then, &[4, VECTOR.into(), 1, (OUT + 8).into()]);
    }
    let root = host::open(dir.path()).unwrap();
    script.guest(WasiCtx::builder().namespace(mounted(&[("/", &root)])), OUT, 12)
}

fn answers(guest: &mut Guest, ending: &Ending) -> Vec<Result<(), Errno>> {
    run(guest);
    let errno = |code: &u32| Errno::from_code(*code as i32).unwrap();
    let answer = |code: &u32| if *code == 0 { Ok(()) } else { Err(errno(code)) };
    ending.told().0.iter().map(answer).collect()
}

#[test]
fn a_writer_waits_for_its_reader_and_can_be_cancelled() {
    let dir = TempDir::new();
    let path = kinds::fifo(dir.path());
    for oflags in [0, TRUNC] {
        let (mut cancelled, _) = guest(&dir, oflags, FD_WRITE, 0, "fd_write");
        park(&mut cancelled);
        let (mut writer, ending) = guest(&dir, oflags, FD_WRITE, 0, "fd_write");
        for _ in 0..3 {
            park(&mut writer);
            match writer.arm(Waker::noop(), &mut |_, _| panic!("no descriptor is there yet")) {
                Armed::Until(Some(time)) => assert!(time <= Duration::from_millis(50), "{time:?}"),
                Armed::Now => {}
                Armed::Until(None) => panic!("nothing would wake it"),
            }
        }
        drop(cancelled);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        assert_eq!(answers(&mut writer, &ending), [Ok(()), Ok(())]);
        drop(writer);
        assert_eq!(reader.join().unwrap(), "fifo");
    }
}

#[test]
fn a_writer_that_does_not_wait_is_told_at_once() {
    let dir = TempDir::new();
    kinds::fifo(dir.path());
    let (mut writer, ending) = guest(&dir, 0, FD_WRITE, NONBLOCK, "");
    assert_eq!(writer.step(1_000_000), Step::Exited(0));
    assert_eq!(answers(&mut writer, &ending), [Err(Errno::Nxio)]);
}

#[test]
fn both_directions_never_wait() {
    let dir = TempDir::new();
    kinds::fifo(dir.path());
    for fdflags in [0, NONBLOCK] {
        let (mut both, ending) = guest(&dir, 0, FD_READ | FD_WRITE, fdflags, "fd_write");
        assert_eq!(both.step(1_000_000), Step::Exited(0));
        assert_eq!(answers(&mut both, &ending), [Ok(()), Ok(())]);
    }
}

/// The first read waits, not the open; with NONBLOCK, that there is no writer is the end.
#[test]
fn a_reader_waits_for_its_writer() {
    let dir = TempDir::new();
    let path = kinds::fifo(dir.path());
    let (mut hasty, ending) = guest(&dir, 0, FD_READ, NONBLOCK, "fd_read");
    assert_eq!(hasty.step(1_000_000), Step::Exited(0));
    assert_eq!(answers(&mut hasty, &ending), [Ok(()), Ok(())]);
    let (mut reader, ending) = guest(&dir, 0, FD_READ, 0, "fd_read");
    park(&mut reader);
    let mut writer = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    park(&mut reader);
    writer.write_all(b"hi").unwrap();
    run(&mut reader);
    let (errnos, memory) = ending.told();
    assert_eq!((&errnos[..], memory[8]), (&[0, 0][..], 2));
}

/// A FIFO that is gone, or has become something else, while its writer waited.
#[test]
fn a_name_that_leads_elsewhere_meanwhile_is_not_opened() {
    let dir = TempDir::new();
    let path = kinds::fifo(dir.path());
    let (mut writer, ending) = guest(&dir, 0, FD_WRITE, 0, "");
    park(&mut writer);
    std::fs::remove_file(&path).unwrap();
    dir.file("fifo", b"text");
    assert_eq!(answers(&mut writer, &ending), [Err(Errno::Noent)]);
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}
