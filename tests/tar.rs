//! Tar images: what they show, and what they refuse.
#![cfg(feature = "tar")]

#[path = "backends/readonly.rs"]
#[allow(dead_code)]
mod readonly;
#[path = "backends/support.rs"]
#[allow(dead_code)]
mod support;

use support::*;
use tinyhost::vfs::Opened;
use tinyhost::vfs::tar::{self, TarErrorKind as Kind};
use tinyhost::vfs::{Errno, Filetype};

/// A tar in the making.
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

/// What a header says.
struct Header<'a> {
    name: &'a [u8],
    link: &'a str,
    prefix: &'a str,
    size: u64,
    kind: u8,
    magic: &'a [u8; 8],
}

impl Default for Header<'_> {
    fn default() -> Self {
        Header { name: b"", link: "", prefix: "", size: 0, kind: b'0', magic: b"ustar\x0000" }
    }
}

fn block(header: Header<'_>) -> [u8; 512] {
    let mut block = [0; 512];
    let mut field = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, header.name);
    field(100, b"0000644\0");
    field(124, format!("{:011o}\0", header.size).as_bytes());
    field(136, b"00000001750\0"); // 1000 seconds
    field(156, &[header.kind]);
    field(157, header.link.as_bytes());
    field(257, header.magic);
    field(345, header.prefix.as_bytes());
    sum(&mut block);
    block
}

/// Puts the right checksum in.
fn sum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    fn add(mut self, header: Header<'_>, data: &[u8]) -> Tar {
        let size = if header.size == 0 { data.len() as u64 } else { header.size };
        self.0.extend(block(Header { size, ..header }));
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, kind: u8, name: &str, data: &[u8]) -> Tar {
        self.add(Header { name: name.as_bytes(), kind, ..Header::default() }, data)
    }

    fn file(self, name: &str, data: &str) -> Tar {
        self.entry(b'0', name, data.as_bytes())
    }

    fn link(self, kind: u8, name: &str, link: &str) -> Tar {
        self.add(Header { name: name.as_bytes(), link, kind, ..Header::default() }, b"")
    }

    /// A pax header for the next entry.
    fn pax(self, records: &[(&str, &str)]) -> Tar {
        let data: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.entry(b'x', "PaxHeaders/x", data.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    fn open(self) -> Root {
        tar::open(self.end()).expect("a good image")
    }

    fn refused(self, kind: Kind, offset: u64) {
        let error = tar::open(self.end()).err().expect("a bad image");
        assert_eq!((error.kind, error.offset), (kind, offset), "{error}");
    }
}

/// A pax record begins with its own length.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let fits = |len: &usize| len.to_string().len() + rest.len() == *len;
    let len = (rest.len()..).find(fits).expect("there is one");
    format!("{len}{rest}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Stored blocks: what deflate makes of them is miniz_oxide's business.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = bytes.chunks(60_000).peekable();
    while let Some(chunk) = chunks.next() {
        let len = chunk.len() as u16;
        packed.push(u8::from(chunks.peek().is_none()));
        packed.extend(len.to_le_bytes().into_iter().chain((!len).to_le_bytes()));
        packed.extend(chunk);
    }
    let crc = bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| c >> 1 ^ (0xedb8_8320 * (c & 1)))
    });
    packed.extend((!crc).to_le_bytes());
    packed.extend((bytes.len() as u32).to_le_bytes());
    packed
}

fn sample() -> Tar {
    Tar::default()
        .entry(b'5', "d/", b"")
        .file("d/f", "bytes")
        .file("g", &"0123456789".repeat(1000))
        .link(b'2', "l", "d/f")
        .link(b'1', "d/hard", "g")
        .file("far/below/x", "implied")
}

