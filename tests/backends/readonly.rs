//! The wrapper that lets nothing be changed.

use std::sync::Arc;

use tinyhost::vfs::{Open, Opened, ReadOnly};

use super::support::*;
use crate::refused;

fn plant(root: &Root) -> Root {
    let d = dir(root, "d");
    put(&d, "f", b"bytes");
    put(root, "g", b"");
    root.symlink(name("l"), "d/f").expect("symlink");
    Arc::new(ReadOnly(root.clone()))
}

pub fn reading_goes_through(root: &Root) {
    let ro = plant(root);
    let base = place(&ro);
    assert_eq!(cat(&base, "l").as_deref(), Ok(&b"bytes"[..]));
    assert_eq!(names_in(&ro), ["d", "g", "l"]);
    assert_eq!(ro.stat(), root.stat());
    assert_eq!(child(&ro, "l").readlink().as_deref(), Ok("d/f"));
    let mut file = child(&ro, "g").open(READ).and_then(Opened::at_once).expect("open");
    file.sync(false).expect("sync");
    refused!(write(&mut *file, b"x", 0), Badf);
}

pub fn nothing_changes(root: &Root) {
    let ro = plant(root);
    every_change_is_refused(&ro);
    assert_eq!(names_in(root), ["d", "g", "l"]);
    assert_eq!(get(&child(root, "d"), "f"), b"bytes");
}

/// Every change answers EROFS, at the root and below it.
pub fn every_change_is_refused(ro: &Root) {
    let g = name("g");
    for dir in [ro, &child(ro, "d")] {
        refused!(dir.create(name("new"), WRITE), Rofs);
        refused!(dir.create_directory(name("new")), Rofs);
        refused!(dir.symlink(name("new"), "x"), Rofs);
        refused!(dir.link(g, ro, name("new")), Rofs);
        refused!(dir.rename(g, ro, name("new")), Rofs);
        refused!(dir.unlink(g), Rofs);
        refused!(dir.remove_directory(name("d")), Rofs);
        refused!(dir.set_times(to(1, 1)), Rofs);
    }
    let file = child(&child(ro, "d"), "f");
    for how in [WRITE, BOTH, Open { truncate: true, ..READ }] {
        refused!(file.open(how), Rofs);
    }
    let mut file = file.open(READ).and_then(Opened::at_once).expect("open");
    refused!(file.set_len(0), Rofs);
    refused!(file.allocate(0, 9), Rofs);
    refused!(file.set_times(to(1, 1)), Rofs);
}
