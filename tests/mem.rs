//! What only the tree in memory promises: its quota, its clock, its depth, its seeds.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tinyhost::vfs::{
    Errno, File, Filetype, Name, Node, Open, Opened, Result, SetTime, Stat, Times, mem,
};

type Root = Arc<dyn Node>;

const BOTH: Open = Open { read: true, write: true, truncate: false, nonblock: false };
/// What a file with a name of one byte costs, empty; pinned by the first test.
const FILE_COST: u64 = 256 + 128 + 1;

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a name")
}

fn create(dir: &Root, text: &str) -> Box<dyn File> {
    dir.create(name(text), BOTH).expect("create")
}

fn write(file: &mut dyn File, bytes: &[u8], offset: u64) -> Result<usize> {
    file.write(&[IoSlice::new(bytes)], offset)
}

fn read(file: &mut dyn File) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let n = file.read(&mut [IoSliceMut::new(&mut bytes)], 0).expect("read");
    bytes.truncate(n);
    bytes
}

fn size(file: &mut dyn File) -> u64 {
    file.stat().expect("stat").size
}

/// A tree with one empty file in it and this much room left, and the file.
fn room(bytes: u64) -> (Root, Box<dyn File>) {
    let root = mem::tree(Some(FILE_COST + bytes));
    let file = create(&root, "f");
    (root, file)
}

#[test]
fn the_smallest_file_costs_what_is_said() {
    assert_eq!(mem::tree(Some(FILE_COST - 1)).create(name("f"), BOTH).err(), Some(Errno::Nospc));
    let (root, _) = room(0);
    assert_eq!(root.create(name("g"), BOTH).err(), Some(Errno::Nospc));
    assert_eq!(root.symlink(name("g"), "x").err(), Some(Errno::Nospc));
    assert_eq!(root.create_directory(name("g")).err(), Some(Errno::Nospc));
    assert_eq!(root.link(name("f"), &root, name("g")).err(), Some(Errno::Nospc));
    assert_eq!(root.lookup(name("g")).err(), Some(Errno::Noent));
}

#[test]
fn a_write_takes_what_fits() {
    let (_root, mut file) = room(10);
    assert_eq!(write(&mut *file, b"012345", 0), Ok(6));
    let bufs = [IoSlice::new(b"67"), IoSlice::new(b"89xx")];
    assert_eq!(file.append(&bufs), Ok((4, 10)));
    assert_eq!(write(&mut *file, b"x", 10), Err(Errno::Nospc));
    assert_eq!(file.append(&bufs).err(), Some(Errno::Nospc));
    assert_eq!(write(&mut *file, b"AB", 9), Ok(1));
    assert_eq!(read(&mut *file), b"012345678A");
    assert_eq!(write(&mut *file, b"", 10), Ok(0));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let (root, mut file) = room(10);
    write(&mut *file, b"0123", 0).expect("write");
    let before = root.lookup(name("f")).and_then(|node| node.stat()).expect("stat");
    for beyond in [11, 12, 1 << 20, mem::FILE_MAX] {
        assert_eq!(file.set_len(beyond), Err(Errno::Nospc));
        assert_eq!(file.allocate(0, beyond), Err(Errno::Nospc));
        assert_eq!(file.allocate(beyond - 1, 1), Err(Errno::Nospc));
    }
    for far in [10, 11, 1 << 20, mem::FILE_MAX - 1] {
        assert_eq!(write(&mut *file, b"x", far), Err(Errno::Nospc));
    }
    for beyond in [mem::FILE_MAX + 1, u64::MAX] {
        assert_eq!(file.set_len(beyond), Err(Errno::Fbig));
        assert_eq!(file.allocate(beyond, 1), Err(Errno::Fbig));
        assert_eq!(write(&mut *file, b"x", beyond), Err(Errno::Fbig));
    }
    let after = file.stat().expect("stat");
    assert_eq!((before, after), (after, before));
    assert_eq!(read(&mut *file), b"0123");
    // A hole counts as what it claims, and leaves only so much.
    assert_eq!(write(&mut *file, b"xyz", 8), Ok(2));
    assert_eq!(read(&mut *file), b"0123\0\0\0\0xy");
}

