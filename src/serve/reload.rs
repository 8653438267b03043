//! Reloading the program of a running server.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::serve::Shared;
use crate::serve::observe::logging::TARGET;
use crate::serve::observe::reporter::report_warmth;

/// How often a watched file is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Requests to the reloading thread.
pub(super) struct ReloadRequests {
    /// The watched file as it was when the server was made.
    first: Option<Version>,
    state: Mutex<State>,
    changed: Condvar,
    /// Loaded again, the program or the certificate.
    pub done: AtomicU64,
    /// Not loaded: the old one stays.
    pub failed: AtomicU64,
}

#[derive(Default)]
struct State {
    requested: bool,
    stop: bool,
}

impl ReloadRequests {
    pub fn new(watched: Option<&Path>) -> ReloadRequests {
        let first = watched.and_then(Version::of);
        ReloadRequests {
            first,
            state: Mutex::default(),
            changed: Condvar::new(),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub fn request(&self) {
        self.set(|state| state.requested = true);
    }

    pub fn stop(&self) {
        self.set(|state| state.stop = true);
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits for a request, at most for `time` if there is one.
    fn wait(&self, time: Option<Duration>) -> State {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| !state.requested && !state.stop;
        let mut state = match time {
            Some(time) => {
                let answer = self.changed.wait_timeout_while(state, time, idle);
                answer.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let answer = self.changed.wait_while(state, idle);
                answer.unwrap_or_else(PoisonError::into_inner)
            }
        };
        State { requested: std::mem::take(&mut state.requested), stop: state.stop }
    }
}

/// Which state of a file this is. Its length and time of modification can be those of the last
/// one (rsync sets them, and so do builds that come out the same each time); no program can set the
/// time of change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    /// Device and inode.
    file: (u64, u64),
    len: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(path: &Path) -> Option<Version> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Version {
            file: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// Reloads the program on request, or when the file has changed. Compiling
/// happens on this thread, so that no client waits for it.
pub(super) fn run(shared: &Shared) {
    let watched = shared.config.watch.as_deref();
    let look = || watched.and_then(Version::of);
    let mut loaded = shared.reloads.first;
    let mut seen = loaded;
    loop {
        let State { requested, stop } = shared.reloads.wait(watched.map(|_| CHECK_EVERY));
        if stop {
            return;
        }
        let now = look();
        // A file that still grows is left alone until it looks the same twice. One that is
        // not there is about to be replaced.
        let settled = now == seen && now.is_some() && now != loaded;
        seen = now;
        if requested || settled {
            loaded = now;
            load(shared);
            // A certificate is renewed beside the program, and not because that has changed.
            if requested {
                load_identity(shared);
            }
        }
    }
}

/// New connections are shown what is loaded; those that are open go on with what they have.
#[cfg(feature = "tls")]
fn load_identity(shared: &Shared) {
    let (Some(reload), Some(current)) = (&shared.config.reload_tls, &shared.identity) else {
        return;
    };
    let program = shared.config.name.as_str();
    match reload() {
        Ok(identity) => {
            current.replace(identity);
            shared.reloads.done.fetch_add(1, Relaxed);
            log::info!(target: TARGET, program = program; "certificate reloaded");
        }
        Err(error) => {
            shared.reloads.failed.fetch_add(1, Relaxed);
            log::error!(target: TARGET, program = program, error = error.as_str(); "certificate not reloaded, the old one stays");
        }
    }
}

#[cfg(not(feature = "tls"))]
fn load_identity(_shared: &Shared) {}

fn load(shared: &Shared) {
    let Some(reload) = &shared.config.reload else { return };
    let program = shared.config.name.as_str();
    match reload() {
        Ok(new) => {
            let warmth = new.warmth().cloned();
            shared.replace(new);
            shared.reloads.done.fetch_add(1, Relaxed);
            log::info!(target: TARGET, program = program; "program reloaded");
            report_warmth(program, warmth.as_ref());
        }
        Err(error) => {
            shared.reloads.failed.fetch_add(1, Relaxed);
            log::error!(target: TARGET, program = program, error = error.as_str(); "program not reloaded, the old one stays");
        }
    }
}
