//! A tree whose every verb has to wait: each is asked of a server, which answers the questions
//! it has in random order, later. [`Waiting`] is the node as a real client of a file server would
//! write it.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tinyhost::vfs::{
    Asker, Dirent, Emit, Errno, File, Filetype, Interest, Memo, Name, Node, Open, Opened, Pending,
    Question, Ready, Result, Stat, Times, Wait, mem,
};

/// Answers questions, each once, in random order.
#[derive(Default)]
pub struct Server(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    jobs: Vec<Job>,
    random: u64,
    /// What was done, by name.
    done: Vec<String>,
    /// Files that are open.
    open: usize,
}

struct Job {
    ticket: Arc<Mutex<Ticket>>,
    what: String,
    run: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
}

#[derive(Default)]
struct Ticket {
    answer: Option<Box<dyn Any + Send>>,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub fn new(seed: u64) -> Arc<Server> {
        let server = Server::default();
        lock(&server.0).random = seed | 1;
        Arc::new(server)
    }

    /// Answers one of the questions; `false` if there is none.
    pub fn work(&self) -> bool {
        let job = {
            let mut desk = lock(&self.0);
            if desk.jobs.is_empty() {
                return false;
            }
            desk.random ^= desk.random << 13;
            desk.random ^= desk.random >> 7;
            desk.random ^= desk.random << 17;
            let chosen = usize::try_from(desk.random % desk.jobs.len() as u64).unwrap();
            let job = desk.jobs.swap_remove(chosen);
            desk.done.push(job.what.clone());
            job
        };
        let answer = (job.run)();
        let waker = {
            let mut ticket = lock(&job.ticket);
            ticket.answer = Some(answer);
            ticket.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// What was done so far.
    pub fn done(&self) -> Vec<String> {
        lock(&self.0).done.clone()
    }

    /// Questions that wait for an answer, and files that are open.
    pub fn held(&self) -> (usize, usize) {
        let desk = lock(&self.0);
        (desk.jobs.len(), desk.open)
    }
}

/// A question that was sent to the server.
struct Asked<A> {
    server: Arc<Server>,
    ticket: Arc<Mutex<Ticket>>,
    answer: std::marker::PhantomData<fn() -> A>,
}

impl<A: Send + 'static> Asked<A> {
    fn send(
        server: &Arc<Server>,
        what: String,
        run: impl FnOnce() -> Result<A> + Send + 'static,
    ) -> Asked<A> {
        let ticket = Arc::new(Mutex::new(Ticket::default()));
        let run = Box::new(|| Box::new(run()) as Box<dyn Any + Send>);
        lock(&server.0).jobs.push(Job { ticket: ticket.clone(), what, run });
        Asked { server: server.clone(), ticket, answer: std::marker::PhantomData }
    }

    /// The answer, once.
    fn take(&mut self) -> Result<A> {
        let answer = lock(&self.ticket).answer.take().ok_or(Errno::Again)?;
        *answer.downcast::<Result<A>>().expect("the answer to this question")
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        let mut ticket = lock(&self.ticket);
        if ticket.answer.is_some() {
            return Wait::Now;
        }
        ticket.waker = Some(waker.clone());
        Wait::Waker
    }
}

/// Withdraws it, unless it was answered.
impl<A> Drop for Asked<A> {
    fn drop(&mut self) {
        let mut desk = lock(&self.server.0);
        desk.jobs.retain(|job| !Arc::ptr_eq(&job.ticket, &self.ticket));
    }
}

impl<A: Clone + Send + 'static> Question for Asked<A> {
    type Answer = A;

    fn answer(&mut self) -> Result<A> {
        self.take()
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        Asked::wait(self, waker)
    }
}

/// A node of the server's tree.
pub struct Waiting {
    inner: Arc<dyn Node>,
    server: Arc<Server>,
    asker: Option<Asker>,
}

impl Waiting {
    pub fn root(server: &Arc<Server>) -> Arc<dyn Node> {
        Arc::new(Waiting { inner: mem::tree(Some(64 << 20)), server: server.clone(), asker: None })
    }

    fn with(&self, inner: Arc<dyn Node>) -> Waiting {
        Waiting { inner, server: self.server.clone(), asker: self.asker.clone() }
    }

