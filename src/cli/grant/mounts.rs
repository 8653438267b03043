//! `--dir` and `--mount`.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tinyhost::trace::Mounted;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::host::HostDir;
use tinyhost::vfs::namespace::Builder;
use tinyhost::vfs::reach::{Planted, Reach};
use tinyhost::vfs::{Namespace, Node, ReadOnly, mem, tar};

use super::network::Network;
use crate::cli::args::units;
use crate::cli::{Failure, Outcome, advice, plain};

/// One mount, as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    guest: String,
    kind: Kind,
    read_only: bool,
    /// How it was typed, for messages.
    typed: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Host(PathBuf),
    Mem { seed: Option<PathBuf>, quota: Option<u64> },
    Tar(PathBuf),
    Unix(PathBuf),
}

impl Mount {
    /// Where the guest finds it.
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// The directory of the host it is, if it is one.
    pub fn host(&self) -> Option<&Path> {
        if let Kind::Host(path) = &self.kind { Some(path) } else { None }
    }

    /// How it was typed.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Whether it was typed as `--dir`, or is a `dir` of a policy.
    fn is_dir_option(&self) -> bool {
        self.typed.starts_with("--dir")
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// As hints tell of it.
    pub fn told(&self) -> Mounted {
        let by = if self.is_dir_option() { "leave out ::ro" } else { "leave out ,ro" };
        let (host, bounded) = match &self.kind {
            Kind::Host(path) | Kind::Unix(path) => (Some(path.clone()), false),
            Kind::Mem { quota, .. } => (None, quota.is_some()),
            Kind::Tar(_) => (None, false),
        };
        Mounted {
            guest: self.guest.clone(),
            option: self.typed.clone(),
            host,
            writable_by: self.read_only.then(|| by.to_owned()),
            larger_by: bounded.then(|| "allow more with quota=SIZE".to_owned()),
        }
    }
}

/// The directories of the host that guests are given; those they can't change too, as an earlier
/// guest may have been able to.
///
/// # Errors
///
/// If one can't be opened, which is named.
pub fn reach(mounts: &[Mount]) -> Outcome<Reach> {
    let mut reach = Reach::default();
    for mount in mounts {
        if let Kind::Host(path) = &mount.kind {
            reach.add(path).map_err(|error| unopened(mount, path, &error))?;
        }
    }
    Ok(reach)
}

/// The same for what a mount is made of: what the other mounts let this guest change. (A link
/// of the operator's in a directory that is only read may lead where it likes.)
fn reach_of_others(mounts: &[Mount], this: &Mount) -> Outcome<Reach> {
    let others = mounts.iter().filter(|mount| !mount.read_only && *mount != this);
    reach(&others.cloned().collect::<Vec<_>>())
}

/// Bytes of the largest archive that is read.
const TAR_BYTES_MAX: u64 = 1 << 30;

/// All mounts of a command line, checked for form.
pub fn parse(dirs: &[String], mounts: &[String]) -> Outcome<Vec<Mount>> {
    let dirs = dirs.iter().map(|text| dir(text));
    let mounts = mounts.iter().map(|text| mount(text));
    let all: Vec<Mount> = dirs.chain(mounts).collect::<Outcome<_>>()?;
    // Whether two are of one place is found before anything is opened.
    let mut check = Namespace::builder();
    for mount in &all {
        check = insert(check, mount, Arc::new(Dev::new()))?;
    }
    Ok(all)
}

/// `HOST[::GUEST][::ro]`
pub fn dir(text: &str) -> Outcome<Mount> {
    let usage = |why: &str| {
        Failure::usage(format!("--dir '{text}' {why}: write --dir HOST[::GUEST][::ro]"))
    };
    let (rest, read_only) = match text.strip_suffix("::ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (host, guest) = rest.split_once("::").unwrap_or((rest, rest));
    if host.is_empty() || guest.is_empty() {
        return Err(usage("lacks a path"));
    }
    if guest.contains("::") {
        return Err(usage("has too many parts"));
    }
    Ok(Mount {
        guest: guest.into(),
        kind: Kind::Host(host.into()),
        read_only,
        typed: format!("--dir '{text}'"),
    })
}

/// `GUEST=KIND[:ARG][,ro][,quota=SIZE]`
pub fn mount(text: &str) -> Outcome<Mount> {
    let usage = |why: &str| {
        Failure::usage(format!(
            "--mount '{text}' {why}: write --mount GUEST=KIND[:ARG][,ro][,quota=SIZE] with \
             KIND host:DIR, mem[:SEED_DIR], tar:FILE or unix:SOCKET"
        ))
    };
    let (guest, mut spec) = text.split_once('=').ok_or_else(|| usage("has no '='"))?;
    if guest.is_empty() {
        return Err(usage("has no guest path"));
    }
    let (mut read_only, mut quota) = (false, None);
    // A path may have commas: only options known at its end are taken from it.
    while let Some((rest, option)) = spec.rsplit_once(',') {
        match option.strip_prefix("quota=") {
            Some(size) => {
                let option = format!("--mount '{text}': quota");
                quota = Some(units::size(&option, size)? as u64);
            }
            None if option == "ro" => read_only = true,
            None => break,
        }
        spec = rest;
    }
    let (kind, arg) = match spec.split_once(':') {
        Some((kind, arg)) => (kind, Some(arg)),
        None => (spec, None),
    };
    let path = |what: &str| match arg {
        Some(arg) if !arg.is_empty() => Ok(PathBuf::from(arg)),
        _ => Err(usage(what)),
    };
    let kind = match kind {
        "host" => Kind::Host(path("names no directory of the host")?),
        "mem" => Kind::Mem { seed: arg.map(PathBuf::from), quota },
        "tar" => Kind::Tar(path("names no archive")?),
        "unix" => Kind::Unix(path("names no socket")?),
        other => return Err(usage(&format!("has the unknown kind '{other}'"))),
    };
    if quota.is_some() && !matches!(kind, Kind::Mem { .. }) {
        return Err(usage("has a quota, which only mem can have"));
    }
    Ok(Mount { guest: guest.into(), kind, read_only, typed: format!("--mount '{text}'") })
}

fn insert(builder: Builder, mount: &Mount, node: Arc<dyn Node>) -> Outcome<Builder> {
    builder.mount(&mount.guest, node).map_err(|error| {
        let hint = match &mount.kind {
            Kind::Host(host) if mount.guest.contains("..") => {
                format!(", as in --dir {}::/data", host.display())
            }
            _ => String::new(),
        };
        Failure::usage(format!("{}: {error}{hint}", mount.typed))
    })
}

/// The mounts of a command line, opened: what they hold is shared by all guests.
pub struct Opened(Vec<(Mount, Arc<dyn Node>)>);

impl Opened {
    /// Opens them all.
    ///
    /// # Errors
    ///
    /// If one can't be, which is named.
    pub fn new(mounts: &[Mount], network: &Network) -> Outcome<Opened> {
        let all = reach(mounts)?;
        let open = |mount: &Mount| {
            let reach = Reaches { all: all.clone(), others: reach_of_others(mounts, mount)? };
            let mut node = node(mount, &reach, network)?;
            if mount.read_only {
                node = Arc::new(ReadOnly(node));
            }
            Ok((mount.clone(), node))
        };
        Ok(Opened(mounts.iter().map(open).collect::<Outcome<_>>()?))
    }

    /// The namespace of a guest, with `dev` as its last mount.
    ///
    /// # Errors
    ///
    /// If something else is mounted at `/dev`.
    pub fn namespace(&self, dev: Option<Dev>) -> Outcome<Namespace> {
        let mut builder = Namespace::builder();
        for (mount, node) in &self.0 {
            builder = insert(builder, mount, node.clone())?;
        }
        if let Some(dev) = dev {
            let taken =
                |error| Failure::usage(format!("{error} (or leave ours out with --no-dev)"));
            builder = builder.mount("/dev", Arc::new(dev)).map_err(taken)?;
        }
        Ok(builder.build())
    }
}

fn unopened(mount: &Mount, path: &Path, error: &std::io::Error) -> Failure {
    let (typed, shown) = (&mount.typed, path.display());
    let hint = meant(mount, path).unwrap_or_else(|| {
        let place = if mount.is_dir_option() { "comes first" } else { "comes last" };
        let path = match Planted::is_cause(error) {
            true => "write the path that it leads to".to_owned(),
            false => format!("check the path on the host (it {place})"),
        };
        advice(error, &path).to_owned()
    });
    let error = plain(error);
    Failure::not_started(format!("{typed}: '{shown}' can't be opened: {error}: {hint}"))
}

fn node(mount: &Mount, reach: &Reaches, network: &Network) -> Outcome<Arc<dyn Node>> {
    let fail = |path: &Path, error: &std::io::Error| unopened(mount, path, error);
    let directory = |path: &PathBuf| match reach.others.open_directory(path) {
        Ok(fd) => Ok(HostDir::from_fd(fd).node()),
        Err(error) => Err(fail(path, &error)),
    };
    match &mount.kind {
        Kind::Host(path) => directory(path),
        Kind::Mem { seed: None, quota } => Ok(mem::tree(*quota)),
        Kind::Mem { seed: Some(seed), quota } => {
            let from = directory(seed)?;
            mem::seeded(&from, *quota).map_err(|errno| {
                Failure::not_started(format!(
                    "{}: '{}' can't be copied: {errno}",
                    mount.typed,
                    seed.display()
                ))
            })
        }
        Kind::Tar(path) => {
            let bytes =
                read_limited(path, &reach.others).map_err(|error| fail(path, &error))?;
            let bad = |error| Failure::not_started(format!("{}: {error}", mount.typed));
            tar::open(bytes).map_err(bad)
        }
        Kind::Unix(path) => {
            network.unix(path, reach.all.clone()).map_err(|error| fail(path, &error))
        }
    }
}

/// What guests can change, for one mount.
struct Reaches {
    all: Reach,
    others: Reach,
}

/// What was probably meant by a `--dir` that is not there: the two in the other order, as
/// iwasm has them, or one colon, as others have it.
fn meant(mount: &Mount, path: &Path) -> Option<String> {
    if !mount.is_dir_option() || path.exists() {
        return None;
    }
    let (host, guest) = (path.to_str()?, mount.guest.as_str());
    let ro = if mount.read_only { "::ro" } else { "" };
    if host != guest {
        let order = "the order is HOST::GUEST: did you mean --dir";
        return is_somebodys(guest).then(|| format!("{order} {guest}::{host}{ro}?"));
    }
    let (before, behind) = host.split_once(':')?;
    let (behind, ro) = match behind.strip_suffix(":ro") {
        Some(behind) => (behind, "::ro"),
        None => (behind, ro),
    };
    let (host, guest) = match (Path::new(before).is_dir(), is_somebodys(behind)) {
        (true, _) => (before, behind),
        (false, true) => (behind, before),
        // It may be mistyped: no order can be told from it.
        (false, false) => return None,
    };
    Some(format!("there are two colons: did you mean --dir {host}::{guest}{ro}?"))
}

/// Whether a guest's path can be meant as a directory of this host. `/`, `.` and the likes of
/// `/tmp` are on every host and what guests' directories are called: behind a HOST that was
/// only mistyped, taking one for the host's would offer all that is in it.
fn is_somebodys(path: &str) -> bool {
    let path = Path::new(path);
    let names = path.components().filter(|part| matches!(part, Component::Normal(_))).count();
    names > usize::from(path.has_root()) && path.is_dir()
}

fn read_limited(path: &Path, reach: &Reach) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    let mut bytes = Vec::new();
    reach.open_file(path)?.take(TAR_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TAR_BYTES_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is larger than 1 GiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Kind, bool)> {
        mount(text).ok().map(|mount| (mount.guest, mount.kind, mount.read_only))
    }

    #[test]
    fn dirs() {
        let of = |text: &str| dir(text).ok().map(|m| (m.guest, m.kind, m.read_only));
        let host = |path: &str| Kind::Host(path.into());
        assert_eq!(of("data"), Some(("data".into(), host("data"), false)));
        assert_eq!(of("."), Some((".".into(), host("."), false)));
        assert_eq!(of("/a::/b"), Some(("/b".into(), host("/a"), false)));
        assert_eq!(of("/a::/b::ro"), Some(("/b".into(), host("/a"), true)));
        assert_eq!(of("/a::ro"), Some(("/a".into(), host("/a"), true)));
        for bad in ["", "::", "::/b", "/a::", "/a::/b::/c"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn mounts() {
        let mem = |seed: Option<&str>, quota| Kind::Mem { seed: seed.map(Into::into), quota };
        assert_eq!(parsed("/w=mem"), Some(("/w".into(), mem(None, None), false)));
        assert_eq!(
            parsed("/w=mem:seed,with,ro,quota=1M"),
            Some(("/w".into(), mem(Some("seed,with"), Some(1 << 20)), true))
        );
        assert_eq!(parsed("/a=tar:x.tar"), Some(("/a".into(), Kind::Tar("x.tar".into()), false)));
        for bad in [
            "",
            "/w",
            "=mem",
            "/w=disk",
            "/w=tar",
            "/w=host:",
            "/w=mem,quota=x",
            "/w=tar:x,quota=1M",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_place_once() {
        let text = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(parse(&text(&["a::/x"]), &text(&["/y=mem"])).is_ok());
        assert!(parse(&text(&["a::/x"]), &text(&["x=mem"])).is_err());
        assert!(parse(&text(&["../a"]), &[]).is_err());
    }
}
