//! Names that mean something else by the time they are used.

use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::vfs::walk::{Follow, Walked};
use crate::vfs::{Filetype, SetTime, Times};

/// `tree`, where a guest is, and `outside`, where the same names lead to other things.
fn arena() -> Scratch {
    Scratch::with(&[
        "tree/dir",
        "tree/dir/file=inside",
        "tree/file=inside",
        "outside/sub",
        "outside/file=secret",
    ])
}

fn tree(scratch: &Scratch) -> Arc<dyn Node> {
    open(&scratch.path("tree")).unwrap()
}

fn swap_for_link(scratch: &Scratch, path: &str, target: &str) {
    fs::rename(scratch.path(path), scratch.path("away")).unwrap();
    symlink(scratch.path(target), scratch.path(path)).unwrap();
}

#[test]
fn a_directory_swapped_for_a_link_is_not_entered() {
    let scratch = arena();
    let dir = tree(&scratch).lookup(name("dir")).unwrap();
    assert_eq!(dir.stat().unwrap().filetype, Filetype::Directory);
    swap_for_link(&scratch, "tree/dir", "outside");
    let refused = |error| matches!(error, Errno::Notdir | Errno::Loop);
    assert!(refused(error(dir.lookup(name("file")))));
    assert!(refused(error(dir.create(name("new"), WRITE))));
    assert!(refused(error(dir.unlink(name("file")))));
    assert!(refused(error(dir.remove_directory(name("sub")))));
    assert!(refused(error(dir.rename(name("file"), &tree(&scratch), name("x")))));
    assert!(refused(error(dir.open(READ))));
    assert!(dir.descend("sub").is_none());
    let before = fs::metadata(scratch.path("outside")).unwrap();
    dir.set_times(Times { atim: None, mtim: Some(SetTime::To(1)) }).unwrap();
    let after = fs::metadata(scratch.path("outside")).unwrap();
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
}

#[test]
fn a_file_swapped_for_a_link_is_not_opened() {
    let scratch = arena();
    let file = tree(&scratch).lookup(name("file")).unwrap();
    swap_for_link(&scratch, "tree/file", "outside/file");
    for how in [LOOK, READ, WRITE, Open { truncate: true, ..BOTH }] {
        assert_eq!(error(file.open(how)), Errno::Loop);
    }
    assert_eq!(scratch.text("outside/file"), "secret");
}

#[test]
fn what_is_opened_decides_what_it_is() {
    let scratch = arena();
    let file = tree(&scratch).lookup(name("file")).unwrap();
    fs::remove_file(scratch.path("tree/file")).unwrap();
    assert_eq!(error(file.open(READ)), Errno::Noent);
    fs::create_dir(scratch.path("tree/file")).unwrap();
    let mut open = file.open(READ).unwrap().at_once().unwrap();
    assert_eq!(open.stat().unwrap().filetype, Filetype::Directory);
    assert_eq!(open.readdir(0, &mut |_| true), Ok(()));
    let dir = tree(&scratch).lookup(name("dir")).unwrap();
    fs::remove_dir_all(scratch.path("tree/dir")).unwrap();
    fs::write(scratch.path("tree/dir"), "").unwrap();
    assert_eq!(error(dir.open(READ)), Errno::Notdir);
}

#[test]
fn a_directory_moved_out_is_no_way_up() {
    let scratch = arena();
    fs::create_dir_all(scratch.path("tree/a/b")).unwrap();
    let base = base(tree(&scratch));
    let (b, _) = walk(&base, "a/b", Follow::IfSlash).unwrap().existing().unwrap();
    b.node.open(READ).unwrap().at_once().unwrap();
    fs::rename(scratch.path("tree/a/b"), scratch.path("outside/b")).unwrap();
    assert_eq!(walk(&b, "../file", Follow::IfSlash).err(), Some(Errno::Notcapable));
    assert_eq!(walk(&base, "a/b/../../file", Follow::IfSlash).err(), Some(Errno::Noent));
}

/// What a guest might try, over and over, with a path that changes its meaning meanwhile.
fn attack(base: &Place, random: &mut Random) -> Result<()> {
    let path = random.pick(&["swap/file", "leaf", "swap/new", "swap/./file", "swap/sub/../file"]);
    let follow = [Follow::Yes, Follow::IfSlash, Follow::No][random.below(3)];
    let Walked::Entry(entry) = walk(base, path, follow)? else { return Ok(()) };
    let dir = &entry.dir.node;
    match random.below(6) {
        0 => drop(dir.create(entry.name(), WRITE)?),
        1 => dir.unlink(name("new"))?,
        2 => drop(
            entry
                .found
                .ok_or(Errno::Noent)?
                .0
                .node
                .open(Open { truncate: true, ..LOOK })?
                .at_once()?,
        ),
        3 => {
            let node = entry.found.ok_or(Errno::Noent)?.0.node;
            node.set_times(Times { atim: None, mtim: Some(SetTime::To(1)) })?;
        }
        _ => {
            let mut file = entry.found.ok_or(Errno::Noent)?.0.node.open(BOTH)?.at_once()?;
            assert_ne!(read(&mut *file, 99, 0)?, "secret");
            write(&mut *file, "inside", 0)?;
        }
    }
    Ok(())
}

#[test]
fn no_race_leads_outside() {
    let scratch = arena();
    for (text, kept) in [("outside", "link"), ("outside/file", "leaf-link")] {
        symlink(scratch.path(text), scratch.path(kept)).unwrap();
    }
    fs::rename(scratch.path("tree/dir"), scratch.path("tree/swap")).unwrap();
    fs::rename(scratch.path("tree/file"), scratch.path("tree/leaf")).unwrap();
    let before = outside(&scratch);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (name, link) in [("tree/swap", "link"), ("tree/leaf", "leaf-link")] {
                    let (name, link) = (scratch.path(name), scratch.path(link));
                    renameat_with(CWD, name, CWD, link, RenameFlags::EXCHANGE).unwrap();
                }
            }
        });
        let _stop = StopOnDrop(&stop);
        let quick = base(tree(&scratch));
        let slow = HostDir::open(&scratch.path("tree")).unwrap().without_shortcut();
        let bases = [quick, base(slow.node())];
        let (mut done, mut random) = (0, Random(3));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) || done <= 10 {
            assert!(start.elapsed() < LIMIT, "only {done} attempts met a tree in order");
            match attack(&bases[random.below(2)], &mut random) {
                Ok(()) => done += 1,
                // EINVAL: a link that became a directory before its text was read.
                Err(Errno::Noent | Errno::Notcapable | Errno::Loop) => {}
                Err(Errno::Notdir | Errno::Isdir | Errno::Exist | Errno::Inval) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    assert_eq!(outside(&scratch), before);
}

/// Far longer than it takes on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(300);

/// Stops the swapping thread even if the test fails, so that the scope can end.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Everything about `outside` that a guest could have changed.
fn outside(scratch: &Scratch) -> Vec<(String, String, i64, i64)> {
    let entry = |path: PathBuf| {
        let meta = fs::metadata(&path).unwrap();
        let text = if meta.is_dir() { String::new() } else { fs::read_to_string(&path).unwrap() };
        (path.display().to_string(), text, meta.mtime(), meta.mtime_nsec())
    };
    let dir = scratch.path("outside");
    let mut all: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|child| entry(child.unwrap().path())).collect();
    all.push(entry(dir));
    all.sort();
    all
}