#[test]
fn an_image_is_a_tree() {
    let root = sample().open();
    let base = place(&root);
    assert_eq!(names_in(&root), ["d", "far", "g", "l"]);
    assert_eq!(cat(&base, "l").as_deref(), Ok(&b"bytes"[..]));
    assert_eq!(cat(&base, "far/below/x").as_deref(), Ok(&b"implied"[..]));
    assert_eq!(cat(&base, "d/../g").map(|bytes| bytes.len()), Ok(10_000));
    let (f, g, l) = (stat(&child(&root, "d"), "f"), stat(&root, "g"), stat(&root, "l"));
    assert_eq!((f.filetype, f.size, f.nlink), (Filetype::RegularFile, 5, 1));
    assert_eq!((f.mtim, f.atim, f.ctim), (1_000_000_000_000, 1_000_000_000_000, f.mtim));
    assert_eq!((g.nlink, g.ino), (2, stat(&child(&root, "d"), "hard").ino));
    assert_eq!((l.filetype, l.size), (Filetype::SymbolicLink, 3));
    assert_eq!((stat(&root, "d").nlink, root.stat().expect("stat").nlink), (2, 4));
    let mut file = child(&root, "g").open(READ).and_then(Opened::at_once).expect("open");
    assert_eq!(read(&mut *file, 7, 9_995).as_deref(), Ok(&b"56789"[..]));
    assert_eq!(read(&mut *file, 7, u64::MAX).as_deref(), Ok(&b""[..]));
    refused!(file.readdir(0, &mut |_| true), Notdir);
    refused!(child(&root, "l").open(READ), Loop);
    refused!(child(&root, "g").lookup(name("x")), Notdir);
    absent(&root, "x");
}

#[test]
fn an_image_does_not_change() {
    let root = sample().open();
    readonly::every_change_is_refused(&root);
    assert_eq!(
        read_all(&mut *child(&root, "g").open(READ).and_then(Opened::at_once).expect("open")).len(),
        10_000
    );
}

#[test]
fn a_directory_is_listed_in_parts() {
    let tar = (0..40).fold(Tar::default(), |tar, n| tar.file(&format!("f{n}"), ""));
    let root = tar.open();
    let mut open = root.open(READ).and_then(Opened::at_once).expect("open");
    let all = list(&mut *open, 0, 99);
    assert_eq!(all.len(), 42);
    assert_eq!((all[0].name.as_str(), all[1].name.as_str()), (".", ".."));
    assert_eq!(list(&mut *open, all[9].next, 10), all[10..20]);
    assert!(list(&mut *open, u64::MAX, 9).is_empty());
    assert!(list(&mut *open, 42, 9).is_empty());
}

#[test]
fn gzip_is_unpacked() {
    let packed = gzip(&sample().end());
    let root = tar::open(packed.clone()).expect("good");
    assert_eq!(cat(&place(&root), "l").as_deref(), Ok(&b"bytes"[..]));
    let mut bad = packed.clone();
    bad[600] ^= 1;
    let error = tar::open(bad).err().expect("a wrong byte");
    assert!(matches!(error.kind, Kind::Gzip(_)), "{error}");
    let error = tar::open(packed[..packed.len() - 3].to_vec()).err().expect("cut");
    assert_eq!(error.offset, packed.len() as u64 - 3);
    assert!(error.to_string().contains("download"), "{error}");
    assert!(tar::open([&packed[..], b"more"].concat()).is_err());
}

#[test]
fn long_names_in_three_dialects() {
    let dir = "long".repeat(30);
    let path = format!("{dir}/{}", "x".repeat(200));
    let target = "t/".repeat(200);
    let data = |text: &str| [text.as_bytes(), b"\0"].concat();
    let gnu = *b"ustar  \0";
    let root = Tar::default()
        .entry(b'L', "././@LongLink", &data(&path))
        .entry(b'K', "././@LongLink", &data(&target))
        .link(b'2', "cut", "cut")
        .file("after", "not long")
        .open();
    assert_eq!(names_in(&root), ["after", dir.as_str()]);
    assert_eq!(child(&child(&root, &dir), &"x".repeat(200)).readlink().as_ref(), Ok(&target));
    let root = Tar::default()
        .pax(&[("path", &path), ("linkpath", &target), ("mtime", "12.5"), ("comment", "\n=\n")])
        .link(b'2', "cut", "cut")
        .open();
    let link = child(&child(&root, &dir), &"x".repeat(200));
    assert_eq!(link.readlink().as_ref(), Ok(&target));
    assert_eq!(link.stat().map(|stat| stat.mtim), Ok(12_500_000_000));
    let header = Header { name: b"x", prefix: "a/b", ..Header::default() };
    let root = Tar::default().add(header, b"posix").open();
    assert_eq!(cat(&place(&root), "a/b/x").as_deref(), Ok(&b"posix"[..]));
    let header = Header { name: b"x", prefix: "\x01\x02", magic: &gnu, ..Header::default() };
    assert_eq!(names_in(&Tar::default().add(header, b"gnu").open()), ["x"]);
}

