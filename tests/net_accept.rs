//! Servers by file, and preopened listeners.

#![cfg(all(unix, feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
mod net_util;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread;

use net_util::*;
use tinyhost::Errno;
use tinyhost::vfs::net::Listener;
use tinyhost::vfs::{File, Filetype, Interest, Open, Wait};

#[test]
fn opens_of_an_accept_name_are_served_in_their_order() {
    let world = World::with(&[], &["127.0.0.1:0"]);
    let other = world.for_guest();
    let name = "accept/127.0.0.1:0";
    let mut first = world.pending(name);
    let at = world.net.bound()[0].1;
    assert_eq!(world.net.bound(), [("127.0.0.1:0".parse().unwrap(), at)]);
    let mut second = other.pending(name);
    let mut third = world.pending(name);
    assert_eq!(world.net.bound().len(), 1, "one listener for all");
    assert_eq!(first.proceed().err(), Some(Errno::Again));
    assert!(first.restarts(), "nothing is lost by giving up before a client is there");

    // The second waits for its turn, which comes when the first has its client.
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    assert!(matches!(first.wait(&waker), Wait::Fd(_)));
    assert!(matches!(second.wait(&waker), Wait::Waker));

    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(at).unwrap()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&[b'0' + number as u8]).unwrap();
    }
    assert_eq!(third.proceed().err(), Some(Errno::Again), "not its turn, though there is a client");
    assert_eq!(second.proceed().err(), Some(Errno::Again));
    let mut first = finish(first).unwrap();
    assert_eq!(woken.count(), 1);
    let mut again = world.pending(name);
    assert_eq!(again.proceed().err(), Some(Errno::Again), "who comes back is last");

    // One who gives up leaves its place to the next.
    drop(second);
    let mut third = finish(third).unwrap();
    let mut again = finish(again).unwrap();
    for (number, file) in [&mut first, &mut third, &mut again].into_iter().enumerate() {
        let mut got = [0];
        drive(&mut **file, Interest::READ, |file| read(file, &mut got)).unwrap();
        assert_eq!(got[0], b'0' + number as u8);
        write_all(&mut **file, b"bye");
    }
    drop((first, third, again));
    for client in &mut clients {
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "bye");
    }
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl Woken {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn many_threads_share_one_accept_name() {
    const CLIENTS: usize = 60;
    const GUESTS: usize = 3;
    let world = World::with(&[], &["127.0.0.1:0"]);
    let at = world.bound_address("accept/127.0.0.1:0,addr");
    let guests: Vec<_> = (0..GUESTS)
        .map(|_| {
            let guest = world.for_guest();
            thread::spawn(move || {
                for _ in 0..CLIENTS / GUESTS {
                    let mut file = guest.dial("accept/127.0.0.1:0").unwrap();
                    let mut got = [0; 8];
                    let n = drive(&mut *file, Interest::READ, |file| read(file, &mut got)).unwrap();
                    write_all(&mut *file, &got[..n]);
                }
            })
        })
        .collect();
    // One client after the other: nobody may be left out, or this never ends.
    for number in 0..CLIENTS {
        let mut client = TcpStream::connect(at).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(&[number as u8]).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert_eq!(got, [number as u8]);
    }
    guests.into_iter().for_each(|guest| guest.join().unwrap());
}

#[test]
fn a_listener_outlives_its_accepts_and_ends_with_its_network() {
    let world = World::with(&[], &["localhost:0"]);
    // Reading the name's address binds it too.
    let at = world.bound_address("accept/localhost:0,addr");
    assert_eq!(at.ip(), Ipv4Addr::LOCALHOST);
    for _ in 0..2 {
        let _client = TcpStream::connect(at).unwrap();
        drop(world.dial("accept/127.0.0.1:0").unwrap());
    }
    // A client who comes when nobody waits is not refused.
    let _early = TcpStream::connect(at).unwrap();
    let pending = world.open("accept/127.0.0.1:0", READ_WRITE).unwrap();
    drop(world);
    drop(pending);
    assert!(TcpStream::connect(at).is_err(), "closed, with all its copies");
}

#[test]
fn accept_names_that_can_not_be_bound() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let world = World::with(&[], &[&at.to_string(), "192.0.2.1:80"]);
    assert_eq!(world.dial(&format!("accept/{at}")).err(), Some(Errno::Addrinuse));
    assert_eq!(world.dial("accept/192.0.2.1:80").err(), Some(Errno::Addrnotavail));
    for _ in 0..2 {
        assert_eq!(world.dial("accept/127.0.0.1:8080").err(), Some(Errno::Acces));
        assert_eq!(world.dial("accept/[::1]:0,addr").err(), Some(Errno::Acces), "for writing");
        let read = Open { read: true, ..Open::default() };
        assert_eq!(world.open("accept/[::1]:0,addr", read).err(), Some(Errno::Acces));
    }
    assert_eq!(
        world.denials(),
        [
            "denied: listen on 127.0.0.1:8080 (allow with --net-listen 127.0.0.1:8080)",
            "denied: listen on [::1]:0 (allow with --net-listen [::1]:0)",
        ]
    );
}

#[test]
fn a_preopened_listener_accepts() {
    let world = World::with(&[], &[]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listener = Listener::new(socket, &world.net).unwrap();
    let at = listener.local_addr().unwrap();
    assert_eq!(listener.stat().unwrap().filetype, Filetype::SocketStream);
    assert_eq!(listener.accept().err(), Some(Errno::Again));
    assert_eq!(listener.ready(Interest::READ), Err(Errno::Again));
    assert_eq!(read(&mut listener, &mut [0]), Err(Errno::Notconn));
    assert_eq!(listener.shutdown(BOTH), Err(Errno::Notconn));

    let mut client = TcpStream::connect(at).unwrap();
    let ready = drive(&mut listener, Interest::READ, |file| file.ready(Interest::READ));
    assert_eq!(ready.unwrap().nbytes, 0);
    let mut file = drive(&mut listener, Interest::READ, |file| file.accept()).unwrap();
    write_all(&mut *file, b"hello");
    drop(file);
    let mut got = String::new();
    client.read_to_string(&mut got).unwrap();
    assert_eq!(got, "hello");

    let mut other = listener.try_clone(&world.net).unwrap();
    drop(listener);
    let _client = TcpStream::connect(at).unwrap();
    drive(&mut other, Interest::READ, |file| file.accept()).unwrap();
}