    fn ask<A: Clone + Send + 'static>(
        &self,
        what: String,
        run: impl FnOnce(&Arc<dyn Node>) -> Result<A> + Send + 'static,
    ) -> Result<A> {
        let asker = self.asker.as_ref().expect("asked outside of a call");
        let mut hasher = DefaultHasher::new();
        (self.inner.stat()?.ino, &what).hash(&mut hasher);
        let inner = self.inner.clone();
        asker.ask(hasher.finish(), || Ok(Asked::send(&self.server, what, move || run(&inner))))
    }

    fn other(to: &Arc<dyn Node>) -> Result<Arc<dyn Node>> {
        let to: &dyn Any = &**to;
        Ok(to.downcast_ref::<Waiting>().ok_or(Errno::Xdev)?.inner.clone())
    }
}

/// A file that is handed over by an answer, which can be taken once.
type Handover = Arc<Mutex<Option<Box<dyn File>>>>;

impl Node for Waiting {
    fn in_call(&self, memo: &Memo) -> Option<Arc<dyn Node>> {
        Some(Arc::new(Waiting { asker: Some(memo.asker()), ..self.with(self.inner.clone()) }))
    }

    fn stat(&self) -> Result<Stat> {
        match self.asker {
            Some(_) => self.ask("stat".into(), |node| node.stat()),
            None => self.inner.stat(),
        }
    }

    fn open(&self, how: Open) -> Result<Opened> {
        let inner = self.inner.clone();
        let run = move || inner.open(how)?.at_once();
        let asked = Asked::send(&self.server, "open".into(), run);
        Ok(Opened::Pending(Box::new(Opening(asked))))
    }

    fn readlink(&self) -> Result<String> {
        self.ask("readlink".into(), |node| node.readlink())
    }

    fn set_times(&self, times: Times) -> Result<()> {
        self.ask("set_times".into(), move |node| node.set_times(times))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let (what, name) = (format!("lookup {}", name.as_str()), name.as_str().to_owned());
        let found = self.ask(what, move |node| node.lookup(Name::new(&name).unwrap()))?;
        Ok(Arc::new(self.with(found)))
    }

    fn create(&self, name: Name<'_>, how: Open) -> Result<Box<dyn File>> {
        let (what, name) = (format!("create {}", name.as_str()), name.as_str().to_owned());
        let file: Handover = self.ask(what, move |node| {
            let file = node.create(Name::new(&name).unwrap(), how)?;
            Ok(Arc::new(Mutex::new(Some(file))))
        })?;
        let file = lock(&file).take().ok_or(Errno::Io)?;
        Ok(Box::new(WaitingFile::new(file, &self.server)))
    }

    fn create_directory(&self, name: Name<'_>) -> Result<()> {
        let (what, name) = (format!("mkdir {}", name.as_str()), name.as_str().to_owned());
        self.ask(what, move |node| node.create_directory(Name::new(&name).unwrap()))
    }

    fn symlink(&self, name: Name<'_>, target: &str) -> Result<()> {
        let (what, name) = (format!("symlink {}", name.as_str()), name.as_str().to_owned());
        let target = target.to_owned();
        self.ask(what, move |node| node.symlink(Name::new(&name).unwrap(), &target))
    }

    fn link(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        let to = Waiting::other(to)?;
        let what = format!("link {} {}", name.as_str(), to_name.as_str());
        let (name, to_name) = (name.as_str().to_owned(), to_name.as_str().to_owned());
        self.ask(what, move |node| {
            node.link(Name::new(&name).unwrap(), &to, Name::new(&to_name).unwrap())
        })
    }

    fn rename(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        let to = Waiting::other(to)?;
        let what = format!("rename {} {}", name.as_str(), to_name.as_str());
        let (name, to_name) = (name.as_str().to_owned(), to_name.as_str().to_owned());
        self.ask(what, move |node| {
            node.rename(Name::new(&name).unwrap(), &to, Name::new(&to_name).unwrap())
        })
    }

    fn unlink(&self, name: Name<'_>) -> Result<()> {
        let (what, name) = (format!("unlink {}", name.as_str()), name.as_str().to_owned());
        self.ask(what, move |node| node.unlink(Name::new(&name).unwrap()))
    }

    fn remove_directory(&self, name: Name<'_>) -> Result<()> {
        let (what, name) = (format!("rmdir {}", name.as_str()), name.as_str().to_owned());
        self.ask(what, move |node| node.remove_directory(Name::new(&name).unwrap()))
    }
}

/// An open that was sent to the server.
struct Opening(Asked<Box<dyn File>>);

impl Pending for Opening {
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        let file = self.0.take()?;
        Ok(Box::new(WaitingFile::new(file, &self.0.server)))
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        self.0.wait(waker)
    }
}

/// An open file of the server. It has one question under way, and keeps what came back until
/// it is asked the same again.
struct WaitingFile {
    inner: Arc<Mutex<Box<dyn File>>>,
    server: Arc<Server>,
    under_way: Option<(String, Asked<Reply>)>,
}

