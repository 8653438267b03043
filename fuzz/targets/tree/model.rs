//! What a file system does, in the simplest way: inodes in a vector, names in maps.

use std::collections::BTreeMap;

use tinyhost::Errno;

use super::real::pattern;
use super::{Answer, Name, Op, Path, Tree};

type Ino = usize;
type Result<T> = std::result::Result<T, Errno>;
type Names = BTreeMap<Name, Ino>;

const ROOT: Ino = 0;

enum Inode {
    File(Vec<u8>),
    Link(&'static str),
    Directory(Names),
}

pub struct Model(Vec<Inode>);

impl Default for Model {
    fn default() -> Model {
        Model(vec![Inode::Directory(Names::new())])
    }
}

impl Model {
    fn names(&self, directory: Ino) -> Result<&Names> {
        match &self.0[directory] {
            Inode::Directory(names) => Ok(names),
            _ => Err(Errno::Notdir),
        }
    }

    fn names_mut(&mut self, directory: Ino) -> &mut Names {
        match &mut self.0[directory] {
            Inode::Directory(names) => names,
            _ => unreachable!("it was looked at"),
        }
    }

    fn parent(&self, path: Path) -> Result<Ino> {
        let Some(name) = path.directory else { return Ok(ROOT) };
        let ino = self.names(ROOT)?.get(&name).copied().ok_or(Errno::Noent)?;
        self.names(ino).map(|_| ino)
    }

    fn node(&self, path: Path) -> Result<Ino> {
        self.names(self.parent(path)?)?.get(&path.name).copied().ok_or(Errno::Noent)
    }

    fn file(&mut self, path: Path) -> Result<&mut Vec<u8>> {
        let ino = self.node(path)?;
        match &mut self.0[ino] {
            Inode::File(bytes) => Ok(bytes),
            Inode::Link(_) => Err(Errno::Loop),
            Inode::Directory(_) => Err(Errno::Isdir),
        }
    }

    fn add(&mut self, path: Path, inode: Inode) -> Result<Answer> {
        let parent = self.parent(path)?;
        if self.names(parent)?.contains_key(&path.name) {
            return Err(Errno::Exist);
        }
        let ino = self.0.len();
        self.0.push(inode);
        self.names_mut(parent).insert(path.name, ino);
        Ok(Answer::Done)
    }

    fn count(&self, ino: Ino) -> u64 {
        let all = self.0.iter().filter_map(|inode| match inode {
            Inode::Directory(names) => Some(names.values().filter(|it| **it == ino).count()),
            _ => None,
        });
        all.sum::<usize>() as u64
    }

    /// link(2).
    fn link(&mut self, from: Path, to: Path) -> Result<Answer> {
        let (from_dir, to_dir) = (self.parent(from)?, self.parent(to)?);
        let ino = *self.names(from_dir)?.get(&from.name).ok_or(Errno::Noent)?;
        if self.names(to_dir)?.contains_key(&to.name) {
            return Err(Errno::Exist);
        }
        if matches!(self.0[ino], Inode::Directory(_)) {
            return Err(Errno::Perm);
        }
        self.names_mut(to_dir).insert(to.name, ino);
        Ok(Answer::Done)
    }

    /// rename(2).
    fn rename(&mut self, from: Path, to: Path) -> Result<Answer> {
        let (from_dir, to_dir) = (self.parent(from)?, self.parent(to)?);
        let ino = *self.names(from_dir)?.get(&from.name).ok_or(Errno::Noent)?;
        let there = self.names(to_dir)?.get(&to.name).copied();
        let moves_directory = matches!(self.0[ino], Inode::Directory(_));
        // With paths of two names, only a directory's own can be below it.
        if moves_directory && to_dir == ino {
            return Err(Errno::Inval);
        }
        if let Some(there) = there {
            if there == from_dir {
                return Err(Errno::Notempty);
            }
            if there == ino {
                return Ok(Answer::Done);
            }
            match (&self.0[there], moves_directory) {
                (Inode::Directory(_), false) => return Err(Errno::Isdir),
                (Inode::Directory(names), true) if !names.is_empty() => {
                    return Err(Errno::Notempty);
                }
                (Inode::Directory(_), true) | (_, false) => {}
                (_, true) => return Err(Errno::Notdir),
            }
        }
        self.names_mut(from_dir).remove(&from.name);
        self.names_mut(to_dir).insert(to.name, ino);
        Ok(Answer::Done)
    }

