//! Paths and links that lead out.

use tinyhost::Errno;

use super::attempts::{FOLLOWING, NAMING, all};
use crate::calls::libc::*;
use crate::calls::trees::{Tree, file, link, unlink};
use crate::calls::{Calls, trees};
use crate::{arena, outside};

on_each! { host slow mem: {
    no_path_leads_out
    no_link_in_the_middle_leads_out
    no_link_at_the_end_leads_out
    a_slash_behind_a_link_leads_nowhere_else
    a_dangling_link_makes_nothing_outside
    links_of_the_guests_own_lead_nowhere
    forty_links_and_no_more
    a_directory_is_the_root_of_its_own_descriptor
} }

fn no_path_leads_out(tree: &Tree) {
    let before = arena(tree);
    let mut calls = Calls::at(&tree.mount);
    let absolute = format!("{}/outside/secret", tree.path);
    let paths = ["..", "../", "./..", "a/../..", "/", "//", "/.", "/..", "/a", "//a/file"];
    let outside_it = ["../outside/secret", "../outside/new", "a/../../outside/dir", "./.././mount"];
    let deep =
        ["a/./../../mount/a/file", "a/../../../../../../../../etc/passwd", "..//..//", "../."];
    for path in paths.iter().chain(&outside_it).chain(&deep).chain(&[&*absolute]) {
        for attempt in all() {
            let answer = (attempt.run)(&mut calls, 3, path.as_bytes());
            assert_eq!(answer, Err(Errno::Notcapable), "{} {path}", attempt.what);
        }
    }
    assert_eq!(calls.names(3, "a"), Ok(vec!["file".into()]));
    assert_eq!(outside(tree), before);
}

/// Names in the mount, and where the links there lead: all of them out.
fn ways_out(tree: &Tree) -> Vec<(&'static str, String)> {
    vec![
        ("absolute", format!("{}/outside", tree.path)),
        ("relative", "../outside".into()),
        ("a/deeper", "../../outside".into()),
        ("around", "a/./../../outside/".into()),
        ("root", "/".into()),
        ("up", "..".into()),
        ("up-and-back", "../mount/a".into()),
        ("absolute-back", format!("{}/mount/a", tree.path)),
        ("to-a-file", "../outside/secret".into()),
        ("to-a-file-by-root", format!("{}/outside/secret", tree.path)),
        ("dangling", "../outside/new".into()),
        ("dangling-by-root", format!("{}/outside/new", tree.path)),
        ("by-a-link", "a/deeper".into()),
        ("by-a-link-in-the-middle", "by-a-link/dir".into()),
    ]
}

fn no_link_in_the_middle_leads_out(tree: &Tree) {
    let before = arena(tree);
    for (name, text) in ways_out(tree) {
        link(&tree.mount, name, &text);
    }
    let mut calls = Calls::at(&tree.mount);
    for (link, text) in ways_out(tree) {
        for rest in ["secret", "new", "dir/inner", "empty", ".", "..", "../outside/secret"] {
            for attempt in all() {
                let path = format!("{link}/{rest}");
                let answer = (attempt.run)(&mut calls, 3, path.as_bytes());
                assert_eq!(answer, Err(Errno::Notcapable), "{} {path} -> {text}", attempt.what);
            }
        }
    }
    assert_eq!(outside(tree), before);
}

/// What follows the link is refused; what means the link itself has to do with the link.
fn no_link_at_the_end_leads_out(tree: &Tree) {
    let before = arena(tree);
    let mut calls = Calls::at(&tree.mount);
    for (path, text) in ways_out(tree) {
        link(&tree.mount, path, &text);
    }
    for (path, text) in ways_out(tree) {
        for attempt in FOLLOWING {
            let answer = (attempt.run)(&mut calls, 3, path.as_bytes());
            assert_eq!(answer, Err(Errno::Notcapable), "{} {path} -> {text}", attempt.what);
        }
        assert_eq!(calls.readlink(3, path, 1000), Ok(text.clone().into_bytes()));
    }
    for (path, text) in ways_out(tree) {
        for attempt in NAMING {
            let answer = (attempt.run)(&mut calls, 3, path.as_bytes());
            let expected = match attempt.what {
                "open without following" | "open CREAT without following" => Err(Errno::Loop),
                "open CREAT EXCL" | "link to" | "create_directory" | "symlink at" => {
                    Err(Errno::Exist)
                }
                "remove_directory" => Err(Errno::Notdir),
                _ => Ok(()),
            };
            assert_eq!(answer, expected, "{} {path} -> {text}", attempt.what);
            for name in [path, "a/made"] {
                let _ = calls.unlink(3, name);
            }
            link(&tree.mount, path, &text);
            let _ = calls.unlink(3, "a/file");
            file(&tree.mount, "a/file", b"inside");
        }
        assert_eq!(calls.cat(3, "a/file").as_deref(), Ok(&b"inside"[..]));
    }
    assert_eq!(outside(tree), before);
}