#[test]
fn room_comes_back() {
    let (root, mut file) = room(FILE_COST + 20);
    file.set_len(20).expect("set_len");
    let mut other = create(&root, "g");
    assert_eq!(write(&mut *other, b"x", 0), Err(Errno::Nospc));
    file.set_len(15).expect("cut");
    assert_eq!(write(&mut *other, &[1; 9], 0), Ok(5));
    // Unlinked, it counts as long as it is open.
    root.unlink(name("g")).expect("unlink");
    assert_eq!(file.set_len(15 + FILE_COST), Err(Errno::Nospc));
    drop(other);
    file.set_len(20 + FILE_COST).expect("all of it");
    root.lookup(name("f")).and_then(|f| f.open(Open { truncate: true, ..BOTH })).expect("open");
    for round in 0..100 {
        let text = format!("{}", round % 10);
        root.create_directory(name(&text)).expect("mkdir");
        root.remove_directory(name(&text)).expect("rmdir");
        root.symlink(name("l"), "text").expect("symlink");
        root.unlink(name("l")).expect("unlink");
        root.rename(name("f"), &root, name("k")).expect("rename");
        root.rename(name("k"), &root, name("f")).expect("rename");
    }
    file.set_len(20 + FILE_COST).expect("all of it, still");
}

#[test]
fn a_rename_needs_room_for_a_longer_name_only() {
    let (root, _file) = room(2);
    assert_eq!(root.rename(name("f"), &root, name("four")), Err(Errno::Nospc));
    root.rename(name("f"), &root, name("fff")).expect("just fits");
    root.rename(name("fff"), &root, name("g")).expect("shorter");
    let (root, _file) = room(FILE_COST);
    create(&root, "g");
    root.rename(name("f"), &root, name("g")).expect("replacing needs nothing");
    create(&root, "f");
}

#[test]
fn without_a_quota_a_file_is_at_most_four_gib() {
    let root = mem::tree(None);
    let mut file = create(&root, "f");
    file.set_len(mem::FILE_MAX).expect("a hole costs nothing");
    assert_eq!(file.set_len(mem::FILE_MAX + 1), Err(Errno::Fbig));
    assert_eq!(write(&mut *file, b"xyz", mem::FILE_MAX - 2), Ok(2));
    assert_eq!(write(&mut *file, b"x", mem::FILE_MAX), Err(Errno::Fbig));
    assert_eq!(file.append(&[IoSlice::new(b"x")]).err(), Some(Errno::Fbig));
    let mut end = [9; 4];
    let n = file.read(&mut [IoSliceMut::new(&mut end)], mem::FILE_MAX - 3);
    assert_eq!((n, end), (Ok(3), *b"\0xy\x09"));
    assert_eq!(size(&mut *file), mem::FILE_MAX);
}

/// A clock that moves only when it is told to.
fn clock() -> (Arc<AtomicU64>, mem::TreeClock) {
    let time = Arc::new(AtomicU64::new(100));
    (time.clone(), Arc::new(move || time.load(Ordering::Relaxed)))
}

#[test]
fn times_are_those_of_the_clock() {
    let (time, clock) = clock();
    let root = mem::tree_with_clock(None, clock);
    let at = |now: u64| time.store(now, Ordering::Relaxed);
    let times = |stat: Stat| (stat.atim, stat.mtim, stat.ctim);
    assert_eq!(times(root.stat().expect("stat")), (100, 100, 100));
    at(200);
    let mut file = create(&root, "f");
    assert_eq!(times(file.stat().expect("stat")), (200, 200, 200));
    assert_eq!(times(root.stat().expect("stat")), (100, 200, 200));
    at(300);
    write(&mut *file, b"x", 0).expect("write");
    assert_eq!(times(file.stat().expect("stat")), (200, 300, 300));
    at(400);
    read(&mut *file);
    assert_eq!(times(file.stat().expect("stat")), (400, 300, 300));
    at(500);
    root.link(name("f"), &root, name("g")).expect("link");
    assert_eq!(times(file.stat().expect("stat")), (400, 300, 500));
    at(600);
    file.set_times(Times { atim: Some(SetTime::To(7)), mtim: Some(SetTime::Now) }).expect("set");
    assert_eq!(times(file.stat().expect("stat")), (7, 600, 600));
    at(700);
    root.unlink(name("g")).expect("unlink");
    assert_eq!(times(file.stat().expect("stat")), (7, 600, 700));
    assert_eq!(times(root.stat().expect("stat")), (100, 700, 700));
}

