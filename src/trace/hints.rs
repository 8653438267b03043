//! Why a guest could not do what it tried, for its operator: said once for each cause.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::escape::Line;
use super::record::errno_name;
use super::said::says_missing;
use crate::errno::Errno;
use crate::vfs::path::{below, goes_up, join, parent, parts, trimmed};
use crate::wasi::abi::{Oflags, Rights};
use crate::wasi::{CallOutcome, Descriptor, Kind, Trace, TracedCall};

/// Causes that are reported, so that no guest can fill a log.
const CAUSES_MAX: usize = 64;

/// Files that were not there and are remembered. CPython looks for some hundred before it begins.
const MISSING_MAX: usize = 256;

/// A mount as its operator knows it.
#[derive(Clone, Debug, Default)]
pub struct Mounted {
    /// Where the guest finds it.
    pub guest: String,
    /// The option it was made with.
    pub option: String,
    /// What it is on the host, if it is a directory or a socket there.
    pub host: Option<PathBuf>,
    /// What would make it writable, if it is not: "leave out ::ro".
    pub writable_by: Option<String>,
    /// What would give it more room, if that is bounded: "raise the limit with quota=SIZE".
    pub larger_by: Option<String>,
}

/// Takes the line of a hint.
pub type ReportHint = Arc<dyn Fn(&str) + Send + Sync>;

/// Watches calls that fail, and explains those whose cause is a mount. To be given with
/// [`CtxBuilder::on_error`](crate::wasi::CtxBuilder::on_error).
pub struct Hints {
    mounts: Arc<[Mounted]>,
    report: ReportHint,
    /// Causes, of all guests that have this in common.
    told: Arc<Mutex<HashSet<String>>>,
    /// Files that were to be read and were not there, the last one last.
    missing: VecDeque<String>,
}

impl Hints {
    /// Hints for a guest with these mounts; `/dev` is not one of them.
    pub fn new(mounts: Arc<[Mounted]>, report: ReportHint) -> Hints {
        Hints { mounts, report, told: Arc::default(), missing: VecDeque::new() }
    }

    /// The same for another guest: what was reported of one is not reported again of the other.
    pub fn for_guest(&self) -> Hints {
        let (mounts, report) = (self.mounts.clone(), self.report.clone());
        Hints { mounts, report, told: self.told.clone(), missing: VecDeque::new() }
    }

    fn tell(&mut self, cause: &str, line: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let new = told.len() < CAUSES_MAX && told.insert(cause.to_owned());
        drop(told);
        if new {
            (self.report)(&Line(line).to_string());
        }
    }

    /// What to say of a file that was missing, of a guest that failed and has `said` so on its
    /// standard error. Programs look for many files that need not be there; which of them it was
    /// that they could not do without, only they know.
    pub fn missing(&self, said: &str) -> Option<String> {
        let path = self.missing.iter().rev().find(|path| says_missing(said, path))?;
        let mount = covering(&self.mounts, path)?;
        let below = below(path, &mount.guest)?;
        let Some(host) = &mount.host else {
            return Some(format!("the guest did not find '{path}' in {}", mount.option));
        };
        let host = if below.is_empty() { host.clone() } else { host.join(&below) };
        // A path that goes up leads elsewhere on the host, where links are.
        if host.symlink_metadata().is_ok() || goes_up(&below) {
            return None;
        }
        Some(format!(
            "the guest did not find '{path}': on the host, this is '{}', which does not exist",
            host.display()
        ))
    }

    fn not_found(&mut self, call: &TracedCall<'_>) {
        let rights = Rights::truncate(call.arg("fs_rights_base").unwrap_or_default());
        let creates = call.arg("oflags").unwrap_or_default() & u64::from(Oflags::CREAT.bits()) != 0;
        if call.row.name != "path_open" || creates || rights.has(Rights::FD_WRITE) {
            return;
        }
        let Some(path) = call.path("fd", "path").filter(|path| !is_dev(path)) else { return };
        self.missing.retain(|known| *known != path);
        if self.missing.len() >= MISSING_MAX {
            self.missing.pop_front();
        }
        self.missing.push_back(path);
    }
}

