//! Where paths lead.

use std::sync::Arc;

use tinyhost::vfs::walk::{Follow, LINKS_MAX, PATH_MAX, Walked};
use tinyhost::vfs::{Errno, Filetype, Name, Node, Open, Opened, Result, Stat};

use super::support::*;
use crate::refused;

/// a/b/f, g; links into them.
fn plant(root: &Root) {
    let a = dir(root, "a");
    let b = dir(&a, "b");
    put(&b, "f", b"deep");
    put(root, "g", b"top");
}

pub fn names_lead_down(root: &Root) {
    plant(root);
    let base = place(root);
    for path in ["a/b/f", "a//b///f", "a/./b/f", "./a/b/./f", "a/b/../b/f", "a/../a/b/f"] {
        assert_eq!(cat(&base, path).as_deref(), Ok(&b"deep"[..]), "{path}");
    }
    let Walked::Entry(entry) = walk(&base, "a/b/new", Follow::Yes).expect("walk") else {
        panic!("a name that is free is an entry");
    };
    assert!(entry.found.is_none() && !entry.slash);
    assert_eq!(entry.name().as_str(), "new");
    put(&entry.dir.node, "new", b"");
    assert_eq!(go(&base, "a/b/new").map(|(_, stat)| stat.size), Ok(0));
}

pub fn bad_paths_have_their_errno(root: &Root) {
    plant(root);
    let base = place(root);
    refused!(walk(&base, "", Follow::Yes), Noent);
    refused!(walk(&base, "x/f", Follow::Yes), Noent);
    refused!(walk(&base, "a/x/f", Follow::Yes), Noent);
    refused!(walk(&base, "g/f", Follow::Yes), Notdir);
    refused!(walk(&base, "g/.", Follow::Yes), Notdir);
    refused!(walk(&base, "g/..", Follow::Yes), Notdir);
    refused!(walk(&base, "x/..", Follow::Yes), Noent);
    refused!(walk(&base, "a/\0", Follow::Yes), Inval);
    refused!(walk(&base, &"x".repeat(256), Follow::Yes), Nametoolong);
    refused!(walk(&base, &format!("{}/x", "x".repeat(256)), Follow::Yes), Nametoolong);
    refused!(walk(&base, &"a/".repeat(PATH_MAX / 2), Follow::Yes), Nametoolong);
    let longest = format!("{}a", "./".repeat((PATH_MAX - 2) / 2));
    assert_eq!(longest.len(), PATH_MAX - 1);
    go(&base, &longest).expect("the longest path");
    refused!(go(&base, "x"), Noent);
}

pub fn dots_stay_below_the_start(root: &Root) {
    plant(root);
    let base = place(root);
    let top = root.stat().expect("stat").ino;
    for path in [".", "./", "a/..", "a/../", "a/b/../..", "./a/./.."] {
        assert_eq!(arrive(&base, path, Follow::Yes), Arrived::Itself(top), "{path}");
    }
    for path in ["..", "../", "./..", "a/../..", "../a", "a/../../a", "a/b/../../../x"] {
        refused!(walk(&base, path, Follow::Yes), Notcapable);
        refused!(walk(&base, path, Follow::IfSlash), Notcapable);
    }
    // Nor above a directory further down, where a walk begins there.
    let (b, _) = go(&base, "a/b").expect("walk");
    refused!(walk(&b, "..", Follow::Yes), Notcapable);
    refused!(walk(&b, "../b/f", Follow::Yes), Notcapable);
    assert_eq!(cat(&b, "f").as_deref(), Ok(&b"deep"[..]));
}

pub fn absolute_paths_are_refused(root: &Root) {
    plant(root);
    let base = place(root);
    for path in ["/", "//", "/a", "//a", "/.", "/.."] {
        refused!(walk(&base, path, Follow::Yes), Notcapable);
    }
}