#[test]
fn a_directory_counts_its_subdirectories() {
    let root = mem::tree(None);
    let nlink = |node: &Root| node.stat().expect("stat").nlink;
    for text in ["a", "b"] {
        root.create_directory(name(text)).expect("mkdir");
    }
    let (a, b) = (root.lookup(name("a")).expect("a"), root.lookup(name("b")).expect("b"));
    a.create_directory(name("c")).expect("mkdir");
    create(&a, "f");
    assert_eq!((nlink(&root), nlink(&a), nlink(&b)), (4, 3, 2));
    a.rename(name("c"), &b, name("c")).expect("rename");
    assert_eq!((nlink(&root), nlink(&a), nlink(&b)), (4, 2, 3));
    a.create_directory(name("c")).expect("mkdir");
    a.rename(name("c"), &b, name("c")).expect("replace");
    assert_eq!((nlink(&a), nlink(&b)), (2, 3));
    b.remove_directory(name("c")).expect("rmdir");
    root.remove_directory(name("b")).expect("rmdir");
    assert_eq!((nlink(&root), nlink(&b)), (3, 0));
}

fn nested(depth: usize) -> Root {
    let root = mem::tree(None);
    let mut dir = root.clone();
    for _ in 0..depth {
        dir.create_directory(name("d")).expect("mkdir");
        dir = dir.lookup(name("d")).expect("lookup");
    }
    create(&dir, "f");
    root
}

fn depth(root: &Root) -> usize {
    let down = |dir: &Root| dir.lookup(name("d")).ok();
    std::iter::successors(down(root), down).count()
}

#[test]
fn a_deep_tree_is_copied_and_dropped() {
    let root = nested(100_000);
    let copy = mem::seeded(&root, None).expect("seeded");
    drop(root);
    assert_eq!(depth(&copy), 100_000);
    assert_eq!(copy.create_directory(name("d")), Err(Errno::Exist));
    assert!(copy.rename(name("d"), &copy, name("e")).is_ok());
}

#[test]
fn a_seeded_tree_is_a_copy() {
    let from = mem::tree(None);
    let big: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let old = |ns| Times { atim: Some(SetTime::To(ns)), mtim: Some(SetTime::To(ns + 1)) };
    from.create_directory(name("d")).expect("mkdir");
    let d = from.lookup(name("d")).expect("lookup");
    let mut file = create(&d, "f");
    assert_eq!(write(&mut *file, &big, 0), Ok(big.len()));
    d.link(name("f"), &from, name("hard")).expect("link");
    from.symlink(name("l"), "../out").expect("symlink");
    for (text, ns) in [("l", 10), ("d", 20), ("hard", 30)] {
        from.lookup(name(text)).and_then(|node| node.set_times(old(ns))).expect("set_times");
    }
    from.set_times(old(40)).expect("set_times");

    let copy = mem::seeded(&from, Some(1 << 20)).expect("seeded");
    let stat = |text: &str| copy.lookup(name(text)).and_then(|node| node.stat()).expect("stat");
    let copied = copy.lookup(name("d")).and_then(|d| d.lookup(name("f"))).expect("d/f");
    for (stat, ns) in [
        (stat("l"), 10),
        (stat("d"), 20),
        (stat("hard"), 30),
        (copied.stat().expect("stat"), 30),
        (copy.stat().expect("stat"), 40),
    ] {
        assert_eq!((stat.atim, stat.mtim), (ns, ns + 1));
    }
    assert_eq!(copy.lookup(name("l")).and_then(|l| l.readlink()).as_deref(), Ok("../out"));
    assert_eq!((stat("hard").nlink, stat("hard").ino), (2, copied.stat().expect("stat").ino));
    assert_ne!(copy.stat().expect("stat").dev, from.stat().expect("stat").dev);
    let mut copied = copied.open(BOTH).and_then(Opened::at_once).expect("open");
    assert!(read(&mut *copied) == big);
    // From now on each goes its own way.
    write(&mut *copied, b"changed", 0).expect("write");
    assert!(read(&mut *file) == big);
    assert_eq!(mem::seeded(&from, Some(100_000)).map_err(|e| e.errno()).err(), Some(Errno::Nospc));
}

/// A directory with a device in it, of somebody else's making.
struct Odd;

impl Node for Odd {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        Ok(Opened::file(Odd))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Root> {
        match name.as_str() {
            "null" => Ok(Arc::new(Device)),
            _ => Err(Errno::Noent),
        }
    }
}

impl File for Odd {
    fn stat(&mut self) -> Result<Stat> {
        Node::stat(self)
    }

    fn readdir(&mut self, _cookie: u64, emit: &mut tinyhost::vfs::Emit<'_>) -> Result<()> {
        for (next, name) in (1..).zip([&b"."[..], b"..", b"null", b"gone"]) {
            let filetype = Filetype::Unknown;
            emit(tinyhost::vfs::Dirent { next, ino: 0, filetype, name });
        }
        Ok(())
    }
}

struct Device;

impl Node for Device {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::CharacterDevice))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        panic!("a device must not be opened to copy it");
    }
}