impl Trace for Hints {
    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        let CallOutcome::Done(Some(errno)) = outcome else { return };
        match errno {
            Errno::Noent => self.not_found(call),
            Errno::Rofs => self.read_only(call),
            Errno::Nospc => self.full(call),
            Errno::Notcapable => self.escape(call),
            Errno::Badf | Errno::Isdir => self.unreadable(call),
            _ => {}
        }
    }
}

impl Hints {
    fn read_only(&mut self, call: &TracedCall<'_>) {
        let path = path_of(call).unwrap_or_default();
        let (name, errno) = (call.row.name, errno_name(Errno::Rofs));
        let mount = covering(&self.mounts, &path).cloned();
        let (cause, why) = match mount {
            Some(Mounted { option, writable_by: Some(by), .. }) => {
                (option.clone(), format!("{option} is read-only ({by} to allow it)"))
            }
            Some(Mounted { option, .. }) => (option.clone(), format!("{option} can't be changed")),
            None => {
                let dir = parent(&path);
                let why = format!(
                    "nothing is mounted there (mount a directory with --dir \
                 HOST::{dir})"
                );
                (dir.to_owned(), why)
            }
        };
        self.tell(&cause, &format!("denied: {name} '{path}' ({errno}): {why}"));
    }

    /// A disk that is full tells of itself; a quota is the operator's.
    fn full(&mut self, call: &TracedCall<'_>) {
        let path = path_of(call).unwrap_or_default();
        let Some(mount) = covering(&self.mounts, &path).cloned() else { return };
        let Mounted { option, larger_by: Some(by), .. } = mount else { return };
        let (name, errno) = (call.row.name, errno_name(Errno::Nospc));
        self.tell(
            &format!("full {option}"),
            &format!("denied: {name} '{path}' ({errno}): {option} is full ({by})"),
        );
    }

    /// A call with a path was refused where the path led. One without has no such way: a
    /// descriptor lacks the right, as that of a directory does for reading.
    fn escape(&mut self, call: &TracedCall<'_>) {
        let dir = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
        if !call.row.params.iter().any(|param| param.kind == Kind::Path) {
            return self.unreadable(call);
        }
        let Some(dir) = dir.filter(|dir| dir.place.is_some()) else { return };
        // Where rights were given up, a missing right may be the reason.
        let fds = call.row.params.iter().filter(|param| param.kind == Kind::Fd);
        let mut given = fds.filter_map(|param| call.descriptor(call.arg_u32(param.name)?));
        if !given.all(|given| given.base.has(Rights::DIRECTORY)) {
            return;
        }
        let Some(path) = path_of(call) else { return };
        let (name, dir) = (call.row.name, &dir.path);
        self.tell(
            &format!("out of {dir}"),
            &format!(
                "denied: {name} '{path}': the path leaves '{dir}' through '..' or a link (mount \
                 what the guest needs with --dir HOST::GUEST)"
            ),
        );
    }
}

impl Hints {
    /// A directory that is read like a file.
    fn unreadable(&mut self, call: &TracedCall<'_>) {
        let behind = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
        if let Some(behind) = behind.filter(|_| matches!(call.row.name, "fd_read" | "fd_pread")) {
            self.directory(call, behind);
        }
    }

    fn directory(&mut self, call: &TracedCall<'_>, behind: &Descriptor) {
        if behind.place.is_some() {
            let (name, path) = (call.row.name, &behind.path);
            let line = format!(
                "{name} '{path}': this is a directory: give the path of a file in \
             it"
            );
            self.tell(&format!("read {path}"), &line);
        }
    }
}

/// The path a call is about: its argument, or what is behind its descriptor.
fn path_of(call: &TracedCall<'_>) -> Option<String> {
    let param = call.row.params.iter().rposition(|param| param.kind == Kind::Path);
    let Some(param) = param else {
        return call.descriptor(call.arg_u32("fd")?).map(|d| d.path.to_string());
    };
    let name = call.row.params[param].name;
    let fd = if call.row.params.iter().any(|p| p.name == "new_fd") { "new_fd" } else { "fd" };
    call.path(fd, name)
}

fn is_dev(path: &str) -> bool {
    parts(path).next() == Some("dev")
}

