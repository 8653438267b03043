//! The only code that sees a path.
//!
//! A walk goes down from a directory one name at a time and keeps the stack of directories
//! it came through. `..` pops that stack and never asks a backend, so no path leads above
//! where the walk began, whatever the host's tree does meanwhile. Links are followed here,
//! by their text, under the same rules: a link that is absolute or leads above the start is
//! refused with ENOTCAPABLE when it is walked; one that only exists is harmless.

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

pub use super::place::Place;
use super::{Errno, Filetype, Memo, Name, Result, Stat, charge};

/// Links followed in one walk before ELOOP; Linux's number (path_resolution(7)).
pub const LINKS_MAX: usize = 40;

/// Bytes in the longest path; `PATH_MAX` of Linux.
pub const PATH_MAX: usize = 4096;

/// Directories a walk can be below its start at any moment; ENAMETOOLONG beyond, which
/// programs that walk deep trees answer with a descriptor half-way down. Each of them may be
/// a descriptor of the host as long as the walk lasts, and one path has room for 2,000.
pub const DEPTH_MAX: usize = 256;

/// Names looked up in one walk before ELOOP. A path has room for half as many; the rest is for
/// those in links, which could otherwise make it tens of thousands.
pub const STEPS_MAX: usize = 4096;

/// Where a walk arrived.
pub enum Walked<'p> {
    /// At a directory that the path does not name within another one: `.`, `a/..`.
    Itself(Place),
    /// At a name in a directory.
    Entry(Entry<'p>),
}

/// A name in a directory, and what is there.
pub struct Entry<'p> {
    /// The directory.
    pub dir: Place,
    name: Cow<'p, str>,
    /// What is there, `None` if nothing; a link only if it was not to be followed.
    pub found: Option<(Place, Stat)>,
    /// The path ended in a slash: only a directory will do.
    pub slash: bool,
}

impl Entry<'_> {
    /// The name.
    pub fn name(&self) -> Name<'_> {
        Name::new(&self.name).expect("made from a Name")
    }

    /// Whether something is mounted there or below. Such a name can't be removed, renamed or
    /// replaced: the mount would remain, and what it covers would appear elsewhere.
    pub fn is_busy(&self) -> bool {
        self.found.as_ref().is_some_and(|(place, _)| place.leads_to_mount())
    }
}

impl<'p> Walked<'p> {
    /// What is there.
    ///
    /// # Errors
    ///
    /// ENOENT if nothing is there; ENOTDIR if the path ended in a slash and it is not a directory.
    pub fn existing(self) -> Result<(Place, Stat)> {
        match self {
            Walked::Itself(place) => {
                let stat = place.stat()?;
                Ok((place, stat))
            }
            Walked::Entry(entry) => {
                let (place, stat) = entry.found.ok_or(Errno::Noent)?;
                if entry.slash && stat.filetype != Filetype::Directory {
                    return Err(Errno::Notdir);
                }
                Ok((place, stat))
            }
        }
    }

    /// The name in its directory, or `itself` as the error where the path has none.
    pub fn entry(self, itself: Errno) -> Result<Entry<'p>> {
        match self {
            Walked::Entry(entry) => Ok(entry),
            Walked::Itself(_) => Err(itself),
        }
    }
}

/// What becomes of a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It is followed: `open`, `stat`.
    Yes,
    /// Only if a slash after it asks for the directory it leads to: `lstat`, O_NOFOLLOW.
    IfSlash,
    /// It is meant itself: `unlink`, `rename` and all others that change the name.
    No,
}

/// Walks `path` from `base`.
///
/// # Errors
///
/// ENOENT for an empty path or a missing directory on the way, ENOTDIR for something else
/// on the way, ENAMETOOLONG (also beyond [`DEPTH_MAX`]), EINVAL for a NUL, ELOOP after
/// [`LINKS_MAX`] links or [`STEPS_MAX`] names, and ENOTCAPABLE for everything that would lead above `base`.
pub fn walk<'p>(base: &Place, path: &'p str, follow: Follow, memo: &Memo) -> Result<Walked<'p>> {
    if path.is_empty() {
        return Err(Errno::Noent);
    }
    if path.len() >= PATH_MAX {
        return Err(Errno::Nametoolong);
    }
    charge::add(path.len() as u64 * charge::PATH_BYTE);
    if path.bytes().any(|byte| byte == 0) {
        return Err(Errno::Inval);
    }
    let base = base.in_call(memo);
    if let Some(entry) = shortcut(&base, path, memo) {
        return Ok(Walked::Entry(entry));
    }
    Walk { stack: smallvec![base.into_owned()], links: 0, steps: 0, memo }
        .run(Cow::Borrowed(path), follow)
}

struct Walk<'m> {
    /// The directories on the way, from where the walk began; never empty.
    stack: SmallVec<[Place; 8]>,
    links: usize,
    steps: usize,
    memo: &'m Memo,
}

