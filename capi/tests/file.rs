//! A file of callbacks, as the library sees it: what it keeps of those who wait.

#[path = "../src/file.rs"]
mod file;

use std::ffi::c_void;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

use file::{CFile, Ops};
use tinyhost::vfs::{Errno, File, Interest, Node, Open, Wait};

/// Counts its calls; how many hold on to it is known as well.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn count() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

extern "C" fn nothing_there(
    _: *mut c_void,
    _offset: u64,
    _bytes: *mut u8,
    _len: usize,
    _got: *mut usize,
) -> u16 {
    6
}

fn node() -> Arc<CFile> {
    let ops = Ops { read: Some(nothing_there), write: None, release: None };
    CFile::new(ops, std::ptr::null_mut())
}

fn opened(node: &CFile) -> Box<dyn File> {
    node.open(Open::default()).unwrap()
}

fn read(file: &mut dyn File) -> Result<usize, Errno> {
    file.read(&mut [IoSliceMut::new(&mut [0; 8])], 0)
}

#[track_caller]
fn waits(file: &mut dyn File, waker: &Waker) {
    assert!(matches!(file.wait(Interest::READ, waker), Wait::Waker));
}

#[test]
fn an_open_file_keeps_one_waker() {
    let node = node();
    let mut file = opened(&node);
    assert_eq!(read(&mut *file), Err(Errno::Again));
    let (first, waker) = count();
    let before = Arc::strong_count(&first);
    (0..100).for_each(|_| waits(&mut *file, &waker));
    assert_eq!(Arc::strong_count(&first), before + 1);

    // Who waits next takes the place of the one before.
    let (second, next) = count();
    waits(&mut *file, &next);
    assert_eq!(Arc::strong_count(&first), before);
    node.wake();
    node.wake();
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.0.load(Ordering::Relaxed), 1);
}

#[test]
fn each_open_file_has_its_own_waker_and_takes_it_along() {
    let node = node();
    let (mut one, mut other) = (opened(&node), opened(&node));
    let ((first, waker), (second, next)) = (count(), count());
    let before = Arc::strong_count(&first);
    for (file, waker) in [(&mut one, &waker), (&mut other, &next)] {
        assert_eq!(read(&mut **file), Err(Errno::Again));
        waits(&mut **file, waker);
    }
    drop(one);
    assert_eq!(Arc::strong_count(&first), before);
    node.wake();
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.0.load(Ordering::Relaxed), 1);
}
