//! Names: made, linked, moved, removed.

use tinyhost::Errno;

use crate::calls::Calls;
use crate::calls::libc::*;
use crate::calls::trees::Tree;

on_each! { host mem: {
    links_are_read_as_far_as_there_is_room
    stat_tells_what_is_there
    directories_come_and_go
    files_come_and_go
    names_move
    hard_links_are_the_same_file
    links_are_made_where_nothing_is
} }

/// `file`, `dir/` with `inner` in it, `empty/`, `link` to the file, `to-dir`.
fn plant(tree: &Tree) -> Calls {
    let mut calls = Calls::at(&tree.mount);
    calls.make(3, "file", b"0123456789");
    calls.mkdir(3, "dir").expect("mkdir");
    calls.mkdir(3, "empty").expect("mkdir");
    calls.make(3, "dir/inner", b"inner");
    calls.symlink("file", 3, "link").expect("symlink");
    calls.symlink("dir", 3, "to-dir").expect("symlink");
    calls
}

fn links_are_read_as_far_as_there_is_room(tree: &Tree) {
    let mut calls = plant(tree);
    let text = "some/text/that ends nowhere/ü";
    calls.symlink(text, 3, "long").expect("symlink");
    for room in 0..text.len() as u32 + 3 {
        let expected = &text.as_bytes()[..text.len().min(room as usize)];
        assert_eq!(calls.readlink(3, "long", room).as_deref(), Ok(expected), "{room}");
    }
    assert_eq!(calls.readlink(3, "file", 9), Err(Errno::Inval));
    assert_eq!(calls.readlink(3, "dir", 9), Err(Errno::Inval));
    assert_eq!(calls.readlink(3, ".", 9), Err(Errno::Inval));
    assert_eq!(calls.readlink(3, "none", 9), Err(Errno::Noent));
    assert_eq!(calls.readlink(3, "to-dir/", 9), Err(Errno::Inval), "the slash follows it");
    assert_eq!(calls.readlink(3, "link/", 9), Err(Errno::Notdir));
}

fn stat_tells_what_is_there(tree: &Tree) {
    let mut calls = plant(tree);
    let file = calls.stat(3, "file").expect("stat");
    assert_eq!((file.filetype, file.size, file.nlink), (FILE, 10, 1));
    assert_eq!(calls.stat(3, "link"), Ok(file));
    let link = calls.statat(3, "link", 0).expect("lstat");
    assert_eq!((link.filetype, link.size), (LINK, 4));
    assert_ne!(link.ino, file.ino);
    assert_eq!(calls.stat(3, "to-dir").map(|stat| stat.filetype), Ok(DIR));
    assert_eq!(calls.statat(3, "to-dir/", 0).map(|stat| stat.filetype), Ok(DIR));
    let fd = calls.open(3, "file", 0, READ).expect("open");
    assert_eq!(calls.fstat(fd).map(|stat| (stat.dev, stat.ino)), Ok((file.dev, file.ino)));
    for (path, errno) in
        [("none", Errno::Noent), ("file/", Errno::Notdir), ("link/", Errno::Notdir)]
    {
        assert_eq!(calls.stat(3, path).err(), Some(errno), "{path}");
    }
}

fn directories_come_and_go(tree: &Tree) {
    let mut calls = plant(tree);
    for path in ["file", "dir", "dir/", "link", "to-dir", "to-dir/", ".", "dir/.."] {
        assert_eq!(calls.mkdir(3, path), Err(Errno::Exist), "{path}");
    }
    assert_eq!(calls.mkdir(3, "none/new"), Err(Errno::Noent));
    assert_eq!(calls.mkdir(3, "file/new"), Err(Errno::Notdir));
    assert_eq!(calls.mkdir(3, "new/"), Ok(()));
    assert_eq!(calls.mkdir(3, "to-dir/new"), Ok(()));
    assert_eq!(calls.names(3, "dir"), Ok(vec!["inner".into(), "new".into()]));
    for (path, errno) in [
        ("dir", Errno::Notempty),
        ("file", Errno::Notdir),
        ("link", Errno::Notdir),
        ("to-dir", Errno::Notdir),
        ("to-dir/", Errno::Notdir),
        ("none", Errno::Noent),
        (".", Errno::Inval),
    ] {
        assert_eq!(calls.rmdir(3, path), Err(errno), "{path}");
    }
    assert_eq!(calls.rmdir(3, "new/"), Ok(()));
    assert_eq!(calls.rmdir(3, "to-dir/new"), Ok(()));
    assert_eq!(calls.rmdir(3, "empty"), Ok(()));
}

