//! Each verb on names, and its errnos.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::vfs::{Filetype, ReadOnly, SetTime, Times};

const SECOND: u64 = 1_000_000_000;

fn node(dir: &Arc<dyn Node>, child: &str) -> Arc<dyn Node> {
    dir.lookup(name(child)).unwrap()
}

#[test]
fn only_directories_are_opened() {
    let scratch = Scratch::with(&["file=x", "dir", "link->dir"]);
    let refused = open(&scratch.path("file")).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotADirectory);
    assert_eq!(open(&scratch.path("none")).err().unwrap().kind(), ErrorKind::NotFound);
    // The path is the operator's: links in it are followed.
    assert_eq!(open(&scratch.path("link")).unwrap().stat().unwrap().filetype, Filetype::Directory);
}

#[test]
fn lookup_tells_what_is_there() {
    let scratch = Scratch::with(&["file=four", "dir", "link->dir", "dangling->none"]);
    let dir = scratch.node();
    let stat = node(&dir, "file").stat().unwrap();
    let host = fs::metadata(scratch.path("file")).unwrap();
    assert_eq!((stat.dev, stat.ino, stat.size), (host.dev(), host.ino(), 4));
    assert_eq!((stat.filetype, stat.nlink), (Filetype::RegularFile, 1));
    assert_eq!(stat.mtim, host.mtime() as u64 * SECOND + host.mtime_nsec() as u64);
    assert_eq!(node(&dir, "dir").stat().unwrap().filetype, Filetype::Directory);
    assert_eq!(node(&dir, "link").stat().unwrap().filetype, Filetype::SymbolicLink);
    assert_eq!(node(&dir, "dangling").readlink(), Ok("none".into()));
    assert_eq!(error(dir.lookup(name("none"))), Errno::Noent);
    assert_eq!(error(node(&dir, "file").lookup(name("x"))), Errno::Notdir);
    assert_eq!(error(node(&dir, "link").lookup(name("x"))), Errno::Notdir);
    for not_a_link in [node(&dir, "file"), node(&dir, "dir"), dir.clone()] {
        assert_eq!(not_a_link.readlink(), Err(Errno::Inval));
    }
}

#[test]
fn create_never_takes_what_is_there() {
    let scratch = Scratch::with(&["file=x", "dir", "dangling->made"]);
    let dir = scratch.node();
    for taken in ["file", "dir", "dangling"] {
        assert_eq!(error(dir.create(name(taken), WRITE)), Errno::Exist);
        assert_eq!(dir.create_directory(name(taken)), Err(Errno::Exist));
        assert_eq!(dir.symlink(name(taken), "x"), Err(Errno::Exist));
    }
    assert!(!scratch.path("made").exists(), "the link was followed");
    let mut file = dir.create(name("new"), BOTH).unwrap();
    assert_eq!(write(&mut *file, "hello", 0), Ok(5));
    assert_eq!(read(&mut *file, 9, 1), Ok("ello".into()));
    assert_eq!(scratch.text("new"), "hello");
    dir.create_directory(name("sub")).unwrap();
    node(&dir, "sub").create(name("inner"), LOOK).unwrap();
    assert_eq!(scratch.text("sub/inner"), "");
    assert_eq!(error(node(&dir, "file").create(name("x"), WRITE)), Errno::Notdir);
}

#[test]
fn links_hold_any_text() {
    let scratch = Scratch::new();
    let dir = scratch.node();
    for (link, text) in [("a", "/etc/passwd"), ("b", "../../.."), ("c", "ü//.")] {
        dir.symlink(name(link), text).unwrap();
        assert_eq!(node(&dir, link).readlink(), Ok(text.into()));
        assert_eq!(error(node(&dir, link).open(READ)), Errno::Loop);
    }
    assert_eq!(dir.symlink(name("d"), ""), Err(Errno::Noent));
    assert_eq!(dir.symlink(name("d"), "a\0b"), Err(Errno::Inval));
    assert_eq!(dir.symlink(name("d"), &"x".repeat(5000)), Err(Errno::Nametoolong));
}

#[cfg(target_os = "linux")]
#[test]
fn links_of_the_host_may_not_be_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let scratch = Scratch::new();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"\xff"), scratch.path("link")).unwrap();
    assert_eq!(node(&scratch.node(), "link").readlink(), Err(Errno::Ilseq));
}