#[test]
fn pax_sizes_and_globals_count() {
    let mut tar = Tar::default().pax(&[("size", "5")]);
    tar.0.extend(block(Header { name: b"f", size: 0, ..Header::default() }));
    tar.0.extend(b"12345");
    tar.0.resize(tar.0.len().next_multiple_of(512), 0);
    let global = record("mtime", "-3.25");
    let root = tar.entry(b'g', "global", global.as_bytes()).file("g", "").file("h", "").open();
    assert_eq!(
        read_all(&mut *child(&root, "f").open(READ).and_then(Opened::at_once).expect("open")),
        b"12345"
    );
    assert_eq!((stat(&root, "f").mtim, stat(&root, "h").mtim), (1_000_000_000_000, 0));
}

#[test]
fn the_later_entry_wins() {
    let root = Tar::default()
        .file("f", "old")
        .file("a", "becomes a directory")
        .file("b/x", "goes with its directory")
        .entry(b'5', "c", b"")
        .file("c/x", "stays")
        .link(b'2', "l", "/etc")
        .file("f", "new")
        .file("a/y", "inside")
        .file("b", "a file now")
        .entry(b'5', "c", b"")
        .file("l/z", "not through the link")
        .open();
    let base = place(&root);
    for (path, bytes) in [
        ("f", "new"),
        ("a/y", "inside"),
        ("b", "a file now"),
        ("c/x", "stays"),
        ("l/z", "not through the link"),
    ] {
        assert_eq!(cat(&base, path).as_deref(), Ok(bytes.as_bytes()), "{path}");
    }
    assert_eq!(root.stat().expect("stat").nlink, 5);
}

#[test]
fn odd_but_good() {
    let root = Tar::default()
        .entry(b'5', "./", b"")
        .file("/abs", "slash dropped")
        .file(".//a/./b", "dots dropped")
        .entry(0, "v7/", b"")
        .entry(0, "v7/f", b"old")
        .entry(b'7', "contiguous", b"c")
        .entry(b'3', "device", b"")
        .entry(b'V', "label", b"")
        .link(b'1', "abs", "abs")
        .open();
    assert_eq!(names_in(&root), ["a", "abs", "contiguous", "v7"]);
    assert_eq!(cat(&place(&root), "a/b").as_deref(), Ok(&b"dots dropped"[..]));
    assert_eq!(cat(&place(&root), "v7/f").as_deref(), Ok(&b"old"[..]));
    assert_eq!(root.stat().expect("stat").mtim, 1_000_000_000_000);
    assert!(names_in(&Tar::default().open()).is_empty());
}

#[test]
fn hostile_paths_are_refused() {
    let ok = || Tar::default().file("ok", "");
    for path in ["..", "../x", "a/../../x", "a/..", "/../x"] {
        ok().file(path, "").refused(Kind::DotDot, 512);
    }
    ok().link(b'1', "hard", "../../etc/passwd").refused(Kind::DotDot, 512);
    ok().link(b'1', "hard", "later").file("later", "").refused(Kind::HardLink, 512);
    ok().entry(b'5', "d", b"").link(b'1', "hard", "d").refused(Kind::HardLink, 1024);
    ok().file("", "").refused(Kind::Name, 512);
    ok().file(".", "").refused(Kind::Name, 512);
    ok().link(b'2', "l", "").refused(Kind::Name, 512);
    ok().add(Header { name: b"\xff\xfe", ..Header::default() }, b"").refused(Kind::Name, 512);
    ok().entry(b'L', "x", &[b'x'; 300]).file("x", "").refused(Kind::Name, 1536);
    ok().entry(b'L', "x", &b"x/".repeat(3000)).file("x", "").refused(Kind::Name, 512);
    ok().pax(&[("path", "a\0b")]).file("x", "").refused(Kind::Name, 1024);
    ok().pax(&[("path", "../x")]).file("x", "").refused(Kind::DotDot, 1536);
    // A symbolic link may say what it likes: it is only text until it is walked.
    let root = ok().link(b'2', "l", "../../etc").open();
    assert_eq!(go(&place(&root), "l").err(), Some(Errno::Notcapable));
}

