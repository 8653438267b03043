//! Tar images, also gzip'd: any bytes are a tree or an error, and all of a tree can be looked at.
#![no_main]

use std::io::IoSliceMut;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tinyhost::vfs::{Filetype, Name, Node, Open, tar};

const READ: Open = Open { read: true, write: false, truncate: false, nonblock: false };

fuzz_target!(|bytes: &[u8]| {
    match tar::open(bytes.to_vec()) {
        Ok(root) => look(&root, 0),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn look(node: &Arc<dyn Node>, depth: usize) {
    let stat = node.stat().expect("a node of an image has a stat");
    match stat.filetype {
        Filetype::Directory if depth < 300 => {
            let mut names = Vec::new();
            let mut file = node.open(READ).and_then(|opened| opened.at_once()).expect("it opens");
            file.readdir(0, &mut |entry| {
                names.push(String::from_utf8(entry.name.to_vec()).expect("names are text"));
                true
            })
            .expect("it is listed");
            for name in names.iter().filter(|name| *name != "." && *name != "..") {
                let name = Name::new(name).expect("a name of one component");
                look(&node.lookup(name).expect("what is listed is there"), depth + 1);
            }
        }
        Filetype::RegularFile => {
            let mut file = node.open(READ).and_then(|opened| opened.at_once()).expect("it opens");
            let mut bytes = [0; 4096];
            let mut at = 0;
            loop {
                let n = file.read(&mut [IoSliceMut::new(&mut bytes)], at).expect("it is read");
                at += n as u64;
                if n == 0 {
                    break;
                }
            }
            assert_eq!(at, stat.size);
        }
        Filetype::SymbolicLink => drop(node.readlink().expect("a link has a text")),
        _ => {}
    }
}
