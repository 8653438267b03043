//! A Unix stream socket of the host, mounted by name: opening it dials.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use super::Net;
use super::quota::{Share, Shares};
use super::socket::Socket;
use crate::vfs::charge;
use crate::vfs::reach::{Planted, Reach};
use crate::vfs::{Errno, File, Filetype, Node, Open, Opened, Pending, Result, Stat, Wait};

/// How soon a server whose backlog is full is asked again: no event announces room.
const RETRY: Duration = Duration::from_millis(20);

/// `--mount /run/db=unix:/path/to.sock`. Mounting it is the permission: no rule is asked.
pub struct UnixSocket {
    net: Net,
    at: Arc<Address>,
    /// It is one node for all guests, so they share what there is of it.
    dials: Arc<Shares>,
    sockets: Arc<Shares>,
}

/// Where a socket is. It need not exist yet, and may be replaced at any time.
struct Address {
    path: PathBuf,
    /// The path, if it is dialled as it is.
    direct: SocketAddr,
    reach: Reach,
}

impl UnixSocket {
    /// The socket at `path` of the host, which need not be there yet. All guests together have as
    /// many connections to it as one has in `net`, and none of them can have them all.
    ///
    /// # Errors
    ///
    /// EINVAL for a path that is too long for a socket (108 bytes on Linux).
    pub fn new(path: &Path, net: &Net) -> io::Result<UnixSocket> {
        UnixSocket::reached(path, net, Reach::default())
    }

    /// The same, where guests can change directories that may be on the way: links that they
    /// may have made are not followed.
    ///
    /// # Errors
    ///
    /// EINVAL for a path that is too long for a socket (108 bytes on Linux).
    pub fn reached(path: &Path, net: &Net, reach: Reach) -> io::Result<UnixSocket> {
        let direct = SocketAddr::from_pathname(path)?;
        let at = Arc::new(Address { path: path.to_owned(), direct, reach });
        let count = |max: u32| Shares::new(usize::try_from(max).unwrap_or(usize::MAX));
        let config = &net.common.config;
        let (dials, sockets) = (count(config.dials_max), count(config.sockets_max));
        Ok(UnixSocket { net: net.clone(), at, dials, sockets })
    }
}

impl Address {
    /// Begins a connection.
    fn connect(&self) -> io::Result<UnixStream> {
        if self.reach.is_empty() {
            return UnixStream::connect_addr(&self.direct);
        }
        self.connect_unfollowed()
    }

    /// A socket is opened as itself, and then dialled as the open file it is: no name is left
    /// that could have become a link in between.
    #[cfg(target_os = "linux")]
    fn connect_unfollowed(&self) -> io::Result<UnixStream> {
        use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
        use std::os::fd::AsRawFd;
        let place = self.reach.locate(&self.path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = openat(&place.directory, &place.name, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&socket)?.st_mode) == FileType::Symlink {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let at = SocketAddr::from_pathname(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
        match UnixStream::connect_addr(&at) {
            // A host without /proc. No guest can change what the path leads through.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !place.reached => {
                UnixStream::connect_addr(&self.direct)
            }
            connected => connected,
        }
    }

    /// Other systems dial paths only, so a guest has an instant between the look and the dial.
    #[cfg(not(target_os = "linux"))]
    fn connect_unfollowed(&self) -> io::Result<UnixStream> {
        use rustix::fs::{AtFlags, FileType, statat};
        let place = self.reach.locate(&self.path)?;
        let seen = statat(&place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if place.reached && FileType::from_raw_mode(seen.st_mode) == FileType::Symlink {
            return Err(rustix::io::Errno::LOOP.into());
        }
        UnixStream::connect_addr(&self.direct)
    }
}

impl Node for UnixSocket {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        let now = Instant::now();
        let dial = Dial {
            net: self.net.clone(),
            at: self.at.clone(),
            stream: None,
            again: now,
            deadline: now + self.net.connect_timeout(),
            _in_flight: self.dials.take()?,
            socket: Some(self.sockets.take()?),
        };
        Opened::begin(dial)
    }
}

struct Dial {
    net: Net,
    at: Arc<Address>,
    /// Where a connect can be in progress; on Linux it is done or failed at once.
    stream: Option<UnixStream>,
    again: Instant,
    deadline: Instant,
    socket: Option<Share>,
    _in_flight: Share,
}

impl Dial {
    /// A link that was not followed is ELOOP to the guest, and a line for the operator.
    fn refused(&self, error: io::Error) -> Errno {
        let errno = if Planted::is_cause(&error) { Errno::Loop } else { error.into() };
        if errno == Errno::Loop {
            self.net.denied(format!(
                "denied: dial unix:{}: a link on the way lies in a directory that a guest can \
                 change (name what it leads to)",
                self.at.path.display()
            ));
        }
        errno
    }
}

impl Pending for Dial {
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        charge::ask_kernel();
        let now = Instant::now();
        if self.stream.is_none() {
            match self.at.connect().map_err(|error| self.refused(error)) {
                Ok(stream) => self.stream = Some(stream),
                Err(Errno::Again) if now < self.deadline => {
                    self.again = self.deadline.min(now + RETRY);
                    return Err(Errno::Again);
                }
                Err(Errno::Again) => return Err(Errno::Timedout),
                Err(errno) => return Err(errno),
            }
        }
        let stream = self.stream.take().ok_or(Errno::Badf)?;
        if let Some(error) = stream.take_error()? {
            return Err(error.into());
        }
        match stream.peer_addr().map_err(Errno::from) {
            Ok(_) => Ok(Socket::stream(stream, self.socket.take().ok_or(Errno::Badf)?)),
            Err(Errno::Notconn | Errno::Inprogress) if now < self.deadline => {
                self.again = self.deadline;
                self.stream = Some(stream);
                Err(Errno::Again)
            }
            Err(Errno::Notconn | Errno::Inprogress) => Err(Errno::Timedout),
            Err(errno) => Err(errno),
        }
    }

    fn wait(&mut self, _waker: &Waker) -> Wait<'_> {
        match &self.stream {
            Some(stream) => Wait::Fd(stream.as_fd()),
            None => Wait::NEVER, // only the deadline ends it
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.again)
    }
}