fn a_slash_behind_a_link_leads_nowhere_else(tree: &Tree) {
    let before = arena(tree);
    let mut calls = Calls::at(&tree.mount);
    for (name, text) in ways_out(tree) {
        link(&tree.mount, name, &text);
    }
    for (path, text) in ways_out(tree) {
        for attempt in all() {
            let answer = (attempt.run)(&mut calls, 3, format!("{path}/").as_bytes());
            let expected = match attempt.what {
                "open CREAT EXCL" | "link to" | "create_directory" | "symlink at" => Errno::Exist,
                "link from the link" | "remove_directory" | "unlink_file" => Errno::Notdir,
                "rename from" | "rename to" => Errno::Notdir,
                _ => Errno::Notcapable,
            };
            assert_eq!(answer, Err(expected), "{} {path}/ -> {text}", attempt.what);
        }
    }
    assert_eq!(outside(tree), before);
}

fn a_dangling_link_makes_nothing_outside(tree: &Tree) {
    let before = arena(tree);
    link(&tree.mount, "out", "../outside/new");
    link(&tree.mount, "in", "a/new");
    let mut calls = Calls::at(&tree.mount);
    assert_eq!(calls.open(3, "out", CREAT, ALL), Err(Errno::Notcapable));
    assert_eq!(calls.open(3, "out", CREAT | EXCL, ALL), Err(Errno::Exist));
    assert_eq!(calls.openat(3, "out", 0, CREAT, ALL, 0), Err(Errno::Loop));
    assert_eq!(calls.open(3, "in", CREAT | EXCL, ALL), Err(Errno::Exist));
    assert_eq!(calls.names(3, "a"), Ok(vec!["file".into()]));
    // Inside it is what open(2) does: the link's target is made.
    calls.open(3, "in", CREAT, ALL).expect("created");
    assert_eq!(calls.names(3, "a"), Ok(vec!["file".into(), "new".into()]));
    assert_eq!(outside(tree), before);
}

/// Absolute links are refused (EPERM); others may be made, and are refused when walked.
fn links_of_the_guests_own_lead_nowhere(tree: &Tree) {
    let before = arena(tree);
    let mut calls = Calls::at(&tree.mount);
    let absolute = format!("{}/outside", tree.path);
    for text in ["/", "//", "/etc/passwd", &*absolute] {
        assert_eq!(calls.symlink(text, 3, "link"), Err(Errno::Perm), "{text}");
        assert_eq!(calls.statat(3, "link", 0).err(), Some(Errno::Noent));
    }
    for text in ["..", "../outside", "a/../../outside", "./.././outside", "a/up/../outside"] {
        let up = ("..", "a/up");
        calls.symlink(up.0, 3, up.1).expect("harmless as long as nobody walks it");
        calls.symlink(text, 3, "link").expect("harmless as long as nobody walks it");
        for path in ["link", "link/", "link/secret", "link/."] {
            assert_eq!(calls.stat(3, path).err(), Some(Errno::Notcapable), "{path} -> {text}");
            let open = calls.open(3, path, CREAT, ALL);
            assert_eq!(open, Err(Errno::Notcapable), "{path} -> {text}");
        }
        calls.unlink(3, "link").expect("unlink");
        calls.unlink(3, "a/up").expect("unlink");
    }
    // A link that was harmless where it was made, and is moved.
    calls.symlink("../plain", 3, "a/link").expect("symlink");
    assert_eq!(calls.cat(3, "a/link").as_deref(), Ok(&b"inside"[..]));
    calls.rename((3, "a/link"), (3, "link")).expect("rename");
    assert_eq!(calls.cat(3, "link"), Err(Errno::Notcapable));
    assert_eq!(outside(tree), before);
}

fn forty_links_and_no_more(tree: &Tree) {
    let before = arena(tree);
    let mut calls = Calls::at(&tree.mount);
    calls.symlink("plain", 3, "l1").expect("symlink");
    for number in 2..=41 {
        let text = format!("l{}", number - 1);
        calls.symlink(text, 3, format!("l{number}")).expect("symlink");
    }
    assert_eq!(calls.cat(3, "l40").as_deref(), Ok(&b"inside"[..]));
    for attempt in FOLLOWING {
        assert_eq!((attempt.run)(&mut calls, 3, b"l41"), Err(Errno::Loop), "{}", attempt.what);
    }
    // However many are followed, the last one still leads nowhere else.
    unlink(&tree.mount, "l1");
    link(&tree.mount, "l1", "../outside/secret");
    assert_eq!(calls.cat(3, "l40"), Err(Errno::Notcapable));
    calls.symlink("itself", 3, "itself").expect("symlink");
    for attempt in FOLLOWING {
        assert_eq!((attempt.run)(&mut calls, 3, b"itself"), Err(Errno::Loop), "{}", attempt.what);
    }
    assert_eq!(outside(tree), before);
}

fn a_directory_is_the_root_of_its_own_descriptor(tree: &Tree) {
    arena(tree);
    trees::link(&tree.mount, "a/up", "../plain");
    let mut calls = Calls::at(&tree.mount);
    let a = calls.open(3, "a", DIRECTORY, READ).expect("open");
    assert_eq!(calls.cat(3, "a/up").as_deref(), Ok(&b"inside"[..]));
    for path in ["..", "../plain", "up", "../a/file", "./../a"] {
        assert_eq!(calls.stat(a, path).err(), Some(Errno::Notcapable), "{path}");
    }
    // Not even when it is moved by the guest itself.
    calls.mkdir(3, "b").expect("mkdir");
    calls.rename((3, "a"), (3, "b/a")).expect("rename");
    assert_eq!(calls.stat(a, "../../plain").err(), Some(Errno::Notcapable));
    assert_eq!(calls.cat(a, "file").as_deref(), Ok(&b"inside"[..]));
}
