//! Regular files: opening, reading and writing at offsets, appending, lengths.

use super::*;

fn open_file(scratch: &Scratch, how: Open) -> Result<Box<dyn File>> {
    scratch.node().lookup(name("file"))?.open(how)?.at_once()
}

#[test]
fn truncating_needs_no_right_to_write() {
    for (read, write) in [(false, false), (true, false), (false, true), (true, true)] {
        let scratch = Scratch::with(&["file=text"]);
        open_file(&scratch, Open { read, write, truncate: false, nonblock: false }).unwrap();
        assert_eq!(scratch.text("file"), "text");
        let mut file =
            open_file(&scratch, Open { read, write, truncate: true, nonblock: false }).unwrap();
        assert_eq!(file.stat().unwrap().size, 0);
        fs::write(scratch.path("file"), "new").unwrap();
        if read {
            assert_eq!(super::read(&mut *file, 9, 0), Ok("new".into()));
        }
    }
}

#[test]
fn reads_and_writes_are_where_they_are_told() {
    let scratch = Scratch::with(&["file=0123456789"]);
    let mut file = open_file(&scratch, BOTH).unwrap();
    let (mut one, mut two) = ([0; 2], [0; 3]);
    let bufs = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(file.read(bufs, 4), Ok(5));
    assert_eq!((&one, &two), (b"45", b"678"));
    assert_eq!(file.write(&[IoSlice::new(b"a"), IoSlice::new(b"bc")], 1), Ok(3));
    assert_eq!(scratch.text("file"), "0abc456789");
    assert_eq!(read(&mut *file, 9, 10), Ok(String::new()));
    assert_eq!(write(&mut *file, "z", 12), Ok(1));
    assert_eq!(scratch.text("file"), "0abc456789\0\0z");
    for beyond in [u64::MAX, 1 << 63] {
        assert_eq!(read(&mut *file, 1, beyond), Err(Errno::Inval));
        assert_eq!(write(&mut *file, "x", beyond), Err(Errno::Inval));
    }
    assert_eq!(file.stat().unwrap().size, 13);
    assert_eq!((file.sync(true), file.sync(false)), (Ok(()), Ok(())));
    assert!(!file.is_terminal());
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let scratch = Scratch::with(&["file=text", "dir"]);
    let mut file = open_file(&scratch, READ).unwrap();
    assert_eq!(write(&mut *file, "x", 0), Err(Errno::Badf));
    assert_eq!(file.append(&[IoSlice::new(b"x")]), Err(Errno::Badf));
    assert!(file.set_len(0).is_err() && file.allocate(0, 100).is_err());
    let mut file = open_file(&scratch, WRITE).unwrap();
    assert_eq!(read(&mut *file, 1, 0), Err(Errno::Badf));
    assert_eq!(scratch.text("file"), "text");
    let dir = scratch.node().lookup(name("dir")).unwrap();
    assert_eq!(error(dir.open(WRITE)), Errno::Isdir);
    assert_eq!(error(dir.open(Open { truncate: true, ..READ })), Errno::Isdir);
    assert!(read(&mut *dir.open(READ).unwrap().at_once().unwrap(), 1, 0).is_err());
    assert_eq!(file.readdir(0, &mut |_| true), Err(Errno::Notdir));
}

#[test]
fn lengths_can_be_set() {
    let scratch = Scratch::with(&["file=text"]);
    let mut file = open_file(&scratch, WRITE).unwrap();
    file.set_len(6).unwrap();
    assert_eq!(scratch.text("file"), "text\0\0");
    file.set_len(2).unwrap();
    assert_eq!(scratch.text("file"), "te");
    for beyond in [u64::MAX, 1 << 63] {
        assert_eq!(file.set_len(beyond), Err(Errno::Inval));
    }
}

#[test]
fn allocating_extends_and_never_cuts() {
    let scratch = Scratch::with(&["file=text"]);
    let mut file = open_file(&scratch, WRITE).unwrap();
    for (offset, len, size) in [(0, 100, 100), (10, 10, 100), (90, 20, 110), (0, 110, 110)] {
        file.allocate(offset, len).unwrap();
        assert_eq!(file.stat().unwrap().size, size, "{offset} + {len}");
    }
    assert_eq!(file.allocate(0, 0), Err(Errno::Inval));
    for (offset, len) in [(u64::MAX, 1), (u64::MAX, u64::MAX), (1, i64::MAX as u64), (1 << 63, 1)] {
        assert_eq!(file.allocate(offset, len), Err(Errno::Fbig), "{offset} + {len}");
    }
    assert!(scratch.text("file").starts_with("text\0"));
}

#[test]
fn appending_tells_where_it_ended() {
    let scratch = Scratch::with(&["file=text"]);
    let mut one = open_file(&scratch, BOTH).unwrap();
    let mut two = open_file(&scratch, WRITE).unwrap();
    assert_eq!(one.append(&[]), Ok((0, 4)));
    assert_eq!(one.append(&[IoSlice::new(b"ab"), IoSlice::new(b"c")]), Ok((3, 7)));
    assert_eq!(two.append(&[IoSlice::new(b"de")]), Ok((2, 9)));
    assert_eq!(one.append(&[IoSlice::new(b"")]), Ok((0, 9)));
    assert_eq!(one.append(&[IoSlice::new(b"f")]), Ok((1, 10)));
    assert_eq!(read(&mut *one, 20, 0), Ok("textabcdef".into()));
    assert_eq!(write(&mut *one, "T", 0), Ok(1));
    assert_eq!(scratch.text("file"), "Textabcdef");
}

#[cfg(target_os = "linux")]
#[test]
fn appends_at_once_are_all_kept() {
    let scratch = Scratch::with(&["file="]);
    let ends = std::thread::scope(|scope| {
        let threads: Vec<_> = ["aaaa", "bbbb"]
            .into_iter()
            .map(|text| {
                let mut file = open_file(&scratch, WRITE).unwrap();
                scope.spawn(move || {
                    let append = |_| file.append(&[IoSlice::new(text.as_bytes())]).unwrap();
                    (0..500).map(append).map(|(_, end)| end).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut ends: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        ends.sort();
        ends.dedup();
        ends
    });
    assert_eq!((ends.len(), ends.first(), ends.last()), (1000, Some(&4), Some(&4000)));
    assert_eq!(scratch.text("file").len(), 4000);
}
