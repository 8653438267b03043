//! The mounts of a command line, opened.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::host::HostDir;
use tinyhost::vfs::reach::{Planted, Reach};
use tinyhost::vfs::{Namespace, Node, ReadOnly, mem, tar};

use super::mounts::{MountKind, MountSpec, insert};
use super::network::Network;
use crate::cli::failure::{CliResult, Failure, advice, plain};

/// Bytes of the largest archive that is read.
const TAR_BYTES_MAX: u64 = 1 << 30;

/// The directories of the host that guests are given; those they can't change too, as an earlier
/// guest may have been able to.
///
/// # Errors
///
/// If one can't be opened, which is named.
pub fn reach(mounts: &[MountSpec]) -> CliResult<Reach> {
    let mut reach = Reach::default();
    for mount in mounts {
        if let MountKind::Host(path) = &mount.kind {
            reach.add(path).map_err(|error| unopened(mount, path, &error))?;
        }
    }
    Ok(reach)
}

/// The same for what a mount is made of: what the other mounts let this guest change. (A link
/// of the operator's in a directory that is only read may lead where it likes.)
fn reach_of_others(mounts: &[MountSpec], this: &MountSpec) -> CliResult<Reach> {
    let others = mounts.iter().filter(|mount| !mount.read_only && *mount != this);
    reach(&others.cloned().collect::<Vec<_>>())
}

/// The mounts of a command line, opened: what they hold is shared by all guests.
pub struct OpenMounts(Vec<(MountSpec, Arc<dyn Node>)>);

impl OpenMounts {
    /// Opens them all.
    ///
    /// # Errors
    ///
    /// If one can't be, which is named.
    pub fn new(mounts: &[MountSpec], network: &Network) -> CliResult<OpenMounts> {
        let all = reach(mounts)?;
        let open = |mount: &MountSpec| {
            let reach = Reaches { all: all.clone(), others: reach_of_others(mounts, mount)? };
            let mut node = node(mount, &reach, network)?;
            if mount.read_only {
                node = Arc::new(ReadOnly(node));
            }
            Ok((mount.clone(), node))
        };
        Ok(OpenMounts(mounts.iter().map(open).collect::<CliResult<_>>()?))
    }

    /// The namespace of a guest, with `dev` as its last mount.
    ///
    /// # Errors
    ///
    /// If something else is mounted at `/dev`.
    pub fn namespace(&self, dev: Option<Dev>) -> CliResult<Namespace> {
        // What is mounted is common to all guests.
        let mut builder = Namespace::builder().reusable();
        for (mount, node) in &self.0 {
            builder = insert(builder, mount, node.clone())?;
        }
        if let Some(dev) = dev {
            let taken = |error| {
                Failure::usage(format!(
                    "{error} (or leave out tinyhost's own with \
                 --no-dev)"
                ))
            };
            builder = builder.mount("/dev", Arc::new(dev)).map_err(taken)?;
        }
        Ok(builder.build())
    }
}

fn unopened(mount: &MountSpec, path: &Path, error: &std::io::Error) -> Failure {
    let (typed, shown) = (&mount.typed, path.display());
    let hint = meant(mount, path).unwrap_or_else(|| {
        let place = if mount.is_dir_option() { "before the '::'" } else { "after the ':'" };
        let path = match Planted::is_cause(error) {
            true => "give the path that the link leads to".to_owned(),
            false => format!("check the path on the host ({place})"),
        };
        advice(error, &path).to_owned()
    });
    let error = plain(error);
    Failure::not_started(format!("{typed}: can't open '{shown}': {error}: {hint}"))
}

fn node(mount: &MountSpec, reach: &Reaches, network: &Network) -> CliResult<Arc<dyn Node>> {
    let fail = |path: &Path, error: &std::io::Error| unopened(mount, path, error);
    let directory = |path: &PathBuf| match reach.others.open_directory(path) {
        Ok(fd) => Ok(HostDir::from_fd(fd).node()),
        Err(error) => Err(fail(path, &error)),
    };
    match &mount.kind {
        MountKind::Host(path) => directory(path),
        MountKind::Mem { seed: None, quota } => Ok(mem::tree(*quota)),
        MountKind::Mem { seed: Some(seed), quota } => {
            let from = directory(seed)?;
            mem::seeded(&from, *quota).map_err(|error| {
                let (typed, seed) = (&mount.typed, seed.display());
                Failure::not_started(format!("{typed}: can't copy '{seed}': {error}"))
            })
        }
        MountKind::Tar(path) => {
            let bytes = read_limited(path, &reach.others).map_err(|error| fail(path, &error))?;
            let bad = |error| Failure::not_started(format!("{}: {error}", mount.typed));
            tar::open(bytes).map_err(bad)
        }
        MountKind::Unix(path) => {
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
fn meant(mount: &MountSpec, path: &Path) -> Option<String> {
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
        // It may be mistyped, so it says nothing about the order.
        (false, false) => return None,
    };
    Some(format!("write two colons between the paths: did you mean --dir {host}::{guest}{ro}?"))
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
