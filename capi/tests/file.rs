//! A file of callbacks, as the library sees it: when it is ready, and what it keeps of those who
//! wait.

#[path = "../src/file.rs"]
mod file;

use std::ffi::c_void;
use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

/// What the callbacks answer: bytes there are to read and room there is to write.
#[derive(Default)]
struct App {
    to_read: AtomicUsize,
    room: AtomicUsize,
    /// Wakes this one in the middle of the next read.
    wake: Mutex<Option<Arc<CFile>>>,
}

/// All there is at once.
fn all(there: &AtomicUsize, len: usize) -> (u16, usize) {
    match there.swap(0, Ordering::Relaxed) {
        0 => (6, 0),
        n => (0, n.min(len)),
    }
}

extern "C" fn read_app(
    data: *mut c_void,
    _offset: u64,
    _bytes: *mut u8,
    len: usize,
    got: *mut usize,
) -> u16 {
    // SAFETY: what `node` was given.
    let app = unsafe { &*data.cast::<App>() };
    let (errno, n) = all(&app.to_read, len);
    if let Some(node) = lock(&app.wake).take() {
        node.wake();
    }
    // SAFETY: room for one number, as the header says.
    unsafe { got.write(n) };
    errno
}

extern "C" fn write_app(
    data: *mut c_void,
    _offset: u64,
    _bytes: *const u8,
    len: usize,
    put: *mut usize,
) -> u16 {
    // SAFETY: what `node` was given.
    let app = unsafe { &*data.cast::<App>() };
    let (errno, n) = all(&app.room, len);
    // SAFETY: room for one number, as the header says.
    unsafe { put.write(n) };
    errno
}

static NOTHING: App =
    App { to_read: AtomicUsize::new(0), room: AtomicUsize::new(0), wake: Mutex::new(None) };

fn node_of(app: &'static App) -> Arc<CFile> {
    let ops = Ops { read: Some(read_app), write: Some(write_app), release: None };
    CFile::new(ops, std::ptr::from_ref(app).cast_mut().cast())
}

/// One that has nothing, ever.
fn node() -> Arc<CFile> {
    node_of(&NOTHING)
}

fn opened(node: &CFile) -> Box<dyn File> {
    node.open(Open::default()).unwrap().at_once().unwrap()
}

fn read(file: &mut dyn File) -> Result<usize, Errno> {
    file.read(&mut [IoSliceMut::new(&mut [0; 8])], 0)
}

fn write(file: &mut dyn File) -> Result<usize, Errno> {
    file.write(&[IoSlice::new(&[0; 8])], 0)
}

fn is_ready(file: &mut dyn File, want: Interest) -> bool {
    match file.ready(want) {
        Ok(_) => true,
        Err(Errno::Again) => false,
        Err(error) => panic!("{error}"),
    }
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

#[test]
fn a_file_that_said_again_is_not_ready_until_it_is_woken() {
    let app: &'static App = Box::leak(Box::default());
    let node = node_of(app);
    let mut file = opened(&node);
    let file = &mut *file;
    // Nobody can tell, so it has to be tried.
    assert!(is_ready(file, Interest::READ));
    assert_eq!(read(file), Err(Errno::Again));
    assert!(!is_ready(file, Interest::READ));
    assert!(!is_ready(file, Interest::READ));
    // A wake is seen by each who asks, until the next read.
    node.wake();
    assert!(is_ready(file, Interest::READ));
    assert!(is_ready(file, Interest::READ));
    assert_eq!(read(file), Err(Errno::Again));
    assert!(!is_ready(file, Interest::READ));
    app.to_read.store(3, Ordering::Relaxed);
    node.wake();
    assert!(is_ready(file, Interest::READ));
    assert_eq!(read(file), Ok(3));
    assert!(is_ready(file, Interest::READ));
}

#[test]
fn reading_and_writing_are_ready_each_for_itself() {
    let app: &'static App = Box::leak(Box::default());
    let node = node_of(app);
    let mut file = opened(&node);
    let file = &mut *file;
    let both = Interest::READ.or(Interest::WRITE);
    assert_eq!(read(file), Err(Errno::Again));
    assert!(is_ready(file, Interest::WRITE) && is_ready(file, both));
    app.room.store(5, Ordering::Relaxed);
    assert_eq!(write(file), Ok(5));
    assert!(is_ready(file, Interest::WRITE) && !is_ready(file, Interest::READ));
    assert_eq!(write(file), Err(Errno::Again));
    assert!(!is_ready(file, Interest::WRITE) && !is_ready(file, both));
    let (_count, waker) = count();
    assert!(matches!(file.wait(both, &waker), Wait::Waker));
    // A read that succeeds says nothing of writing.
    app.to_read.store(1, Ordering::Relaxed);
    assert_eq!(read(file), Ok(1));
    assert!(is_ready(file, Interest::READ) && !is_ready(file, Interest::WRITE));
    assert!(matches!(file.wait(Interest::READ, &waker), Wait::Now));
    node.wake();
    assert!(is_ready(file, Interest::WRITE));
}

/// A missing wake is a bug, wherever it falls.
#[test]
fn no_wake_is_missed() {
    let app: &'static App = Box::leak(Box::default());
    let node = node_of(app);
    let (_count, waker) = count();
    // In the middle of the read that says Again.
    let mut file = opened(&node);
    *lock(&app.wake) = Some(node.clone());
    assert_eq!(read(&mut *file), Err(Errno::Again));
    assert!(is_ready(&mut *file, Interest::READ));
    assert!(matches!(file.wait(Interest::READ, &waker), Wait::Now));
    // Between the read and the wait, with a write in between that came after the wake.
    assert_eq!(read(&mut *file), Err(Errno::Again));
    node.wake();
    assert_eq!(write(&mut *file), Err(Errno::Again));
    assert!(is_ready(&mut *file, Interest::READ));
    assert!(matches!(file.wait(Interest::READ, &waker), Wait::Now));
    assert!(!is_ready(&mut *file, Interest::WRITE));
    // Between a poll and its wait.
    assert_eq!(read(&mut *file), Err(Errno::Again));
    assert!(!is_ready(&mut *file, Interest::READ));
    node.wake();
    assert!(matches!(file.wait(Interest::READ, &waker), Wait::Now));
}

/// Locks, also after a panic of another thread: that one is the failure to be seen.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