#[test]
fn link_gives_a_second_name() {
    let scratch = Scratch::with(&["file=x", "dir", "link->file"]);
    let dir = scratch.node();
    let sub = node(&dir, "dir");
    dir.link(name("file"), &sub, name("again")).unwrap();
    assert_eq!(node(&dir, "file").stat().unwrap().nlink, 2);
    assert_eq!(dir.link(name("file"), &sub, name("again")), Err(Errno::Exist));
    assert_eq!(dir.link(name("none"), &sub, name("x")), Err(Errno::Noent));
    assert_eq!(dir.link(name("dir"), &sub, name("x")), Err(Errno::Perm));
    assert_eq!(dir.link(name("file"), &node(&dir, "file"), name("x")), Err(Errno::Notdir));
    dir.link(name("link"), &sub, name("link")).unwrap();
    assert_eq!(node(&sub, "link").readlink(), Ok("file".into()));
}

#[test]
fn rename_replaces_as_on_unix() {
    let scratch = Scratch::with(&["a=a", "b=b", "dir/sub", "empty", "full/sub"]);
    let dir = scratch.node();
    dir.rename(name("a"), &node(&dir, "dir"), name("moved")).unwrap();
    assert_eq!(scratch.text("dir/moved"), "a");
    dir.rename(name("dir"), &dir, name("empty")).unwrap();
    assert_eq!(scratch.text("empty/moved"), "a");
    for (from, to, refused) in [
        ("none", "x", Errno::Noent),
        ("b", "full", Errno::Isdir),
        ("full", "b", Errno::Notdir),
        ("empty", "full", Errno::Notempty),
    ] {
        assert_eq!(dir.rename(name(from), &dir, name(to)), Err(refused), "{from} to {to}");
    }
    assert_eq!(dir.rename(name("full"), &node(&dir, "full"), name("x")), Err(Errno::Inval));
}

#[test]
fn mounts_are_devices_of_their_own() {
    let scratch = Scratch::with(&["file=x"]);
    let dir = scratch.node();
    let foreign: [Arc<dyn Node>; 2] = [scratch.node(), Arc::new(ReadOnly(dir.clone()))];
    for other in foreign {
        assert_eq!(dir.link(name("file"), &other, name("x")), Err(Errno::Xdev));
        assert_eq!(dir.rename(name("file"), &other, name("x")), Err(Errno::Xdev));
    }
    assert!(!scratch.path("x").exists());
}

