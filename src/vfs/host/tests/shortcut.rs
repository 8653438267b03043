//! The shortcut arrives where the walk does, over random trees and paths.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::vfs::walk::{Follow, Walked, is_plain};
use crate::vfs::{Filetype, Stat};

const NAMES: [&str; 5] = ["a", "b", "c", "é", "..."];

fn random_path(random: &mut Random, absolute: bool) -> String {
    let parts: Vec<&str> = (0..1 + random.below(6))
        .map(|_| match random.below(12) {
            0 => random.pick(&[".", "..", "", "missing", "..", "."]),
            _ => random.pick(&NAMES),
        })
        .collect();
    let slash = if random.below(8) == 0 { "/" } else { "" };
    let root = if absolute && random.below(20) == 0 { "/" } else { "" };
    format!("{root}{}{slash}", parts.join("/"))
}

fn grow(random: &mut Random, at: &Path, depth: usize) {
    for name in NAMES {
        let path = at.join(name);
        match random.below(10) {
            0..=5 if depth < 4 => {
                fs::create_dir(&path).unwrap();
                grow(random, &path, depth + 1);
            }
            6 | 7 => fs::write(&path, name).unwrap(),
            8 => symlink(format!("./{}", random_path(random, true)), &path).unwrap(),
            9 => symlink(random_path(random, true) + "x", &path).unwrap(),
            _ => {}
        }
    }
}

fn inodes(at: &Path, into: &mut BTreeSet<u64>) {
    let meta = fs::symlink_metadata(at).unwrap();
    into.insert(meta.ino());
    if meta.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            inodes(&entry.unwrap().path(), into);
        }
    }
}

/// What a walk found, in words that can be compared; times differ, as walking reads links.
fn outcome(base: &Place, path: &str, follow: Follow) -> (String, Vec<u64>) {
    let brief = |stat: Stat| (stat.dev, stat.ino, stat.filetype, stat.size, stat.nlink);
    let seen = |place: &Place| brief(place.node.stat().unwrap());
    match walk(base, path, follow) {
        Err(error) => (error.name().to_owned(), vec![]),
        Ok(Walked::Itself(place)) => (format!("{:?}", seen(&place)), vec![seen(&place).1]),
        Ok(Walked::Entry(entry)) => {
            let dir = seen(&entry.dir);
            let found = entry.found.as_ref().map(|(place, stat)| (seen(place), brief(*stat)));
            let inodes = found.iter().map(|(found, _)| found.1).chain([dir.1]).collect();
            (format!("{dir:?} {:?} {found:?} {}", entry.name(), entry.slash), inodes)
        }
    }
}

/// Plain directories within the tree, to start from.
fn bases(node: &Arc<dyn Node>) -> Vec<Place> {
    let root = base(node.clone());
    let below = ["a", "b/a", "c/b"].iter().filter_map(|path| {
        let (place, stat) = walk(&root, path, Follow::IfSlash).and_then(Walked::existing).ok()?;
        (stat.filetype == Filetype::Directory).then_some(place)
    });
    [root.clone()].into_iter().chain(below).collect()
}

/// Opening and asking in one call: what the walk finds at the same path, or nothing at all.
/// How often there was something.
fn at_once(quick: &Place, slow: &Place, path: &str) -> usize {
    if !is_plain(quick, path) {
        return 0;
    }
    let brief = |stat: Stat| (stat.dev, stat.ino, stat.filetype, stat.size, stat.nlink);
    let walked = walk(slow, path, Follow::No).and_then(Walked::existing).map(|(_, stat)| stat);
    let seen = quick.node.stat_at(path);
    if let Some(seen) = seen {
        assert_eq!(Ok(brief(seen)), walked.map(brief), "{path:?}");
    }
    let opened = quick.node.open_at(path, READ);
    let opens = usize::from(opened.is_some());
    if let Some((mut file, filetype)) = opened {
        assert_eq!(Ok(brief(file.stat().unwrap())), walked.map(brief), "{path:?}");
        assert_eq!(filetype, Filetype::RegularFile, "{path:?}");
    }
    usize::from(seen.is_some()) + opens
}

#[test]
fn the_shortcut_is_the_walk() {
    let (mut found, mut leaps, mut at) = (0, 0, 0);
    for seed in 1..=8 {
        let mut random = Random(seed * 0x09e3_779b_97f4_a7c1);
        let scratch = Scratch::with(&["tree"]);
        let tree = scratch.path("tree");
        grow(&mut random, &tree, 0);
        let mut within = BTreeSet::new();
        inodes(&tree, &mut within);

        let quick = bases(&open(&tree).unwrap());
        let slow = bases(&HostDir::open(&tree).unwrap().without_shortcut().node());
        assert_eq!(quick.len(), slow.len());
        for _ in 0..600 {
            let which = random.below(quick.len());
            let path = random_path(&mut random, true);
            let follow = [Follow::Yes, Follow::IfSlash, Follow::No][random.below(3)];
            let (quick, slow) = (&quick[which], &slow[which]);
            let (expected, arrived) = outcome(slow, &path, follow);
            assert_eq!(outcome(quick, &path, follow).0, expected, "{path:?}, seed {seed}");
            assert!(arrived.iter().all(|ino| within.contains(ino)), "{path:?} is outside");
            found += usize::from(arrived.len() > 1);
            assert!(slow.node.descend(&path).is_none());
            at += at_once(quick, slow, &path);
            leaps += usize::from(quick.node.descend(&path).is_some());
        }
    }
    assert!(found > 500, "only {found} paths led anywhere");
    assert!(at > 500 || !kernel_has_it(), "only {at} were opened or asked at once");
    assert!(leaps > 500 || !kernel_has_it(), "the shortcut was taken only {leaps} times");
}

fn kernel_has_it() -> bool {
    let scratch = Scratch::with(&["a/b"]);
    scratch.node().descend("a/b").is_some()
}

#[test]
fn the_shortcut_never_leaves() {
    let scratch = Scratch::with(&["tree/a", "outside/a", "tree/up->../outside", "tree/in->a"]);
    let tree = open(&scratch.path("tree")).unwrap();
    for path in ["..", "../outside", "a/../..", "/", "/tmp", "up", "up/a", "in", "a/../in"] {
        assert!(tree.descend(path).is_none(), "{path}");
        assert!(tree.open_at(path, READ).is_none(), "{path}");
    }
    for path in ["..", "../outside", "../outside/a", "/", "/tmp", "up", "up/a", "in", "a/../in"] {
        assert!(tree.stat_at(path).is_none(), "{path}");
    }
    assert_eq!(tree.descend("a").is_some(), kernel_has_it());
}