    fn answer(&mut self, op: Op) -> Result<Answer> {
        match op {
            Op::Create(path) => self.add(path, Inode::File(Vec::new())),
            Op::CreateDirectory(path) => self.add(path, Inode::Directory(Names::new())),
            Op::Symlink(path, to) => self.add(path, Inode::Link(to.text())),
            Op::Link(from, to) => self.link(from, to),
            Op::Rename(from, to) => self.rename(from, to),
            Op::Unlink(path) => {
                let parent = self.parent(path)?;
                let ino = *self.names(parent)?.get(&path.name).ok_or(Errno::Noent)?;
                if matches!(self.0[ino], Inode::Directory(_)) {
                    return Err(Errno::Isdir);
                }
                self.names_mut(parent).remove(&path.name);
                Ok(Answer::Done)
            }
            Op::RemoveDirectory(path) => {
                let parent = self.parent(path)?;
                let ino = *self.names(parent)?.get(&path.name).ok_or(Errno::Noent)?;
                if !self.names(ino)?.is_empty() {
                    return Err(Errno::Notempty);
                }
                self.names_mut(parent).remove(&path.name);
                Ok(Answer::Done)
            }
            Op::Write(path, at, len) => {
                let file = self.file(path)?;
                put(file, at.into(), &pattern(len));
                Ok(Answer::Count(len.into()))
            }
            Op::Append(path, len) => {
                let file = self.file(path)?;
                file.extend(pattern(len));
                Ok(Answer::Is('a', len.into(), file.len() as u64))
            }
            Op::Read(path, at, len) => {
                let ino = self.node(path)?;
                match &self.0[ino] {
                    Inode::File(bytes) => {
                        let from = bytes.len().min(at.into());
                        let to = bytes.len().min(from + usize::from(len));
                        Ok(Answer::Bytes(bytes[from..to].to_vec()))
                    }
                    Inode::Link(_) => Err(Errno::Loop),
                    Inode::Directory(_) => Err(Errno::Isdir),
                }
            }
            Op::SetLen(path, len) => {
                self.file(path)?.resize(len.into(), 0);
                Ok(Answer::Done)
            }
            Op::Allocate(path, at, len) => {
                let file = self.file(path)?;
                let end = usize::from(at) + usize::from(len) + 1;
                file.resize(file.len().max(end), 0);
                Ok(Answer::Done)
            }
            Op::Truncate(path) => {
                self.file(path)?.clear();
                Ok(Answer::Done)
            }
            Op::Readlink(path) => match &self.0[self.node(path)?] {
                Inode::Link(text) => Ok(Answer::Text((*text).to_owned())),
                _ => Err(Errno::Inval),
            },
            Op::Stat(path) => {
                let ino = self.node(path)?;
                Ok(match &self.0[ino] {
                    Inode::Directory(_) => Answer::Is('d', 0, 0),
                    Inode::File(bytes) => Answer::Is('f', bytes.len() as u64, self.count(ino)),
                    Inode::Link(text) => Answer::Is('l', text.len() as u64, self.count(ino)),
                })
            }
            Op::List(name) => {
                let ino = match name {
                    None => ROOT,
                    Some(name) => *self.names(ROOT)?.get(&name).ok_or(Errno::Noent)?,
                };
                let names = self.names(ino)?.iter();
                let named = names.map(|(name, ino)| (name.text().to_owned(), self.letter(*ino)));
                Ok(Answer::Names(named.collect()))
            }
        }
    }

    fn letter(&self, ino: Ino) -> char {
        match self.0[ino] {
            Inode::Directory(_) => 'd',
            Inode::File(_) => 'f',
            Inode::Link(_) => 'l',
        }
    }
}

impl Tree for Model {
    fn run(&mut self, op: Op) -> Answer {
        self.answer(op).unwrap_or_else(Answer::Refused)
    }
}

/// pwrite(2): what is between the end and what is written is zeros.
fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    file.resize(file.len().max(at + bytes.len()), 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