#[test]
fn removing_knows_directories_from_the_rest() {
    let scratch = Scratch::with(&["file=x", "dir", "full/sub", "link->dir"]);
    let dir = scratch.node();
    assert_eq!(dir.unlink(name("dir")), Err(Errno::Isdir));
    assert_eq!(dir.unlink(name("none")), Err(Errno::Noent));
    assert_eq!(dir.remove_directory(name("file")), Err(Errno::Notdir));
    assert_eq!(dir.remove_directory(name("link")), Err(Errno::Notdir));
    assert_eq!(dir.remove_directory(name("full")), Err(Errno::Notempty));
    assert_eq!(dir.remove_directory(name("none")), Err(Errno::Noent));
    dir.unlink(name("link")).unwrap();
    dir.unlink(name("file")).unwrap();
    dir.remove_directory(name("dir")).unwrap();
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[test]
fn times_are_of_the_thing_itself() {
    let scratch = Scratch::with(&["file=x", "dir", "link->file"]);
    let dir = scratch.node();
    let before = node(&dir, "file").stat().unwrap();
    let new = Times { atim: Some(SetTime::To(7)), mtim: Some(SetTime::To(5 * SECOND + 9)) };
    for (child, how) in [("link", "node"), ("dir", "node"), ("dir", "file")] {
        let node = node(&dir, child);
        match how {
            "node" => node.set_times(new).unwrap(),
            _ => node.open(READ).unwrap().at_once().unwrap().set_times(new).unwrap(),
        }
        let stat = dir.lookup(name(child)).unwrap().stat().unwrap();
        assert_eq!((stat.atim, stat.mtim), (7, 5 * SECOND + 9), "{child} by its {how}");
    }
    assert_eq!(node(&dir, "file").stat().unwrap(), before, "the link was followed");

    let mut file = node(&dir, "file").open(READ).unwrap().at_once().unwrap();
    file.set_times(Times { atim: None, mtim: Some(SetTime::To(3)) }).unwrap();
    assert_eq!(file.stat().unwrap().mtim, 3);
    assert_eq!(file.stat().unwrap().atim, before.atim);
    file.set_times(Times { atim: None, mtim: Some(SetTime::Now) }).unwrap();
    assert!(file.stat().unwrap().mtim >= before.mtim);
    let far = Some(SetTime::To(u64::MAX));
    file.set_times(Times { atim: far, mtim: far }).unwrap();
}

#[test]
fn times_that_do_not_fit_are_the_nearest() {
    assert_eq!(super::super::nanos((-1, 999)), 0);
    assert_eq!(super::super::nanos((1, 999)), SECOND + 999);
    assert_eq!(super::super::nanos((i64::MAX, 0)), u64::MAX);
    let scratch = Scratch::with(&["file=x"]);
    let file = fs::File::options().write(true).open(scratch.path("file")).unwrap();
    file.set_modified(UNIX_EPOCH - Duration::from_secs(1)).unwrap();
    assert_eq!(node(&scratch.node(), "file").stat().unwrap().mtim, 0);
    file.set_modified(SystemTime::now()).unwrap();
    assert!(node(&scratch.node(), "file").stat().unwrap().mtim > 1_600_000_000 * SECOND);
}

#[test]
fn a_directory_in_use_is_itself_wherever_it_goes() {
    let scratch = Scratch::with(&["dir", "dir/file=x", "other"]);
    let root = scratch.node();
    let dir = node(&root, "dir");
    let mut open = dir.open(READ).unwrap().at_once().unwrap();
    let ino = dir.stat().unwrap().ino;
    fs::rename(scratch.path("dir"), scratch.path("other/moved")).unwrap();
    fs::create_dir(scratch.path("dir")).unwrap();
    dir.create(name("new"), WRITE).unwrap();
    assert!(scratch.path("other/moved/new").exists());
    assert_eq!((dir.stat().unwrap().ino, open.stat().unwrap().ino), (ino, ino));
    let mut seen = Vec::new();
    open.readdir(0, &mut |entry| {
        seen.push(entry.name.to_owned());
        true
    })
    .unwrap();
    assert!(seen.contains(&b"file".to_vec()) && seen.contains(&b"new".to_vec()));
    assert_eq!((open.sync(false), open.sync(true)), (Ok(()), Ok(())));
}

#[test]
fn nothing_is_made_in_a_removed_directory() {
    let scratch = Scratch::with(&["dir"]);
    let dir = node(&scratch.node(), "dir");
    let mut open = dir.open(READ).unwrap().at_once().unwrap();
    fs::remove_dir(scratch.path("dir")).unwrap();
    assert_eq!(open.readdir(0, &mut |_| panic!("an entry")), Ok(()));
    assert_eq!(error(dir.create(name("x"), WRITE)), Errno::Noent);
    assert_eq!(dir.create_directory(name("x")), Err(Errno::Noent));
}

#[test]
fn read_only_refuses_every_change() {
    let scratch = Scratch::with(&["file=text", "dir/sub", "link->file"]);
    let inner = scratch.node();
    let dir: Arc<dyn Node> = Arc::new(ReadOnly(inner.clone()));
    let (truncate, now) = (Open { truncate: true, ..READ }, Some(SetTime::Now));
    let times = Times { atim: now, mtim: now };
    let rofs = Errno::Rofs;
    for base in [dir.clone(), dir.descend("dir/sub").unwrap_or(node(&dir, "dir"))] {
        assert_eq!(error(base.create(name("new"), READ)), rofs);
        assert_eq!(base.create_directory(name("new")), Err(rofs));
        assert_eq!(base.symlink(name("new"), "x"), Err(rofs));
        assert_eq!(base.set_times(times), Err(rofs));
    }
    for to in [&dir, &inner] {
        assert_eq!(dir.link(name("file"), to, name("new")), Err(rofs));
        assert_eq!(dir.rename(name("file"), to, name("new")), Err(rofs));
    }
    assert_eq!(dir.unlink(name("file")), Err(rofs));
    assert_eq!(dir.remove_directory(name("dir")), Err(rofs));
    for how in [WRITE, BOTH, truncate, Open { truncate: true, ..LOOK }] {
        assert_eq!(error(node(&dir, "file").open(how)), rofs);
    }
    let mut file = node(&dir, "file").open(READ).unwrap().at_once().unwrap();
    assert_eq!(file.set_len(0), Err(rofs));
    assert_eq!(file.allocate(0, 100), Err(rofs));
    assert_eq!(file.set_times(times), Err(rofs));
    assert!(file.append(&[IoSlice::new(b"x")]).is_err());
    assert!(write(&mut *file, "x", 0).is_err());
    assert_eq!(read(&mut *file, 9, 0), Ok("text".into()));
    assert_eq!(node(&dir, "link").readlink(), Ok("file".into()));
    assert_eq!(scratch.text("file"), "text");
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 3);
    assert_eq!(fs::read_dir(scratch.path("dir/sub")).unwrap().count(), 0);
}
