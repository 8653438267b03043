//! `--dir` and `--mount`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tinyhost::trace::Mounted;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::namespace::NamespaceBuilder;
use tinyhost::vfs::{Namespace, Node};

use crate::cli::args::units;
use crate::cli::failure::{CliResult, Failure};

/// One mount, as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    pub guest: String,
    pub kind: MountKind,
    pub read_only: bool,
    /// How it was typed, for messages.
    pub typed: String,
}

/// What it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    Host(PathBuf),
    Mem { seed: Option<PathBuf>, quota: Option<u64> },
    Tar(PathBuf),
    Unix(PathBuf),
}

impl MountSpec {
    /// Where the guest finds it.
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// The directory of the host it is, if it is one.
    pub fn host(&self) -> Option<&Path> {
        if let MountKind::Host(path) = &self.kind { Some(path) } else { None }
    }

    /// How it was typed.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Whether it was typed as `--dir`, or is a `dir` of a policy.
    pub fn is_dir_option(&self) -> bool {
        self.typed.starts_with("--dir")
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// As hints tell of it.
    pub fn told(&self) -> Mounted {
        let by = if self.is_dir_option() { "leave out ::ro" } else { "leave out ,ro" };
        let (host, bounded) = match &self.kind {
            MountKind::Host(path) | MountKind::Unix(path) => (Some(path.clone()), false),
            MountKind::Mem { quota, .. } => (None, quota.is_some()),
            MountKind::Tar(_) => (None, false),
        };
        Mounted {
            guest: self.guest.clone(),
            option: self.typed.clone(),
            host,
            writable_by: self.read_only.then(|| by.to_owned()),
            larger_by: bounded.then(|| "raise the limit with quota=SIZE".to_owned()),
        }
    }
}

/// Checks that all of them can be mounted together, before anything is opened.
///
/// # Errors
///
/// If two are of one place, or one is of none.
pub fn check(mounts: &[MountSpec]) -> CliResult<()> {
    let mut check = Namespace::builder();
    for mount in mounts {
        check = insert(check, mount, Arc::new(Dev::new()))?;
    }
    Ok(())
}

/// `HOST[::GUEST][::ro]`
pub fn dir(text: &str) -> CliResult<MountSpec> {
    let usage = |why: &str| {
        Failure::usage(format!("invalid --dir '{text}': {why}: write --dir HOST[::GUEST][::ro]"))
    };
    let (rest, read_only) = match text.strip_suffix("::ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (host, guest) = rest.split_once("::").unwrap_or((rest, rest));
    if host.is_empty() || guest.is_empty() {
        return Err(usage("a path is missing"));
    }
    if guest.contains("::") {
        return Err(usage("there are more than two paths"));
    }
    Ok(MountSpec {
        guest: guest.into(),
        kind: MountKind::Host(host.into()),
        read_only,
        typed: format!("--dir '{text}'"),
    })
}

/// `GUEST=KIND[:ARG][,ro][,quota=SIZE]`
pub fn mount(text: &str) -> CliResult<MountSpec> {
    let usage = |why: &str| {
        Failure::usage(format!(
            "invalid --mount '{text}': {why}: write --mount GUEST=KIND[:ARG][,ro][,quota=SIZE], \
             where KIND:ARG is host:DIR, mem, mem:SEED_DIR, tar:FILE or unix:SOCKET"
        ))
    };
    let (guest, mut spec) = text.split_once('=').ok_or_else(|| usage("'=' is missing"))?;
    if guest.is_empty() {
        return Err(usage("the path in the guest is missing"));
    }
    let (mut read_only, mut quota) = (false, None);
    // A path may have commas: only options known at its end are taken from it.
    while let Some((rest, option)) = spec.rsplit_once(',') {
        match option.strip_prefix("quota=") {
            Some(size) => {
                let wrong = |failure: Failure| {
                    Failure::usage(format!("--mount '{text}': {}", failure.text))
                };
                quota = Some(units::size("quota", size).map_err(wrong)? as u64);
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
        "host" => MountKind::Host(path("host needs a directory")?),
        "mem" => MountKind::Mem { seed: arg.map(PathBuf::from), quota },
        "tar" => MountKind::Tar(path("tar needs a file")?),
        "unix" => MountKind::Unix(path("unix needs a socket")?),
        other => return Err(usage(&format!("unknown kind '{other}'"))),
    };
    if quota.is_some() && !matches!(kind, MountKind::Mem { .. }) {
        return Err(usage("only mem takes a quota"));
    }
    Ok(MountSpec { guest: guest.into(), kind, read_only, typed: format!("--mount '{text}'") })
}

pub fn insert(
    builder: NamespaceBuilder,
    mount: &MountSpec,
    node: Arc<dyn Node>,
) -> CliResult<NamespaceBuilder> {
    builder.mount(&mount.guest, node).map_err(|error| {
        let hint = match &mount.kind {
            MountKind::Host(host) if mount.guest.contains("..") => {
                format!(", as in --dir {}::/data", host.display())
            }
            _ => String::new(),
        };
        Failure::usage(format!("{}: {error}{hint}", mount.typed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, MountKind, bool)> {
        mount(text).ok().map(|mount| (mount.guest, mount.kind, mount.read_only))
    }

    #[test]
    fn dirs() {
        let of = |text: &str| dir(text).ok().map(|m| (m.guest, m.kind, m.read_only));
        let host = |path: &str| MountKind::Host(path.into());
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
        let mem = |seed: Option<&str>, quota| MountKind::Mem { seed: seed.map(Into::into), quota };
        assert_eq!(parsed("/w=mem"), Some(("/w".into(), mem(None, None), false)));
        assert_eq!(
            parsed("/w=mem:seed,with,ro,quota=1M"),
            Some(("/w".into(), mem(Some("seed,with"), Some(1 << 20)), true))
        );
        assert_eq!(
            parsed("/a=tar:x.tar"),
            Some(("/a".into(), MountKind::Tar("x.tar".into()), false))
        );
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
        let both = |a: &str, b: &str| check(&[dir(a).unwrap(), mount(b).unwrap()]);
        assert!(both("a::/x", "/y=mem").is_ok());
        assert!(both("a::/x", "x=mem").is_err());
        assert!(both("../a", "/y=mem").is_err());
    }
}
