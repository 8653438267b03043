//! Where a server listens.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// What precedes the path of a Unix socket.
const UNIX: &str = "unix:";

/// Where a server is to listen.
///
/// As text: `127.0.0.1:1997`, `[::1]:1997`, `unix:/run/filter.sock` or
/// `unix:/run/filter.sock,mode=0660`.
///
/// ```
/// use tinyhost::serve::Bind;
///
/// assert!(matches!("127.0.0.1:0".parse(), Ok(Bind::Tcp(_))));
/// assert!(matches!("unix:/run/a.sock,mode=660".parse(), Ok(Bind::Unix { mode: Some(0o660), .. })));
/// assert!("unix:/run/a.sock,mode=9".parse::<Bind>().is_err());
/// ```
#[derive(Clone, Debug)]
pub enum Bind {
    /// An address of TCP. Port 0 is any free port.
    Tcp(SocketAddr),
    /// The path of a Unix socket. A socket there that no program listens at any more is replaced; one
    /// that is in use, or another kind of file, is not. The server removes it when it stops
    /// accepting.
    Unix {
        /// The path, of at most 107 bytes on Linux.
        path: PathBuf,
        /// The permissions of the file, whatever the umask: who may write may connect. Without
        /// it they are 0777 less the umask.
        mode: Option<u32>,
    },
    /// A socket that listens already, such as one inherited from systemd.
    Open(ServerSocket),
}

/// A socket that listens.
#[derive(Clone, Debug)]
pub enum ServerSocket {
    /// Of TCP.
    Tcp(Arc<TcpListener>),
    /// A Unix stream socket. Its file is not the server's: it is not removed.
    Unix(Arc<UnixListener>),
}

/// Where a server listens, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddr {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a Unix socket, which is empty if it has none.
    Unix(PathBuf),
}

impl BoundAddr {
    /// The address, if it is one of TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            BoundAddr::Tcp(addr) => Some(*addr),
            BoundAddr::Unix(_) => None,
        }
    }
}

impl fmt::Display for BoundAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundAddr::Tcp(addr) => write!(f, "{addr}"),
            BoundAddr::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Bind {
    fn from(addr: SocketAddr) -> Bind {
        Bind::Tcp(addr)
    }
}

impl From<TcpListener> for ServerSocket {
    fn from(listener: TcpListener) -> ServerSocket {
        ServerSocket::Tcp(Arc::new(listener))
    }
}

impl From<UnixListener> for ServerSocket {
    fn from(listener: UnixListener) -> ServerSocket {
        ServerSocket::Unix(Arc::new(listener))
    }
}

/// Why a text does not say where to listen, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError(String);

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BindError {}

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Bind, BindError> {
        let Some(unix) = text.strip_prefix(UNIX) else {
            let write = "write ADDR:PORT or unix:PATH";
            return text.parse().map(Bind::Tcp).map_err(|_| BindError(write.into()));
        };
        let (path, mode) = match unix.rsplit_once(",mode=") {
            Some((path, digits)) => (path, Some(mode(digits)?)),
            None => (unix, None),
        };
        if let Some((_, option)) = path.rsplit_once(',') {
            let hint = "the only option of a Unix socket is mode, such as ,mode=0660";
            return Err(BindError(format!("'{option}' is not an option: {hint}")));
        }
        let why = match path.as_bytes().first() {
            None => "the path is missing: write unix:/run/NAME.sock",
            Some(b'@') => {
                "abstract sockets have no permissions: write a path, such as unix:/run/NAME.sock"
            }
            _ if path.contains('\0') => "a path has no NUL",
            _ => return Ok(Bind::Unix { path: path.into(), mode }),
        };
        Err(BindError(why.into()))
    }
}

/// Permissions in octal.
fn mode(digits: &str) -> Result<u32, BindError> {
    let octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777).ok_or_else(|| {
        BindError(format!("'{digits}' is not a mode: write it in octal, such as mode=0660"))
    })
}
