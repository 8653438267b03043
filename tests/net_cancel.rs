//! A parked guest that is dropped, or whose time is up, closes all it held.

#![cfg(all(target_os = "linux", feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
mod net_util;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use net_util::*;
use tinyhost::sched::{Event, GuestId, Scheduler};
use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::Listener;
use tinyhost::{End, Guest, Program, WasiCtx};

/// A guest in a world of its own, driven as far as it gets.
struct Driven {
    world: World,
    scheduler: Scheduler,
    id: GuestId,
}

impl Driven {
    fn start(world: World, words: &[&str], listen: Option<TcpListener>) -> Driven {
        let file = format!("{}/fixtures/{}.wasm", env!("CARGO_MANIFEST_DIR"), words[0]);
        let program = Program::new(std::fs::read(file).unwrap()).unwrap();
        let dev = Arc::new(Dev::with_net(world.net.clone()));
        let namespace = Namespace::builder().mount("/dev", dev).unwrap().build();
        let mut cx = WasiCtx::builder().namespace(namespace);
        for word in words {
            cx = cx.arg(word).unwrap();
        }
        if let Some(socket) = listen {
            cx = cx.socket("listener", Box::new(Listener::new(socket, &world.net).unwrap()));
        }
        let mut scheduler = Scheduler::new().unwrap();
        let id = scheduler.spawn(Guest::new(&program, cx.build()), None);
        Driven { world, scheduler, id }
    }

    /// Runs it until `done`, and then until it has nothing to do but to wait.
    fn until(&mut self, mut done: impl FnMut(&World) -> bool) {
        let start = Instant::now();
        let mut happened = Vec::new();
        loop {
            self.scheduler.turn(Some(Duration::from_millis(20)), &mut happened).unwrap();
            assert!(happened.is_empty(), "it ended: {happened:?}");
            let guest = format!("{:?}", self.scheduler.guest(self.id).unwrap());
            if guest.contains("parked") && done(&self.world) {
                return;
            }
            assert!(start.elapsed() < LIMIT, "it never came to where it should wait: {guest}");
        }
    }

    /// Drops the guest while it waits, and nothing else.
    fn cancel(&mut self) {
        drop(self.scheduler.cancel(self.id).expect("it has not ended"));
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A client, or an accepted peer, whose other side is gone: all that is left, then the end.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the end");
    all
}

fn in_lookup() {
    let mut guest = Driven::start(World::with(&["slow:80"], &[]), &["dial", "/dev/slow:80"], None);
    guest.until(|world| world.resolver.asked() == ["slow"]);
    guest.cancel();
    // Who answers now is not listened to.
    let answer = lock(&guest.world.resolver.slow).pop().unwrap();
    answer.send(Ok(vec!["127.0.0.1".parse().unwrap()]));
}

fn in_connect() {
    let (_listener, _fill, at) = full_backlog();
    let at = at.to_string();
    let before = open_descriptors();
    let world = World::with(&[&at], &[]);
    let mut guest = Driven::start(world, &["dial", &format!("/dev/{at}"), "x"], None);
    let alone = open_descriptors();
    guest.until(|_| true);
    assert_eq!(open_descriptors(), alone + 1, "the socket that connects");
    guest.cancel();
    assert_eq!(open_descriptors(), alone);
    drop(guest);
    assert_eq!(open_descriptors(), before);
}

fn in_accept() {
    let name = "/dev/accept/127.0.0.1:0";
    let world = World::with(&[], &["127.0.0.1:0"]);
    let mut guest = Driven::start(world, &["acceptecho", name, "1"], None);
    guest.until(|world| !world.net.bound().is_empty());
    let at = guest.world.net.bound()[0].1;
    guest.cancel();
    drop(guest);
    assert!(TcpStream::connect(at).is_err(), "nobody listens any more");

    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let mut guest = Driven::start(World::with(&[], &[]), &["clistenecho", "1"], Some(socket));
    guest.until(|_| true);
    guest.cancel();
    assert!(TcpStream::connect(at).is_err(), "the listener was the guest's");
}

/// Drops a guest that has dialled and said something; what its peer got of it.
fn dialled(text: &str) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    listener.set_nonblocking(true).unwrap();
    let world = World::with(&[&at], &[]);
    let mut guest = Driven::start(world, &["dial", &format!("/dev/{at}"), text], None);
    let mut peer = None;
    guest.until(|_| {
        peer = peer.take().or_else(|| Some(listener.accept().ok()?.0));
        let Some(peer) = &peer else { return false };
        peer.set_nonblocking(true).unwrap();
        peer.peek(&mut [0]).is_ok()
    });
    guest.cancel();
    rest(&peer.unwrap()).len()
}

fn in_read() {
    assert_eq!(dialled("hello"), 5);
}

fn in_write() {
    let text = "x".repeat(16 << 20);
    assert!(dialled(&text) < text.len(), "all went out though nobody read");
}

fn in_poll() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let mut guest = Driven::start(World::with(&[], &[]), &["pollserver", "-", "50"], Some(socket));
    let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
    for client in &mut clients {
        std::io::Write::write_all(client, b"hello").unwrap();
        client.set_nonblocking(true).unwrap();
    }
    guest.until(|_| clients.iter().all(|client| client.peek(&mut [0]).is_ok()));
    guest.cancel();
    assert!(clients.iter().all(|client| rest(client) == b"hello"));
}

/// One test, so that nobody else of this process opens or closes anything meanwhile.
#[test]
fn a_dropped_guest_closes_all_it_held() {
    let before = open_descriptors();
    for (what, wait) in [
        ("lookup", in_lookup as fn()),
        ("connect", in_connect),
        ("accept", in_accept),
        ("read", in_read),
        ("write", in_write),
        ("poll", in_poll),
    ] {
        wait();
        assert_eq!(open_descriptors(), before, "left open by a guest dropped in {what}");
    }
    a_lookup_ends_with_the_guests_time();
}

fn a_lookup_ends_with_the_guests_time() {
    let world = World::with(&["slow:80"], &[]);
    let Driven { world, mut scheduler, id } =
        Driven::start(world, &["dial", "/dev/slow:80", "x"], None);
    let guest = scheduler.cancel(id).unwrap();
    let start = Instant::now();
    scheduler.spawn(*guest, Some(start + Duration::from_millis(200)));
    let mut happened = Vec::new();
    while happened.is_empty() {
        scheduler.turn(Some(LIMIT), &mut happened).unwrap();
        assert!(start.elapsed() < LIMIT, "it went on after its time");
    }
    assert!(matches!(happened[..], [Event::Ended(_, End::TimedOut, _)]), "{happened:?}");
    assert_eq!(world.resolver.asked(), ["slow"]);
}
