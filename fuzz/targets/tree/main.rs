//! Sequences of file operations on a tree in memory, a directory of the host, and a model: after each
//! of them all three have answered the same.
#![no_main]

mod model;
mod real;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tinyhost::Errno;

use model::Model;
use real::Real;

/// A path of up to two names. Few names, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Path {
    directory: Option<Name>,
    name: Name,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    A,
    B,
    C,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::A => "a",
            Name::B => "b",
            Name::C => "c",
        }
    }
}

/// What is done. Numbers are small: what large ones do is the business of the target `calls`.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    Create(Path),
    CreateDirectory(Path),
    Symlink(Path, Name),
    Link(Path, Path),
    Rename(Path, Path),
    Unlink(Path),
    RemoveDirectory(Path),
    Write(Path, u16, u8),
    Append(Path, u8),
    Read(Path, u16, u8),
    SetLen(Path, u16),
    Allocate(Path, u16, u8),
    Truncate(Path),
    Readlink(Path),
    Stat(Path),
    List(Option<Name>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Bytes(Vec<u8>),
    Text(String),
    Count(usize),
    /// Its type, its length, and the names it has.
    Is(char, u64, u64),
    Names(Vec<(String, char)>),
    Refused(Errno),
}

pub trait Tree {
    fn run(&mut self, op: Op) -> Answer;
}

fuzz_target!(|ops: Vec<Op>| {
    let mut model = Model::default();
    let (mut mem, mut host) = (Real::in_memory(), Real::of_the_host());
    for (number, op) in ops.iter().take(200).enumerate() {
        let expected = model.run(*op);
        for tree in [&mut mem, &mut host] {
            let answer = tree.run(*op);
            assert_eq!(answer, expected, "{}, operation {number} of {ops:?}", tree.name);
        }
    }
});
