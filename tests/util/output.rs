//! What a child writes, gathered by a thread.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::busy::{LIMIT, lock};

#[derive(Clone)]
pub struct Output(Arc<(Mutex<Gathered>, Condvar)>);

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Of a stream that somebody else reads.
    pub fn none() -> Output {
        let gathered = Gathered { ended: true, ..Gathered::default() };
        Output(Arc::new((Mutex::new(gathered), Condvar::new())))
    }

    pub fn gather(mut source: impl Read + Send + 'static) -> Output {
        let output = Output(Arc::default());
        let Output(shared) = output.clone();
        thread::spawn(move || {
            let mut some = vec![0; 64 << 10];
            loop {
                // An error is an end, too: nothing more will come.
                let got = source.read(&mut some).unwrap_or(0);
                let mut gathered = lock(&shared.0);
                gathered.bytes.extend_from_slice(&some[..got]);
                gathered.ended = got == 0;
                shared.1.notify_all();
                if got == 0 {
                    return;
                }
            }
        });
        output
    }

    /// Waits until something is found in what was written; `None` if the stream ended first.
    pub fn wait<T>(&self, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let (gathered, changed) = &*self.0;
        let mut gathered = lock(gathered);
        loop {
            if let Some(found) = found(&gathered.bytes) {
                return Some(found);
            }
            if gathered.ended {
                return None;
            }
            // The watchdog comes first; this is for a stream that outlives its process.
            let (next, waited) =
                changed.wait_timeout(gathered, LIMIT * 2).unwrap_or_else(PoisonError::into_inner);
            assert!(!waited.timed_out(), "the stream does not end");
            gathered = next;
        }
    }

    /// Everything, once the stream has ended.
    pub fn all(&self) -> Vec<u8> {
        self.wait(|_| None::<()>);
        self.bytes()
    }

    /// What there is so far.
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.0.0).bytes.clone()
    }
}
