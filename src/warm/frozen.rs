//! What a program does before its first read, which is the same for all guests after it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::wasi::abi::Rights;
use crate::wasi::{CallOutcome, Trace, TracedCall};

/// Directories and files that are named. Of more there is only a number.
const NAMED_MAX: usize = 3;

/// Directories that are counted one by one.
const DIRECTORIES_MAX: usize = 1000;

/// Notes what a guest's calls find out.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    clock: bool,
    random: bool,
    environment: bool,
    /// Files that were opened for reading, by their directories.
    read: BTreeMap<String, u64>,
    /// What it changed in its files.
    changed: bool,
}

impl Watch {
    /// What was found out, in words.
    pub(super) fn frozen(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = Vec::new();
        let mut say = |is: bool, what: &str| {
            if is {
                words.push(what.to_owned());
            }
        };
        say(seen.environment, "the environment");
        say(seen.clock, "the time of the start");
        say(seen.random, "what came of its random bytes");
        say(seen.changed, "its changes of files");
        let files: u64 = seen.read.values().sum();
        if files > 0 {
            let mut dirs: Vec<_> = seen.read.iter().collect();
            dirs.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let mut names: Vec<&str> =
                dirs.iter().take(NAMED_MAX).map(|(name, _)| &***name).collect();
            if dirs.len() > NAMED_MAX {
                names.push("...");
            }
            let plural = if files == 1 { "" } else { "s" };
            words.push(format!("{files} file{plural} of {}", names.join(", ")));
        }
        words
    }
}

impl Seen {
    fn opened(&mut self, call: &TracedCall<'_>) {
        let rights = Rights::truncate(call.arg("fs_rights_base").unwrap_or(0));
        let Some(path) = call.path("fd", "path") else { return };
        self.changed |= rights.has(Rights::FD_WRITE);
        let dir = path.rfind('/').map_or(".", |end| if end == 0 { "/" } else { &path[..end] });
        if self.read.len() < DIRECTORIES_MAX || self.read.contains_key(dir) {
            *self.read.entry(dir.to_owned()).or_default() += 1;
        }
    }
}

/// Calls that change a tree of files.
const CHANGES: [&str; 7] = [
    "path_create_directory",
    "path_link",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "path_filestat_set_times",
];

impl Trace for Watch {
    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if outcome != CallOutcome::Done(None) {
            return;
        }
        match call.row.name {
            "clock_time_get" => seen.clock = true,
            "random_get" => seen.random = true,
            "environ_get" => seen.environment = true,
            "path_open" => seen.opened(call),
            name => seen.changed |= CHANGES.contains(&name),
        }
    }
}
