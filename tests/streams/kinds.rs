//! Every kind of file that takes a stream of bytes, with who reads it at the other end.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tinyhost::vfs::net::{Net, NetConfig, Policy, UnixSocket};
use tinyhost::vfs::pipe::{Capture, Reader, pipe};
use tinyhost::vfs::stdio::Stream;
use tinyhost::vfs::{Errno, File, Name, Node, Open, Opened, host, mem};

use crate::util::TempDir;

/// A file for a guest, and the end where its bytes come out.
pub struct Kind {
    pub name: &'static str,
    pub file: Box<dyn File>,
    pub drain: Drain,
    /// It takes any number of bytes at once, so nothing ever waits.
    pub endless: bool,
    pub socket: bool,
}

type Collect = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// Collects the bytes when it is told to.
pub struct Drain(Collect);

impl Drain {
    /// Begins to read, to the end.
    pub fn begin(self) -> JoinHandle<Vec<u8>> {
        thread::spawn(self.0)
    }
}

const WRITE: Open = Open { read: false, write: true, truncate: false, nonblock: false };

fn node(root: &Arc<dyn Node>, name: &str) -> Arc<dyn Node> {
    root.lookup(Name::new(name).unwrap()).unwrap()
}

/// Reads to the end, in pieces, so that the writer waits many times.
fn all_of(mut from: impl Read + Send + 'static) -> Drain {
    Drain(Box::new(move || {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 10_007]);
        loop {
            match from.read(&mut piece) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) => panic!("{error}"),
            }
        }
    }))
}

fn all_of_pipe(mut reader: Reader) -> Drain {
    Drain(Box::new(move || {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 1021]);
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return bytes,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(Errno::Again) => thread::sleep(Duration::from_micros(50)),
                Err(error) => panic!("{error}"),
            }
        }
    }))
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn inherited(fd: impl AsFd) -> Box<dyn File> {
    Box::new(Stream::new(fd).unwrap())
}

/// Waits for a file that is still being opened.
fn opened(opened: Opened) -> Box<dyn File> {
    let mut pending = match opened {
        Opened::File(file) => return file,
        Opened::Pending(pending) => pending,
    };
    loop {
        match pending.proceed() {
            Ok(file) => return file,
            Err(Errno::Again) => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn net() -> Net {
    let policy = Policy::from_rules(["127.0.0.1:*"], ["127.0.0.1:*"]).unwrap();
    Net::new(NetConfig { policy, ..NetConfig::default() })
}

/// A FIFO in a folder.
pub fn fifo(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path
}

/// One of each, all of them fresh.
pub fn all(dir: &TempDir) -> Vec<Kind> {
    let kind = |name, file, drain| Kind { name, file, drain, endless: false, socket: false };
    let socket = |name, file, drain| Kind { socket: true, ..kind(name, file, drain) };
    let endless = |name, file, drain| Kind { endless: true, ..kind(name, file, drain) };
    let mut kinds = Vec::new();

    for (name, capacity) in [("a pipe", 4096), ("a large pipe", 1 << 20)] {
        let (reader, writer) = pipe(capacity);
        kinds.push(kind(name, Box::new(writer), all_of_pipe(reader)));
    }
    let capture = Capture::new(usize::MAX >> 1);
    let taken = capture.clone();
    let drain = Drain(Box::new(move || taken.take()));
    kinds.push(endless("a capture", Box::new(capture), drain));

    let tree = mem::tree(None);
    let create = Name::new("file").unwrap();
    let file = tree.create(create, WRITE).unwrap();
    let drain = Drain(Box::new(move || tinyhost::vfs::read(&tree, "file", 1 << 30).unwrap()));
    kinds.push(endless("a file in memory", file, drain));

    let root = host::open(dir.path()).unwrap();
    let file = root.create(create, WRITE).unwrap();
    let path = dir.path().join("file");
    let drain = Drain(Box::new(move || std::fs::read(path).unwrap()));
    kinds.push(endless("a file of the host", file, drain));

    let path = fifo(dir.path());
    let reader = thread::spawn(move || std::fs::File::open(path).unwrap());
    let file = opened(node(&root, "fifo").open(WRITE).unwrap());
    kinds.push(kind("a FIFO", file, all_of(reader.join().unwrap())));

    let (reader, writer) = std::io::pipe().unwrap();
    kinds.push(kind("an inherited pipe", inherited(&writer), all_of(reader)));
    let (near, far) = UnixStream::pair().unwrap();
    kinds.push(socket("an inherited pair", inherited(&near), all_of(far)));
    let (near, far) = tcp();
    kinds.push(socket("an inherited connection", inherited(&near), all_of(far)));

    let net = net();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let dialled = net.lookup(Name::new(&name).unwrap()).unwrap().open(WRITE).unwrap();
    let far = listener.accept().unwrap().0;
    kinds.push(socket("a dialled connection", opened(dialled), all_of(far)));

    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let dialled = UnixSocket::new(&path, &net).unwrap().open(WRITE).unwrap();
    let far = listener.accept().unwrap().0;
    kinds.push(socket("a dialled Unix socket", opened(dialled), all_of(far)));
    kinds
}