/// The mount a path lies in: the longest one.
fn covering<'m>(mounts: &'m [Mounted], path: &str) -> Option<&'m Mounted> {
    let covers = |mount: &&Mounted| below(path, &mount.guest).is_some();
    mounts.iter().filter(covers).max_by_key(|mount| parts(&mount.guest).count())
}

/// What to say of a guest that failed, of a file that is named in its `args` and is
/// outside all of its mounts: libc looks for those in the guest, so the host never sees it try. It
/// has `said` itself, on its standard error, that the file was not there.
pub fn outside(mounts: &[Mounted], args: &[String], said: &str) -> Option<String> {
    let odd = |arg: &str| arg.starts_with('-') || arg.contains("://") || arg.contains('\n');
    let outside = |arg: &&String| {
        !odd(arg) && !is_dev(arg) && covering(mounts, arg).is_none() && says_missing(said, arg)
    };
    args.iter().filter(outside).find_map(|arg| look(mounts, arg))
}

/// The same for one argument.
fn look(mounts: &[Mounted], arg: &str) -> Option<String> {
    let names: Vec<&str> = mounts.iter().map(|mount| mount.guest.as_str()).collect();
    let names = names.join(", ");
    let inside =
        |mount: &&Mounted| mount.host.as_ref().is_some_and(|host| host.join(trimmed(arg)).exists());
    // What goes up is not below any directory that could be given.
    if goes_up(arg) {
        return None;
    }
    if let Some(mount) = mounts.iter().find(inside) {
        let name = join(&mount.guest, trimmed(arg));
        return Some(format!("in the guest, '{arg}' is '{name}' (its directories: {names})"));
    }
    let (path, dir) = (Path::new(arg), parent(arg));
    let would = match (path.has_root(), path.exists()) {
        // Mounted as /, the directory is where a guest in any language looks for a name.
        (false, true) => "add this one with --dir .::/".to_owned(),
        (false, false) => return None,
        (true, true) if path.is_dir() && path.parent().is_some() => {
            format!("add that directory with --dir {arg}")
        }
        // Not all that the host has, for one file of it.
        (true, true) if dir != "/" => format!("add its directory with --dir {dir}"),
        (true, _) => format!("add one with --dir HOST::{dir}"),
    };
    Some(match mounts {
        [] => format!("the guest has no directories, so it can't see '{arg}': {would}"),
        _ => format!("'{arg}' is in none of the guest's directories ({names}): {would}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(guests: &[&str]) -> Vec<Mounted> {
        let mounted = |guest: &&str| Mounted { guest: (*guest).into(), ..Mounted::default() };
        guests.iter().map(mounted).collect()
    }

    #[test]
    fn the_longest_mount_covers() {
        let mounts = mounts(&["/", "data", "/data/x"]);
        let of = |path| covering(&mounts, path).unwrap().guest.as_str();
        assert_eq!(of("/etc"), "/");
        assert_eq!(of("./data/a"), "data");
        assert_eq!(of("/data/x/y"), "/data/x");
        assert_eq!(of("/data/xy"), "data");
        assert!(covering(&mounts[1..2], "/database").is_none());
    }

    #[test]
    fn arguments_outside_are_told_if_the_guest_names_them() {
        let args = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let said = |path: &str| format!("prog: {path}: No such file or directory\n");
        let of = |mounts: &[Mounted], arg: &str| outside(mounts, &args(&["-x", arg]), &said(arg));
        for none in ["-v", "/dev/x:1", "http://a/b", "no-such", "../Cargo.toml", "a/../../b"] {
            assert_eq!(of(&[], none), None, "{none}");
        }
        assert_eq!(outside(&[], &args(&["Cargo.toml"]), "it failed"), None);
        let text = of(&[], "Cargo.toml").unwrap();
        let line = "can't see 'Cargo.toml': add this one with --dir .::/";
        assert!(text.ends_with(line), "{text}");
        let text = of(&mounts(&["/data"]), "/no/such").unwrap();
        assert!(text.contains("(/data): add one with --dir HOST::/no"), "{text}");
        let text = of(&[], "/tmp").unwrap();
        assert!(text.ends_with(": add that directory with --dir /tmp"), "{text}");
        assert!(of(&[], "/no-such").unwrap().contains(": add one with --dir HOST::/"));
        assert_eq!(of(&[], "/"), None);
    }
}
