//! A tree that is changed while the guest walks it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tinyhost::Errno;

use super::attempts::{FOLLOWING, all};
use crate::busy::LIMIT;
use crate::calls::Calls;
use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir, file, link, rename};
use crate::{arena, outside};

const DURATION: Duration = Duration::from_secs(2);

on_each! { host slow mem: {
    no_swap_leads_out
} }

/// Swaps the directory `swap` for a link to the outside, and back, until told to stop.
fn swap(tree: &Tree, stop: &AtomicBool, count: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        if !exchanged(tree) {
            rename(&tree.top, "mount/swap", "away/dir");
            rename(&tree.top, "away/link", "mount/swap");
            rename(&tree.top, "mount/swap", "away/link");
            rename(&tree.top, "away/dir", "mount/swap");
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// In one step, where the system can: that leaves a guest the least time to notice.
#[cfg(target_os = "linux")]
fn exchanged(tree: &Tree) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let path = |name: &str| format!("{}/{name}", tree.path);
    let (one, other) = (path("mount/swap"), path("away/link"));
    !tree.path.is_empty() && renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchanged(_tree: &Tree) -> bool {
    false
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn no_swap_leads_out(tree: &Tree) {
    link(&tree.top, "away/link", "../outside");
    dir(&tree.mount, "swap/dir");
    file(&tree.mount, "swap/secret", b"inside");
    file(&tree.mount, "a/secret", b"inside");
    let before = arena(tree);
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| swap(tree, &stop, &swaps));
        let _stop = StopOnDrop(&stop);
        let (mut tries, mut through) = (0, 0);
        let begin = Instant::now();
        loop {
            let swaps = swaps.load(Ordering::Relaxed);
            let enough = swaps > 100 && tries > 1000 && through > 10;
            if enough && begin.elapsed() >= DURATION {
                break;
            }
            assert!(enough || begin.elapsed() < LIMIT, "{swaps} {tries} {through}");
            // A new guest each round: it is left with many open descriptors.
            let mut calls = Calls::at(&tree.mount);
            let paths = ["swap/secret", "swap/new", "swap/dir/inner", "swap/empty"];
            let attempts = paths.iter().flat_map(|path| all().map(move |attempt| (*path, attempt)));
            // `swap` itself is not to be taken away or made: it is the other thread's.
            for (path, attempt) in attempts.chain(FOLLOWING.iter().map(|it| ("swap/", it))) {
                tries += 1;
                match (attempt.run)(&mut calls, 3, path.as_bytes()) {
                    // Whatever it answers, what counts is what it does.
                    Ok(()) => through += 1,
                    Err(Errno::Badf | Errno::Fault | Errno::Io | Errno::Mfile) => {
                        panic!("{} {path}", attempt.what)
                    }
                    Err(_) => {}
                }
                check(&mut calls, path);
            }
        }
    });
    assert_eq!(outside(tree), before);
}

/// Writes, and reads what it never wrote only if it is inside.
fn check(calls: &mut Calls, path: &str) {
    if let Ok(fd) = calls.open(3, path, CREAT, ALL) {
        let _ = calls.write(fd, b"inside");
        calls.close(fd).expect("close");
    }
    if let Ok(bytes) = calls.cat(3, path) {
        assert_ne!(bytes, b"secret", "{path} was read outside");
    }
}
