//! `/dev`: devices, the guest's own streams, and the network.

mod client;

use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Dirent, Emit, Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat, charge};
use crate::random::{Random, default_random};

/// The directory to be mounted at `/dev`.
pub struct Dev {
    random: Source,
    #[cfg(all(unix, feature = "net"))]
    net: Option<super::net::Net>,
    /// Its network may have something of a guest: a listener, a number that counts.
    used: AtomicBool,
}

/// Where `/dev/random` takes its bytes from; all guests that share the directory share it.
type Source = Arc<Mutex<Box<dyn Random>>>;

impl Default for Dev {
    fn default() -> Dev {
        Dev::new()
    }
}

impl Dev {
    /// Devices and streams only.
    pub fn new() -> Dev {
        Dev {
            random: Arc::new(Mutex::new(default_random())),
            #[cfg(all(unix, feature = "net"))]
            net: None,
            used: AtomicBool::new(false),
        }
    }

    /// Has `/dev/random` and `/dev/urandom` take their bytes from `source`, so that a guest
    /// reads the same there each time. By default they come from the operating
    /// system, or with the feature `os-random` left out a read answers EIO.
    #[must_use]
    pub fn random(mut self, source: impl Random + 'static) -> Dev {
        self.random = Arc::new(Mutex::new(Box::new(source)));
        self
    }

    /// The network's names as well.
    #[cfg(all(unix, feature = "net"))]
    pub fn with_net(net: super::net::Net) -> Dev {
        Dev { net: Some(net), ..Dev::new() }
    }

    /// The network that has its names here.
    #[cfg(all(unix, feature = "sockets"))]
    pub(crate) fn net(&self) -> Option<&super::net::Net> {
        self.used.store(true, Ordering::Relaxed);
        self.net.as_ref()
    }

    /// Whether anything was asked of its network.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    #[cfg(all(unix, feature = "net"))]
    fn network(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        self.used.store(true, Ordering::Relaxed);
        self.net.as_ref().ok_or(Errno::Noent)?.lookup(name)
    }

    #[cfg(not(all(unix, feature = "net")))]
    fn network(&self, _name: Name<'_>) -> Result<Arc<dyn Node>> {
        Err(Errno::Noent)
    }

    /// The directories of its network.
    #[cfg(all(unix, feature = "net"))]
    fn directories(&self) -> &'static [&'static str] {
        if self.net.is_some() { super::net::Net::DIRECTORIES } else { &[] }
    }

    #[cfg(not(all(unix, feature = "net")))]
    fn directories(&self) -> &'static [&'static str] {
        &[]
    }
}

/// An open `/dev`. Each guest has one, and few list it: so the list is made when it is asked for.
struct Directory {
    client: bool,
    directories: &'static [&'static str],
    listing: Option<Listing>,
}

impl Directory {
    /// Everything that is listed; network names are endless and are not.
    fn names(&self) -> Vec<(&'static str, Filetype)> {
        let mut names: Vec<_> = DEVICES.iter().map(|(name, _)| (*name, CHARACTER)).collect();
        names.extend(STREAMS.iter().map(|(name, _)| (*name, CHARACTER)));
        names.push(("fd", Filetype::Directory));
        if self.client {
            names.push((client::NAME, Filetype::Directory));
        }
        names.extend(self.directories.iter().map(|name| (*name, Filetype::Directory)));
        names
    }
}

impl File for Directory {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let listing = match self.listing.take() {
            Some(listing) => listing,
            None => Listing(self.names()),
        };
        self.listing.insert(listing).readdir(cookie, emit)
    }
}

const CHARACTER: Filetype = Filetype::CharacterDevice;

const DEVICES: [(&str, Device); 5] = [
    ("null", Device::Null),
    ("zero", Device::Zero),
    ("full", Device::Full),
    ("random", Device::Random),
    ("urandom", Device::Random),
];

const STREAMS: [(&str, u32); 3] = [("stdin", 0), ("stdout", 1), ("stderr", 2)];

fn find<T: Copy>(table: &[(&str, T)], name: Name<'_>) -> Option<T> {
    table.iter().find(|(there, _)| *there == name.as_str()).map(|(_, found)| *found)
}

impl Node for Dev {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        let client = charge::party().ends.is_some();
        Ok(Opened::file(Directory { client, directories: self.directories(), listing: None }))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        if let Some(device) = find(&DEVICES, name) {
            return Ok(Arc::new(DeviceNode { device, random: self.random.clone() }));
        }
        if let Some(number) = find(&STREAMS, name) {
            return Ok(Arc::new(Alias(number)));
        }
        if name.as_str() == client::NAME
            && let Some(ends) = charge::party().ends
        {
            return Ok(Arc::new(client::Directory(ends)));
        }
        if name.as_str() == "fd" { Ok(Arc::new(FdDir)) } else { self.network(name) }
    }
}

/// A directory whose entries were known when it was opened.
pub(super) struct Listing(pub(super) Vec<(&'static str, Filetype)>);

impl File for Listing {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let first = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (index, (name, filetype)) in self.0.iter().enumerate().skip(first) {
            let next = index as u64 + 1;
            if !emit(Dirent { next, ino: 0, filetype: *filetype, name: name.as_bytes() }) {
                break;
            }
        }
        Ok(())
    }
}

/// Random bytes of one read.
const RANDOM_MAX: usize = 64 << 10;

/// The devices of mem(4) and random(4).
#[derive(Clone, Copy)]
enum Device {
    Null,
    Zero,
    Full,
    Random,
}

struct DeviceNode {
    device: Device,
    random: Source,
}

impl Node for DeviceNode {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(CHARACTER))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        Ok(Opened::file(DeviceFile { device: self.device, random: self.random.clone() }))
    }
}

struct DeviceFile {
    device: Device,
    random: Source,
}

impl DeviceFile {
    /// Others wait for the source meanwhile: a long read is a short one.
    fn random(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let mut count = 0;
        for buf in bufs {
            let len = buf.len().min(RANDOM_MAX - count);
            let mut source = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            source.fill(&mut buf[..len]).map_err(|_| Errno::Io)?;
            count += len;
        }
        charge::add(count as u64 * charge::RANDOM_BYTE);
        Ok(count)
    }
}

impl File for DeviceFile {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(CHARACTER))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        if let Device::Random = self.device {
            return self.random(bufs);
        }
        for buf in bufs.iter_mut() {
            match self.device {
                Device::Null | Device::Random => return Ok(0),
                Device::Zero | Device::Full => buf.fill(0),
            }
        }
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        match self.device {
            Device::Full => Err(Errno::Nospc),
            _ => Ok(bufs.iter().map(|buf| buf.len()).sum()),
        }
    }

    fn set_len(&mut self, _len: u64) -> Result<()> {
        Err(Errno::Inval)
    }

    fn allocate(&mut self, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::Nodev)
    }
}

/// A name for one of the guest's own descriptors.
struct Alias(u32);

impl Node for Alias {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(CHARACTER))
    }

    /// A guest that opens it gets the descriptor itself; no other caller has one.
    fn open(&self, _how: Open) -> Result<Opened> {
        Err(Errno::Nxio)
    }

    fn alias(&self) -> Option<u32> {
        Some(self.0)
    }
}

/// `/dev/fd`: every descriptor by its number.
struct FdDir;

impl Node for FdDir {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        Ok(Opened::file(Listing(vec![("0", CHARACTER), ("1", CHARACTER), ("2", CHARACTER)])))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let digits = name.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let number = name.as_str().parse().ok().filter(|_| digits);
        Ok(Arc::new(Alias(number.ok_or(Errno::Noent)?)))
    }
}