pub fn slashes_at_the_end_want_a_directory(root: &Root) {
    plant(root);
    root.symlink(name("l"), "a").expect("symlink");
    root.symlink(name("m"), "g").expect("symlink");
    let base = place(root);
    for path in ["a/", "a//", "a/b/", "l/", "l/b//"] {
        assert_eq!(go(&base, path).map(|(_, s)| s.filetype), Ok(Filetype::Directory), "{path}");
    }
    for path in ["g/", "a/b/f/", "m/"] {
        refused!(go(&base, path), Notdir);
    }
    refused!(go(&base, "x/"), Noent);
    let Walked::Entry(new) = walk(&base, "new//", Follow::IfSlash).expect("walk") else {
        panic!("an entry");
    };
    assert!(new.slash && new.found.is_none());
    // A slash follows the link, wanted or not.
    let Walked::Entry(entry) = walk(&base, "l/", Follow::IfSlash).expect("walk") else {
        panic!("an entry");
    };
    assert_eq!((entry.name().as_str(), entry.slash), ("a", true));
    // Unless the name itself is meant, to be removed or renamed.
    let Walked::Entry(entry) = walk(&base, "l/", Follow::No).expect("walk") else {
        panic!("an entry");
    };
    assert_eq!((entry.name().as_str(), entry.slash), ("l", true));
    refused!(walk(&base, "l/", Follow::No).and_then(Walked::existing), Notdir);
}

pub fn links_are_followed_where_asked(root: &Root) {
    plant(root);
    let a = child(root, "a");
    root.symlink(name("f"), "a/b/f").expect("symlink");
    root.symlink(name("d"), "./a//b/").expect("symlink");
    a.symlink(name("here"), "b/f").expect("symlink");
    a.symlink(name("up"), "../g").expect("symlink");
    let base = place(root);
    for (path, bytes) in [("f", "deep"), ("d/f", "deep"), ("a/here", "deep"), ("a/up", "top")] {
        assert_eq!(cat(&base, path).as_deref(), Ok(bytes.as_bytes()), "{path}");
    }
    let followed = go(&base, "d").expect("walk").1;
    assert_eq!(followed.ino, go(&base, "a/b").expect("walk").1.ino);
    for link in ["f", "d", "a/here"] {
        let (_, stat) =
            walk(&base, link, Follow::IfSlash).expect("walk").existing().expect("is there");
        assert_eq!(stat.filetype, Filetype::SymbolicLink, "{link}");
    }
    // In the middle they always are; a file there is none to go through.
    assert_eq!(cat(&base, "a/../d/../b/f").as_deref(), Ok(&b"deep"[..]));
    refused!(walk(&base, "f/x", Follow::IfSlash), Notdir);
}

pub fn forty_links_and_no_more(root: &Root) {
    put(root, "l0", b"end");
    for n in 1..=LINKS_MAX + 1 {
        root.symlink(name(&format!("l{n}")), &format!("l{}", n - 1)).expect("symlink");
    }
    root.symlink(name("self"), "self").expect("symlink");
    root.symlink(name("tail"), "tail/x").expect("symlink");
    let base = place(root);
    assert_eq!(LINKS_MAX, 40);
    assert_eq!(cat(&base, "l40").as_deref(), Ok(&b"end"[..]));
    refused!(walk(&base, "l41", Follow::Yes), Loop);
    refused!(walk(&base, "l41/", Follow::IfSlash), Loop);
    walk(&base, "l41", Follow::IfSlash).expect("not followed");
    refused!(walk(&base, "self", Follow::Yes), Loop);
    refused!(walk(&base, "self/x", Follow::IfSlash), Loop);
    refused!(walk(&base, "tail", Follow::Yes), Loop);
    // Those in the middle count as well.
    root.symlink(name("dot"), ".").expect("symlink");
    assert_eq!(cat(&base, &format!("{}l0", "dot/".repeat(40))).as_deref(), Ok(&b"end"[..]));
    refused!(walk(&base, &format!("{}l0", "dot/".repeat(41)), Follow::Yes), Loop);
}

pub fn links_do_not_lead_out(root: &Root) {
    plant(root);
    let a = child(root, "a");
    let links = [("abs", "/etc"), ("root", "/"), ("up", ".."), ("out", "b/../../../x")];
    for (link, text) in links {
        a.symlink(name(link), text).expect("a link that only exists is harmless");
    }
    let base = place(root);
    for path in ["a/abs", "a/root", "a/out"] {
        refused!(walk(&base, path, Follow::Yes), Notcapable);
        refused!(walk(&base, &format!("{path}/x"), Follow::IfSlash), Notcapable);
        refused!(walk(&base, &format!("{path}/"), Follow::IfSlash), Notcapable);
        walk(&base, path, Follow::IfSlash).expect("not followed");
    }
    // Up is fine as long as it stays below the start.
    assert_eq!(cat(&base, "a/up/g").as_deref(), Ok(&b"top"[..]));
    let (a, _) = go(&base, "a").expect("walk");
    refused!(walk(&a, "up/g", Follow::Yes), Notcapable);
    refused!(walk(&base, "a/up/../g", Follow::Yes), Notcapable);
}