impl Walk<'_> {
    fn run<'p>(mut self, mut path: Cow<'p, str>, follow: Follow) -> Result<Walked<'p>> {
        loop {
            if path.starts_with('/') {
                return Err(Errno::Notcapable);
            }
            // All but the last component, which may need a link's text put in its place.
            let link = match self.go_down(&path)? {
                Stop::Done => return Ok(Walked::Itself(self.top().clone())),
                Stop::Link { text, rest } => join(text, &path[rest..]),
                Stop::Last { name, slash } => {
                    let found = self.look(&path[name.clone()])?;
                    let follow = follow == Follow::Yes || slash && follow == Follow::IfSlash;
                    match found {
                        Some((link, stat)) if follow && stat.filetype == Filetype::SymbolicLink => {
                            let rest = if slash { "/" } else { "" };
                            join(self.read_link(&link)?, rest)
                        }
                        found => {
                            let name = match path {
                                Cow::Borrowed(path) => Cow::Borrowed(&path[name]),
                                Cow::Owned(path) => Cow::Owned(path[name].to_owned()),
                            };
                            let dir = self.top().clone();
                            return Ok(Walked::Entry(Entry { dir, name, found, slash }));
                        }
                    }
                }
            };
            path = Cow::Owned(link);
        }
    }

    fn top(&self) -> &Place {
        self.stack.last().expect("never popped below the start")
    }

    /// Goes through the components of `path` until the last, or to a link before it.
    fn go_down(&mut self, path: &str) -> Result<Stop> {
        let mut at = 0;
        loop {
            at += path[at..].bytes().take_while(|byte| *byte == b'/').count();
            let part = path[at..].split('/').next().unwrap_or_default();
            let end = at + part.len();
            let last = path[end..].bytes().all(|byte| byte == b'/');
            match part {
                "" => return Ok(Stop::Done),
                "." => {}
                ".." => {
                    if self.stack.len() == 1 {
                        return Err(Errno::Notcapable);
                    }
                    self.stack.pop();
                }
                name if last => {
                    valid(name)?;
                    return Ok(Stop::Last { name: at..end, slash: end < path.len() });
                }
                name => {
                    let (place, stat) = self.look(name)?.ok_or(Errno::Noent)?;
                    match stat.filetype {
                        Filetype::Directory if self.stack.len() > DEPTH_MAX => {
                            return Err(Errno::Nametoolong);
                        }
                        Filetype::Directory => self.stack.push(place),
                        Filetype::SymbolicLink => {
                            let text = self.read_link(&place)?;
                            return Ok(Stop::Link { text, rest: end });
                        }
                        _ => return Err(nothing_below(&place, &path[end..])),
                    }
                }
            }
            at = end;
        }
    }

    fn look(&mut self, name: &str) -> Result<Option<(Place, Stat)>> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(Errno::Loop);
        }
        charge::add(charge::NAME);
        look(self.top(), valid(name)?, self.memo)
    }

    fn read_link(&mut self, link: &Place) -> Result<String> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::Loop);
        }
        let text = link.node.readlink()?;
        if text.is_empty() { Err(Errno::Noent) } else { Ok(text) }
    }
}

/// Where going down a path stopped.
enum Stop {
    /// At its end, in the directory on top of the stack.
    Done,
    /// Before its last component, a name.
    Last { name: std::ops::Range<usize>, slash: bool },
    /// At a link before the end; `rest` is where the path continues after it.
    Link { text: String, rest: usize },
}

fn join(mut text: String, rest: &str) -> String {
    text.push_str(rest);
    text
}

fn valid(name: &str) -> Result<Name<'_>> {
    Name::new(name).ok_or(Errno::Nametoolong)
}

/// The error of a path that continues below a file: ENOTDIR, unless the node knows better
/// (`/dev/tcp/HOST/PORT/x` is a network name with a part too many).
fn nothing_below(place: &Place, rest: &str) -> Errno {
    let name = rest.split('/').find_map(Name::new);
    let error = name.and_then(|name| place.node.lookup(name).err());
    error.unwrap_or(Errno::Notdir)
}

fn look(dir: &Place, name: Name<'_>, memo: &Memo) -> Result<Option<(Place, Stat)>> {
    match dir.step(name, memo) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::Noent) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a path is made of nothing but names, not too many of them, with no mount on the
/// way: then it can be given to [`Node::open_at`](super::Node::open_at) and [`Node::stat_at`](super::Node::stat_at).
pub fn is_plain(base: &Place, path: &str) -> bool {
    let mut count = 0;
    let mut names = path.as_bytes().split(|byte| *byte == b'/').inspect(|_| count += 1);
    let plain = path.len() < PATH_MAX && names.all(Name::is_one) && count <= DEPTH_MAX;
    let first = || path.split('/').next().unwrap_or_default();
    let covered = || base.mounts_below().is_some_and(|here| here.below(first()).is_some());
    plain && base.has_shortcuts() && !covered()
}

/// Goes through the directories of a plain path in one call of the backend's, if it can and
/// no mount lies there. Whatever is unusual about the path is left to the walk.
fn shortcut<'p>(base: &Place, path: &'p str, memo: &Memo) -> Option<Entry<'p>> {
    let (dirs, last) = path.rsplit_once('/')?;
    let name = Name::new(last).filter(|_| is_plain(base, path))?;
    charge::add(dirs.split('/').count() as u64 * charge::NAME);
    let dir = base.descended(base.node.descend(dirs)?, dirs);
    let found = look(&dir, name, memo).ok()?;
    let link = |(_, stat): &(Place, Stat)| stat.filetype == Filetype::SymbolicLink;
    if found.as_ref().is_some_and(link) {
        return None;
    }
    Some(Entry { dir, name: Cow::Borrowed(last), found, slash: false })
}