/// What comes back from a file.
enum Reply {
    Nothing,
    Stat(Stat),
    Bytes(Vec<u8>),
    Count(usize, u64),
    Entries(Vec<(u64, u64, Filetype, Vec<u8>)>),
}

impl WaitingFile {
    fn new(inner: Box<dyn File>, server: &Arc<Server>) -> WaitingFile {
        lock(&server.0).open += 1;
        let inner = Arc::new(Mutex::new(inner));
        WaitingFile { inner, server: server.clone(), under_way: None }
    }

    fn ask(
        &mut self,
        what: String,
        run: impl FnOnce(&mut dyn File) -> Result<Reply> + Send + 'static,
    ) -> Result<Reply> {
        let mut asked = match self.under_way.take() {
            Some((before, asked)) if before == what => asked,
            _ => {
                let inner = self.inner.clone();
                let run = move || run(&mut **lock(&inner));
                Asked::send(&self.server, what.clone(), run)
            }
        };
        match asked.take() {
            Err(Errno::Again) => {
                self.under_way = Some((what, asked));
                Err(Errno::Again)
            }
            answer => answer,
        }
    }
}

impl Drop for WaitingFile {
    fn drop(&mut self) {
        lock(&self.server.0).open -= 1;
    }
}

fn gathered(bufs: &[IoSlice<'_>]) -> Vec<u8> {
    bufs.iter().flat_map(|buf| buf.iter().copied()).collect()
}

impl File for WaitingFile {
    fn stat(&mut self) -> Result<Stat> {
        match self.ask("fstat".into(), |file| file.stat().map(Reply::Stat))? {
            Reply::Stat(stat) => Ok(stat),
            _ => Err(Errno::Io),
        }
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let reply = self.ask(format!("read {offset} {len}"), move |file| {
            let mut bytes = vec![0; len];
            let count = file.read(&mut [IoSliceMut::new(&mut bytes)], offset)?;
            bytes.truncate(count);
            Ok(Reply::Bytes(bytes))
        })?;
        let Reply::Bytes(bytes) = reply else { return Err(Errno::Io) };
        std::io::Read::read_vectored(&mut &*bytes, bufs).map_err(|_| Errno::Io)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        let bytes = gathered(bufs);
        let reply = self.ask(format!("write {offset} {bytes:?}"), move |file| {
            Ok(Reply::Count(file.write(&[IoSlice::new(&bytes)], offset)?, 0))
        })?;
        if let Reply::Count(count, _) = reply { Ok(count) } else { Err(Errno::Io) }
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        let bytes = gathered(bufs);
        let reply = self.ask(format!("append {bytes:?}"), move |file| {
            let (count, end) = file.append(&[IoSlice::new(&bytes)])?;
            Ok(Reply::Count(count, end))
        })?;
        if let Reply::Count(count, end) = reply { Ok((count, end)) } else { Err(Errno::Io) }
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        let run = move |file: &mut dyn File| file.set_len(len).map(|()| Reply::Nothing);
        self.ask(format!("set_len {len}"), run).map(drop)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> Result<()> {
        let run = move |file: &mut dyn File| file.allocate(offset, len).map(|()| Reply::Nothing);
        self.ask(format!("allocate {offset} {len}"), run).map(drop)
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        let run = move |file: &mut dyn File| file.set_times(times).map(|()| Reply::Nothing);
        self.ask(format!("set_times {times:?}"), run).map(drop)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        let run = move |file: &mut dyn File| file.sync(data_only).map(|()| Reply::Nothing);
        self.ask(format!("sync {data_only}"), run).map(drop)
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let reply = self.ask(format!("readdir {cookie}"), move |file| {
            let mut entries = Vec::new();
            file.readdir(cookie, &mut |entry| {
                entries.push((entry.next, entry.ino, entry.filetype, entry.name.to_vec()));
                true
            })?;
            Ok(Reply::Entries(entries))
        })?;
        let Reply::Entries(entries) = reply else { return Err(Errno::Io) };
        for (next, ino, filetype, name) in &entries {
            if !emit(Dirent { next: *next, ino: *ino, filetype: *filetype, name }) {
                break;
            }
        }
        Ok(())
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        lock(&self.inner).ready(want)
    }

    fn wait(&mut self, _want: Interest, waker: &Waker) -> Wait<'_> {
        match &mut self.under_way {
            Some((_, asked)) => asked.wait(waker),
            None => Wait::Now,
        }
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        lock(&self.inner).accept()
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        lock(&self.inner).peek(bufs)
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        lock(&self.inner).shutdown(how)
    }
}