#[test]
fn seeding_leaves_out_what_is_no_file() {
    let odd: Root = Arc::new(Odd);
    let copy = mem::seeded(&odd, None).expect("seeded");
    let mut entries = 0;
    let mut open =
        copy.open(Open { read: true, ..Open::default() }).and_then(Opened::at_once).expect("open");
    open.readdir(0, &mut |_| {
        entries += 1;
        true
    })
    .expect("readdir");
    assert_eq!(entries, 2);
}

#[test]
fn listing_may_look_into_the_tree() {
    let root = mem::tree(None);
    create(&root, "f");
    let mut open =
        root.open(Open { read: true, ..Open::default() }).and_then(Opened::at_once).expect("open");
    open.readdir(0, &mut |entry| {
        if let Some(name) = std::str::from_utf8(entry.name).ok().and_then(Name::new) {
            assert_eq!(root.lookup(name).and_then(|f| f.stat()).map(|s| s.ino), Ok(entry.ino));
        }
        true
    })
    .expect("readdir");
}

#[test]
fn threads_share_a_tree() {
    let root = mem::tree(Some(1 << 20));
    create(&root, "log");
    std::thread::scope(|scope| {
        for id in 0..4 {
            let root = root.clone();
            scope.spawn(move || {
                let log = root.lookup(name("log")).expect("log");
                for round in 0..200 {
                    let text = format!("{id}-{round}");
                    let mut file = create(&root, &text);
                    write(&mut *file, text.as_bytes(), 0).expect("write");
                    root.rename(name(&text), &root, name("last")).expect("rename");
                    log.open(BOTH)
                        .and_then(Opened::at_once)
                        .and_then(|mut f| f.append(&[IoSlice::new(b"x")]))
                        .expect("log");
                }
            });
        }
    });
    let mut log = root
        .lookup(name("log"))
        .and_then(|log| log.open(BOTH))
        .and_then(Opened::at_once)
        .expect("open");
    assert_eq!(size(&mut *log), 800);
}

#[test]
fn nothing_can_be_moved_into_what_was_removed() {
    let root = mem::tree(None);
    for dir in ["a", "x"] {
        root.create_directory(name(dir)).expect("mkdir");
    }
    let a = root.lookup(name("a")).expect("a");
    a.create_directory(name("b")).expect("mkdir");
    let b = a.lookup(name("b")).expect("b");
    a.remove_directory(name("b")).expect("rmdir");
    root.remove_directory(name("a")).expect("rmdir");
    drop(a);
    // What it was in is gone altogether.
    assert_eq!(root.rename(name("x"), &b, name("y")), Err(Errno::Noent));
}

/// A directory with one file that may not be read, and one more name.
struct Unreadable(&'static [u8], u64);

impl Node for Unreadable {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        Ok(Opened::file(Unreadable(self.0, self.1)))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Root> {
        match name.as_str() {
            "d" => Ok(Arc::new(Unreadable(b"big", self.1))),
            "big" => Ok(Arc::new(Big(self.1))),
            _ => Err(Errno::Noent),
        }
    }
}

impl File for Unreadable {
    fn stat(&mut self) -> Result<Stat> {
        Node::stat(self)
    }

    fn readdir(&mut self, _cookie: u64, emit: &mut tinyhost::vfs::Emit<'_>) -> Result<()> {
        emit(tinyhost::vfs::Dirent { next: 1, ino: 0, filetype: Filetype::Unknown, name: self.0 });
        Ok(())
    }
}

struct Big(u64);

impl Node for Big {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat { size: self.0, ..Stat::of(Filetype::RegularFile) })
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        panic!("what can't be held must not be read");
    }
}

#[test]
fn what_can_not_be_seeded_is_named_before_it_is_read() {
    let said = |name, size, quota| {
        let from: Root = Arc::new(Unreadable(name, size));
        let error = mem::seeded(&from, quota).err().expect("refused");
        (error.errno(), error.to_string())
    };
    let text = "'d/big' has 5000000000 bytes, and a file in memory holds at most 4294967296: \
                leave it out";
    assert_eq!(said(b"d", 5_000_000_000, None), (Errno::Fbig, text.to_owned()));
    let text = "'big' has 2000 bytes, and the quota leaves 1000: raise it with quota=SIZE";
    assert_eq!(said(b"big", 2000, Some(1000)), (Errno::Nospc, text.to_owned()));
    let text = r"the name 'a\xff\x1b' is not UTF-8: rename it";
    assert_eq!(said(b"a\xff\x1b", 0, None), (Errno::Ilseq, text.to_owned()));
}
