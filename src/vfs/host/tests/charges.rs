//! Each verb that asks the kernel is paid for by the call it is in.

use super::*;
use crate::vfs::{Interest, Opened, Times, charge};

fn file_of(opened: Opened) -> Box<dyn File> {
    match opened {
        Opened::File(file) => file,
        Opened::Pending(_) => panic!("a file of the host is open at once"),
    }
}

/// What is done in a directory and to a file; each must be charged.
#[test]
fn every_verb_is_charged_for_the_time_it_takes() {
    let scratch = Scratch::with(&["dir/", "file=text", "link->file"]);
    let (root, name) = (scratch.node(), |text| Name::new(text).unwrap());
    let file = root.lookup(name("file")).unwrap();
    let paid = |verb: &str, act: &mut dyn FnMut()| {
        charge::begin();
        act();
        assert!(charge::any(), "{verb}");
        charge::begin();
    };
    paid("lookup", &mut || drop(root.lookup(name("dir")).unwrap()));
    paid("descend", &mut || drop(root.descend("dir")));
    paid("open_at", &mut || drop(root.open_at("file", READ)));
    paid("stat_at", &mut || assert!(root.stat_at("file").is_some()));
    paid("open", &mut || drop(file.open(READ).unwrap()));
    paid("create", &mut || drop(root.create(name("new"), WRITE).unwrap()));
    paid("create_directory", &mut || root.create_directory(name("newdir")).unwrap());
    paid("symlink", &mut || root.symlink(name("newlink"), "file").unwrap());
    paid("link", &mut || root.link(name("file"), &root, name("hard")).unwrap());
    paid("rename", &mut || root.rename(name("new"), &root, name("newer")).unwrap());
    paid("unlink", &mut || root.unlink(name("newer")).unwrap());
    paid("remove_directory", &mut || root.remove_directory(name("newdir")).unwrap());
    paid("readlink", &mut || drop(root.lookup(name("link")).unwrap().readlink().unwrap()));
    paid("set_times", &mut || file.set_times(Times::default()).unwrap());
    let mut opened = file_of(file.open(BOTH).unwrap());
    paid("stat", &mut || assert!(opened.stat().is_ok()));
    paid("read", &mut || assert_eq!(opened.read(&mut [IoSliceMut::new(&mut [0; 4])], 0), Ok(4)));
    paid("write", &mut || assert_eq!(opened.write(&[IoSlice::new(b"more")], 0), Ok(4)));
    paid("append", &mut || assert_eq!(opened.append(&[IoSlice::new(b"more")]), Ok((4, 8))));
    paid("set_len", &mut || opened.set_len(2).unwrap());
    paid("allocate", &mut || opened.allocate(0, 10).unwrap());
    paid("set_times", &mut || opened.set_times(Times::default()).unwrap());
    paid("sync", &mut || opened.sync(false).unwrap());
    paid("datasync", &mut || opened.sync(true).unwrap());
    paid("ready", &mut || assert!(opened.ready(Interest::READ).is_ok()));
    let mut list = file_of(root.open(READ).unwrap());
    paid("readdir", &mut || list.readdir(0, &mut |_| true).unwrap());
    paid("sync of a directory", &mut || list.sync(false).unwrap());
}