fn files_come_and_go(tree: &Tree) {
    let mut calls = plant(tree);
    for (path, errno) in [
        ("dir", Errno::Isdir),
        ("dir/", Errno::Isdir),
        (".", Errno::Isdir),
        ("file/", Errno::Notdir),
        ("link/", Errno::Notdir),
        ("none", Errno::Noent),
        ("file/x", Errno::Notdir),
    ] {
        assert_eq!(calls.unlink(3, path), Err(errno), "{path}");
    }
    assert_eq!(calls.unlink(3, "link"), Ok(()));
    assert_eq!(calls.unlink(3, "to-dir"), Ok(()));
    assert_eq!(calls.unlink(3, "file"), Ok(()));
    assert_eq!(calls.unlink(3, "file"), Err(Errno::Noent));
    assert_eq!(calls.names(3, "."), Ok(vec!["dir".into(), "empty".into()]));
}

fn names_move(tree: &Tree) {
    let mut calls = plant(tree);
    let dir = calls.open(3, "dir", DIRECTORY, READ).expect("open");
    for (from, to, errno) in [
        ("none", "x", Errno::Noent),
        ("file", "dir", Errno::Isdir),
        ("file", "x/", Errno::Notdir),
        ("file/", "x", Errno::Notdir),
        ("dir", "file", Errno::Notdir),
        ("empty", "dir", Errno::Notempty),
        ("dir", "dir/below", Errno::Inval),
        (".", "x", Errno::Busy),
        ("dir", ".", Errno::Busy),
        ("file", "none/x", Errno::Noent),
    ] {
        assert_eq!(calls.rename((3, from), (3, to)), Err(errno), "{from} {to}");
    }
    assert_eq!(calls.rename((3, "file"), (dir, "inner")), Ok(()), "replaces it");
    assert_eq!(calls.cat(3, "dir/inner").as_deref(), Ok(&b"0123456789"[..]));
    assert_eq!(calls.rename((dir, "inner"), (3, "file")), Ok(()));
    assert_eq!(calls.rename((3, "dir/"), (3, "empty/")), Ok(()), "an empty one may be replaced");
    assert_eq!(calls.rename((3, "link"), (3, "dir")), Ok(()), "the link, not the file");
    let expected = ["dir", "empty", "file", "to-dir"].map(String::from);
    assert_eq!(calls.names(3, "."), Ok(expected.to_vec()));
    assert_eq!(calls.readlink(3, "dir", 99).as_deref(), Ok(&b"file"[..]));
}

fn hard_links_are_the_same_file(tree: &Tree) {
    let mut calls = plant(tree);
    assert_eq!(calls.link((3, "file"), 0, (3, "dir/hard")), Ok(()));
    let (one, two) = (calls.stat(3, "file"), calls.stat(3, "dir/hard"));
    assert_eq!(one, two);
    assert_eq!(one.map(|stat| stat.nlink), Ok(2));
    // Following gives the file a name, not following the link.
    assert_eq!(calls.link((3, "link"), 1, (3, "followed")), Ok(()));
    assert_eq!(calls.statat(3, "followed", 0).map(|stat| stat.filetype), Ok(FILE));
    assert_eq!(calls.link((3, "link"), 0, (3, "itself")), Ok(()));
    assert_eq!(calls.statat(3, "itself", 0).map(|stat| stat.filetype), Ok(LINK));
    for (from, to, errno) in [
        ("dir", "x", Errno::Perm),
        (".", "x", Errno::Perm),
        ("none", "x", Errno::Noent),
        ("file", "link", Errno::Exist),
        ("file", "dir", Errno::Exist),
        ("file", "x/", Errno::Noent),
        ("file/", "x", Errno::Notdir),
        ("file", "none/x", Errno::Noent),
    ] {
        assert_eq!(calls.link((3, from), 0, (3, to)), Err(errno), "{from} {to}");
    }
}

fn links_are_made_where_nothing_is(tree: &Tree) {
    let mut calls = plant(tree);
    for path in ["file", "dir", "dir/", "link", "."] {
        assert_eq!(calls.symlink("text", 3, path), Err(Errno::Exist), "{path}");
    }
    assert_eq!(calls.symlink("text", 3, "new/"), Err(Errno::Noent));
    assert_eq!(calls.symlink("", 3, "new"), Err(Errno::Noent));
    assert_eq!(calls.symlink("/abs", 3, "new"), Err(Errno::Perm));
    assert_eq!(calls.symlink("inner", 3, "to-dir/new"), Ok(()));
    assert_eq!(calls.cat(3, "dir/new").as_deref(), Ok(&b"inner"[..]));
}
