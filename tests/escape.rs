//! No way out: what a guest tries with names, on a host directory (with its shortcut and
//! without) and in memory, and what lies outside stays as it was.
#![cfg(feature = "cli")]

#[path = "util/busy.rs"]
mod busy;
#[macro_use]
mod calls;

mod escape {
    pub mod attempts;
    pub mod covered;
    pub mod custom;
    pub mod links;
    pub mod odd;
    pub mod race;
    pub mod readonly;
}

use calls::trees::{Tree, dir, file, snapshot};

/// `mount` with a little in it, and outside of it what must stay.
fn arena(tree: &Tree) -> Vec<String> {
    file(&tree.mount, "a/file", b"inside");
    file(&tree.mount, "plain", b"inside");
    file(&tree.top, "outside/secret", b"secret");
    file(&tree.top, "outside/dir/inner", b"secret");
    dir(&tree.top, "outside/empty");
    outside(tree)
}

fn outside(tree: &Tree) -> Vec<String> {
    let mut seen = snapshot(&dir(&tree.top, "outside"));
    // Nothing may appear beside the mount either.
    seen.extend(calls::Calls::at(&tree.top).names(3, ".").expect("readdir"));
    seen
}