pub fn a_dangling_link_ends_at_its_target(root: &Root) {
    plant(root);
    root.symlink(name("l"), "a/new").expect("symlink");
    root.symlink(name("m"), "x/new").expect("symlink");
    let base = place(root);
    let a = go(&base, "a").expect("walk").1.ino;
    let new = |slash| Arrived::Entry { dir: a, name: "new".into(), found: None, slash };
    assert_eq!(arrive(&base, "l", Follow::Yes), new(false));
    assert_eq!(arrive(&base, "l/", Follow::IfSlash), new(true));
    refused!(go(&base, "l"), Noent);
    refused!(walk(&base, "m", Follow::Yes), Noent);
    refused!(walk(&base, "l/x", Follow::Yes), Noent);
    assert!(walk(&base, "l", Follow::IfSlash).expect("walk").existing().is_ok());
}

pub fn dot_dot_behind_a_link_is_the_parent_of_its_target(root: &Root) {
    plant(root);
    put(&child(root, "a"), "g", b"in a");
    root.symlink(name("l"), "a/b").expect("symlink");
    let base = place(root);
    assert_eq!(cat(&base, "l/../g").as_deref(), Ok(&b"in a"[..]));
    assert_eq!(cat(&base, "l/../../g").as_deref(), Ok(&b"top"[..]));
}

/// An open directory stays what it is wherever it goes, and still has no parent.
pub fn a_directory_moved_away_leads_nowhere_else(root: &Root) {
    plant(root);
    let base = place(root);
    let (b, _) = go(&base, "a/b").expect("walk");
    let _open = b.node.open(READ).and_then(Opened::at_once).expect("open");
    child(root, "a").rename(name("b"), root, name("c")).expect("rename");
    refused!(walk(&b, "../g", Follow::Yes), Notcapable);
    assert_eq!(cat(&b, "f").as_deref(), Ok(&b"deep"[..]));
    refused!(walk(&base, "a/b/f", Follow::Yes), Noent);
}

/// A tree without its shortcut.
struct Plain(Root);

impl Node for Plain {
    fn stat(&self) -> Result<Stat> {
        self.0.stat()
    }

    fn open(&self, how: Open) -> Result<Opened> {
        self.0.open(how)
    }

    fn readlink(&self) -> Result<String> {
        self.0.readlink()
    }

    fn lookup(&self, name: Name<'_>) -> Result<Root> {
        Ok(Arc::new(Plain(self.0.lookup(name)?)))
    }
}

/// Random paths over a small tree arrive at the same with and without `descend`.
pub fn the_shortcut_arrives_where_the_walk_does(root: &Root) {
    plant(root);
    let a = child(root, "a");
    let b = child(&a, "b");
    dir(&b, "a");
    dir(&child(&b, "a"), "b");
    a.symlink(name("l"), "b").expect("symlink");
    b.symlink(name("l"), "../../a").expect("symlink");
    root.symlink(name("l"), "a/l").expect("symlink");
    b.symlink(name("g"), "/").expect("symlink");
    let quick = place(root);
    let plain: Root = Arc::new(Plain(root.clone()));
    let plain = place(&plain);
    let parts = ["a", "b", "a", "b", "l", "f", "g", "x", ".", "..", ""];
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    let mut found = 0;
    for _ in 0..3000 {
        let len = 1 + random(5);
        let path: Vec<_> = (0..len).map(|_| parts[random(parts.len())]).collect();
        let follow = [Follow::Yes, Follow::IfSlash, Follow::No][random(3)];
        let path = path.join("/");
        let arrived = arrive(&quick, &path, follow);
        assert_eq!(arrived, arrive(&plain, &path, follow), "{path}");
        found += usize::from(!matches!(arrived, Arrived::Refused(_)));
    }
    assert!(found > 300, "the paths are no good: {found}");
    assert_eq!(arrive(&quick, "a/b/g/x", Follow::Yes), Arrived::Refused(Errno::Notcapable));
}
