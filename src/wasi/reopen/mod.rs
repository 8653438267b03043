//! Opening again what a guest had open: for guests that go on from where another one came to.
//!
//! A stream, a directory that was preopened, and a regular file or a directory that was opened by
//! its name can be opened again. What is a connection to something outside can't be.

mod bytes;

use std::collections::BTreeMap;

use crate::vfs::stat::STREAMS;
use crate::vfs::walk::Place;
use crate::vfs::{Access, Filetype};
use crate::wasi::WasiCtx;
use crate::wasi::abi::{Fdflags, Rights};
use crate::wasi::fd::{Descriptor, rights_of};
use crate::wasi::open::reopen;

/// What a guest had open, as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// By their numbers. Empty if a new context has just that.
    descriptors: Vec<KeptDescriptor>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeptDescriptor {
    number: u32,
    what: What,
    offset: u64,
    flags: Fdflags,
    access: Access,
    base: Rights,
    inheriting: Rights,
}

/// How it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The standard stream with this number.
    Stream(u32),
    /// A directory that was preopened under this name.
    Preopen(String),
    /// What was opened by this path, which begins with the name of a preopened directory.
    Path(String),
    /// Another number for the same descriptor.
    Same(u32),
}

impl Kept {
    /// What the guest of `cx` has open. `fresh` is a context with the same mounts, in which nothing
    /// has run.
    ///
    /// # Errors
    ///
    /// The name of what can't be opened again, and why.
    pub(crate) fn of(cx: &mut WasiCtx, fresh: &mut WasiCtx) -> Result<Kept, String> {
        let (kept, usual) = Kept::all_of(cx, fresh)?;
        Ok(if usual { Kept::default() } else { kept })
    }

    /// The same, listed also if a new context has just that; and whether it is the streams and
    /// directories of a new context.
    ///
    /// # Errors
    ///
    /// As [`of`](Kept::of).
    pub(crate) fn named(cx: &mut WasiCtx, fresh: &mut WasiCtx) -> Result<(Kept, bool), String> {
        let new: Vec<_> = fresh
            .fds
            .iter()
            .map(|(number, descriptor)| {
                (u32::try_from(number).unwrap_or(u32::MAX), what(descriptor).ok())
            })
            .collect();
        let (kept, _) = Kept::all_of(cx, fresh)?;
        let names = kept.descriptors.iter().map(|kept| (kept.number, Some(kept.what.clone())));
        let is_new = names.eq(new);
        Ok((kept, is_new))
    }

    fn all_of(cx: &mut WasiCtx, fresh: &mut WasiCtx) -> Result<(Kept, bool), String> {
        let mut firsts = BTreeMap::new();
        let mut descriptors = Vec::new();
        let mut usual = cx.fds.keys().len() == fresh.fds.keys().len();
        for (number, key) in cx.fds.keys() {
            let kept = match firsts.get(&key) {
                Some(first) => KeptDescriptor { number, what: What::Same(*first), ..USUAL },
                None => keep(number, cx.fds.any(number).map_err(|errno| errno.to_string())?)?,
            };
            firsts.entry(key).or_insert(number);
            let there = fresh.fds.any(number).ok().and_then(|there| keep(number, there).ok());
            usual &= there.as_ref() == Some(&kept);
            descriptors.push(kept);
        }
        let kept = Kept { descriptors };
        if usual {
            return Ok((kept, true));
        }
        kept.reopen(fresh)?;
        for path in kept.descriptors.iter().filter(|kept| matches!(kept.what, What::Path(_))) {
            let own = cx.fds.any(path.number).and_then(Descriptor::stat);
            let other = fresh.fds.any(path.number).and_then(Descriptor::stat);
            let same = matches!((&own, &other), (Ok(own), Ok(other)) if
                (own.dev, own.ino) == (other.dev, other.ino));
            if !same {
                let name = &cx.fds.any(path.number).map_err(|errno| errno.to_string())?.path;
                return Err(format!("{name} is open, and its name leads to another file now"));
            }
        }
        Ok((kept, false))
    }

    /// Whether a new context has just that open.
    pub(crate) fn is_usual(&self) -> bool {
        self.descriptors.is_empty()
    }

