//! `fstour DIR`: a tour of std::fs below DIR that checks itself at every stop, cleans up
//! behind it and prints `ok`.
//!
//! Pins: that the filesystem calls do what Rust's std expects of them, on every backend.
//! Needs a writable directory; leaves it as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;

// WASI's numbers. Rust's ErrorKind lumps some of them together.
const EXIST: i32 = 20;
const ISDIR: i32 = 31;
const NOENT: i32 = 44;
const NOTDIR: i32 = 54;
const NOTEMPTY: i32 = 55;

fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1) else {
        eprintln!("usage: fstour DIR");
        return ExitCode::from(2);
    };
    let base = Path::new(&dir).join("fstour");
    match tour(&base) {
        Ok(()) => {
            println!("ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fstour: {}: {error}", base.display());
            ExitCode::FAILURE
        }
    }
}

fn tour(base: &Path) -> io::Result<()> {
    directories(base)?;
    contents(base)?;
    offsets(base)?;
    names(base)?;
    refusals(base);
    fs::remove_dir_all(base)?;
    assert!(!base.exists());
    Ok(())
}

fn directories(base: &Path) -> io::Result<()> {
    fs::create_dir(base)?;
    fs::create_dir_all(base.join("a/b/c"))?;
    fs::create_dir_all(base.join("a/b/c"))?; // there already: no error
    assert!(base.join("a/b/c").is_dir());
    fs::remove_dir(base.join("a/b/c"))?;
    assert!(!base.join("a/b/c").exists());
    Ok(())
}

fn contents(base: &Path) -> io::Result<()> {
    let path = base.join("text");
    fs::write(&path, "one\n")?;
    let mut file = OpenOptions::new().append(true).open(&path)?;
    file.write_all(b"two\n")?;
    file.sync_all()?;
    drop(file);
    assert_eq!(fs::read_to_string(&path)?, "one\ntwo\n");

    let metadata = fs::metadata(&path)?;
    assert!(metadata.is_file());
    assert_eq!(metadata.len(), 8);

    fs::write(&path, "three")?; // truncates
    assert_eq!(fs::read_to_string(&path)?, "three");
    Ok(())
}

fn offsets(base: &Path) -> io::Result<()> {
    let path = base.join("seek");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    file.write_all(b"0123456789")?;

    let mut two = [0; 2];
    assert_eq!(file.seek(SeekFrom::Start(3))?, 3);
    file.read_exact(&mut two)?;
    assert_eq!(&two, b"34");
    assert_eq!(file.seek(SeekFrom::Current(-1))?, 4);
    assert_eq!(file.seek(SeekFrom::End(-2))?, 8);
    file.read_exact(&mut two)?;
    assert_eq!(&two, b"89");
    assert_eq!(file.read(&mut two)?, 0);
    assert!(file.seek(SeekFrom::Current(-99)).is_err());
    assert_eq!(file.stream_position()?, 10); // a failed seek moves nothing

    file.set_len(4)?;
    assert_eq!(file.metadata()?.len(), 4);
    file.set_len(6)?; // grows with zeros
    file.rewind()?;
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    assert_eq!(all, b"0123\0\0");

    assert_eq!(file.seek(SeekFrom::Start(8))?, 8);
    file.write_all(b"x")?; // past the end: leaves a hole
    assert_eq!(fs::read(&path)?, b"0123\0\0\0\0x");
    Ok(())
}

fn names(base: &Path) -> io::Result<()> {
    let (text, copy, moved) = (base.join("text"), base.join("copy"), base.join("a/moved"));
    assert_eq!(fs::copy(&text, &copy)?, 5);
    fs::rename(&copy, &moved)?;
    assert!(!copy.exists());
    assert_eq!(fs::read_to_string(&moved)?, "three");

    fs::write(&copy, "other")?;
    fs::rename(&copy, &moved)?; // takes the place of the file there
    assert_eq!(fs::read_to_string(&moved)?, "other");

    fs::hard_link(&text, base.join("link"))?;
    OpenOptions::new().append(true).open(base.join("link"))?.write_all(b"!")?;
    assert_eq!(fs::read_to_string(&text)?, "three!");

    assert_eq!(list(base)?, ["a", "link", "seek", "text"]);
    assert_eq!(list(&base.join("a"))?, ["b", "moved"]);

    fs::remove_file(base.join("link"))?;
    assert_eq!(fs::read_to_string(&text)?, "three!");
    assert_eq!(list(base)?, ["a", "seek", "text"]);
    Ok(())
}

/// Each thing that must not work, and the errno it must not work with.
fn refusals(base: &Path) {
    let text = base.join("text");
    assert_eq!(errno(File::open(base.join("none"))), NOENT);
    assert_eq!(errno(File::create_new(&text)), EXIST);
    assert_eq!(errno(fs::create_dir(&text)), EXIST);
    assert_eq!(errno(File::open(text.join("below"))), NOTDIR);
    assert_eq!(errno(fs::read_dir(&text)), NOTDIR);
    assert_eq!(errno(File::create(base.join("a"))), ISDIR);
    assert_eq!(errno(fs::remove_dir(base.join("a"))), NOTEMPTY);
    assert_eq!(errno(fs::remove_dir(&text)), NOTDIR);
    assert_eq!(errno(fs::remove_file(base.join("a"))), ISDIR);
    assert_eq!(errno(fs::rename(base.join("a"), &text)), NOTDIR);
    assert_eq!(errno(fs::rename(&text, base.join("a"))), ISDIR);
}

fn errno<T>(result: io::Result<T>) -> i32 {
    let error = result.err().expect("must be refused");
    error.raw_os_error().expect("an errno from the host")
}

fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().into_string().expect("names are UTF-8"));
    }
    names.sort();
    Ok(names)
}