#[test]
fn broken_archives_are_refused() {
    let error = |bytes: Vec<u8>| tar::open(bytes).err().expect("bad");
    assert_eq!(error(b"#!/bin/sh\n".repeat(100)).kind, Kind::NotTar);
    assert_eq!(error(b"\xfd7zXZ\0\0\x04".to_vec()).kind, Kind::Compressed("xz"));
    assert_eq!(error(Vec::new()).kind, Kind::Truncated);
    let good = sample().end();
    let mut bad = good.clone();
    bad[512 + 3] ^= 1;
    assert_eq!((error(bad.clone()).kind, error(bad).offset), (Kind::Checksum, 512));
    for size in [5000, 1 << 32] {
        let header = Header { name: b"f", size, ..Header::default() };
        Tar::default().add(header, b"short").refused(Kind::Truncated, 0);
    }
    let number = |at: usize, field: &[u8]| {
        let mut header = block(Header { name: b"f", ..Header::default() });
        header[at..at + 12].copy_from_slice(field);
        sum(&mut header);
        Tar(header.to_vec())
    };
    number(124, b"123456789ab\0").refused(Kind::Number("size"), 0);
    number(124, &[0xff; 12]).refused(Kind::Number("size"), 0);
    number(124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
        .refused(Kind::Number("size"), 0);
    number(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff").refused(Kind::Truncated, 0);
    number(136, b"yesterday!!\0").refused(Kind::Number("mtime"), 0);
    let old = number(136, &[0xff; 12]).open();
    assert_eq!(stat(&old, "f").mtim, 0);
    for kind in [b'S', b'M'] {
        Tar::default().entry(kind, "f", b"").refused(Kind::Unsupported, 0);
    }
    Tar::default().pax(&[("GNU.sparse.major", "1")]).refused(Kind::Unsupported, 512);
    let records = [
        "",
        "x",
        "5 a=b",
        "99 a=b\n",
        "6 a=bc",
        "6 abcd\n",
        "0 a=b\n",
        "18446744073709551616 a=b\n",
    ];
    for record in &records[1..] {
        Tar::default().entry(b'x', "x", record.as_bytes()).refused(Kind::Pax, 512);
    }
    Tar::default().pax(&[("size", "-1")]).refused(Kind::Number("size"), 512);
    Tar::default().pax(&[("mtime", "1.x")]).refused(Kind::Number("mtime"), 512);
}

/// Cut anywhere, or with any byte changed, an image is refused or opens; it never panics,
/// and what opens can be walked through.
#[test]
fn no_damage_is_fatal() {
    let good = sample().pax(&[("path", "p"), ("size", "3")]).file("x", "abc").end();
    let marked = good.len() - 1024;
    for end in 0..=marked {
        assert_eq!(tar::open(good[..end].to_vec()).err().map(|_| ()), Some(()), "{end}");
    }
    for at in 0..marked {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            if let Ok(root) = tar::open(bad) {
                names_in(&root);
            }
        }
    }
}

/// Every error says what to do about it.
#[test]
fn errors_help() {
    let error = tar::open(b"x".repeat(512)).err().expect("bad");
    assert_eq!(
        error.to_string(),
        "tar image, byte 0: not a tar header; give a .tar or .tar.gz file"
    );
}

/// A path with a thousand directories in each entry: the count of nodes is what is limited.
#[test]
fn too_many_nodes_are_refused() {
    let deep = "/d".repeat(1900);
    let tar = (0..tar::NODES_MAX / 1900 + 1)
        .fold(Tar::default(), |tar, n| tar.pax(&[("path", &format!("{n}{deep}"))]).file("x", ""));
    let error = tar::open(tar.end()).err().expect("too many");
    assert_eq!(error.kind, Kind::TooMany);
}