    /// Opens it all in a new context with the same mounts.
    ///
    /// # Errors
    ///
    /// The name of what can't be opened, and why.
    pub(crate) fn reopen(&self, cx: &mut WasiCtx) -> Result<(), String> {
        if self.is_usual() {
            return Ok(());
        }
        let mut fresh = cx.fds.take_all();
        let mounts: Vec<(String, Place)> = fresh
            .values()
            .filter_map(|descriptor| {
                Some((descriptor.preopen.as_ref()?.to_string(), descriptor.place.clone()?))
            })
            .collect();
        for kept in &self.descriptors {
            if let What::Same(number) = kept.what {
                cx.fds.alias_at(kept.number, number);
                continue;
            }
            let mut descriptor = match &kept.what {
                What::Stream(number) => fresh.remove(number),
                What::Preopen(name) => {
                    let number =
                        fresh.iter().find(|(_, there)| there.preopen.as_deref() == Some(name));
                    let number = number.map(|(number, _)| *number);
                    number.and_then(|number| fresh.remove(&number))
                }
                What::Path(path) => Some(open_path(&mounts, path, kept)?),
                What::Same(_) => None,
            }
            .ok_or_else(|| match &kept.what {
                What::Preopen(name) if name == "/dev" => {
                    "it needs /dev: leave out --no-dev".to_owned()
                }
                What::Preopen(name) => {
                    format!("it needs a directory at {name}: add --dir HOST::{name}")
                }
                _ => format!("descriptor {} is not there any more", kept.number),
            })?;
            descriptor.offset = kept.offset;
            descriptor.flags = kept.flags;
            descriptor.access = descriptor.access.and(kept.access);
            descriptor.base = descriptor.base & kept.base;
            descriptor.inheriting = descriptor.inheriting & kept.inheriting;
            cx.fds.insert_at(kept.number, descriptor);
        }
        Ok(())
    }
}

/// A descriptor with all rights, at its beginning.
const USUAL: KeptDescriptor = KeptDescriptor {
    number: 0,
    what: What::Stream(0),
    offset: 0,
    flags: Fdflags::NONE,
    access: Access::BOTH,
    base: Rights::ALL,
    inheriting: Rights::ALL,
};

/// What is kept of a descriptor.
fn keep(number: u32, descriptor: &mut Descriptor) -> Result<KeptDescriptor, String> {
    let what = what(descriptor)?;
    let (base, inheriting) = rights_of(descriptor.filetype, descriptor.file.is_terminal());
    let whole = base & Rights::of_access(descriptor.file.access());
    let is_path = matches!(what, What::Path(_));
    Ok(KeptDescriptor {
        number,
        what,
        offset: descriptor.offset,
        flags: descriptor.flags,
        // A stream may be of another kind the next time. What was not given up is not taken from it.
        access: if is_path { descriptor.access } else { Access::BOTH },
        base: if descriptor.base == whole { Rights::ALL } else { descriptor.base },
        inheriting: if descriptor.inheriting == inheriting {
            Rights::ALL
        } else {
            descriptor.inheriting
        },
    })
}

/// How a descriptor is found again.
fn what(descriptor: &Descriptor) -> Result<What, String> {
    let path = &descriptor.path;
    if let Some(name) = &descriptor.preopen {
        return Ok(What::Preopen(name.to_string()));
    }
    // The first three that a table gives an identity are the standard streams.
    if let (STREAMS, ino @ 1..=3) = descriptor.identity {
        return Ok(What::Stream(u32::try_from(ino - 1).unwrap_or(0)));
    }
    let terminal = descriptor.file.is_terminal();
    match descriptor.filetype {
        Filetype::RegularFile | Filetype::Directory => {}
        Filetype::CharacterDevice if !terminal => {}
        filetype if filetype.is_socket() => {
            return Err(format!("{path} is open, and a connection can't be opened again"));
        }
        _ => return Err(format!("{path} is open, and only files can be opened again")),
    }
    Ok(What::Path(path.to_string()))
}

/// Opens a path below the preopened directory that its name begins with.
fn open_path(
    mounts: &[(String, Place)],
    path: &str,
    kept: &KeptDescriptor,
) -> Result<Descriptor, String> {
    let below = |name: &str| {
        let rest = path.strip_prefix(name)?;
        let separated = name.is_empty() || name.ends_with('/') || rest.starts_with('/');
        separated.then(|| rest.trim_start_matches('/').to_owned())
    };
    let mount = mounts
        .iter()
        .filter_map(|(name, place)| Some((name.len(), place, below(name)?)))
        .max_by_key(|(len, ..)| *len);
    let (_, place, rest) = mount.ok_or_else(|| format!("{path} is in none of its mounts"))?;
    let rest = if rest.is_empty() { "." } else { &rest };
    reopen(place, rest, kept.flags, kept.access)
        .map(|descriptor| Descriptor { path: path.to_owned().into(), ..descriptor })
        .map_err(|errno| format!("can't open {path} again: {errno}"))
}
