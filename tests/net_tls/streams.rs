//! An open connection, as a stream.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::sync::mpsc::channel;

use tinyhost::Errno;
use tinyhost::vfs::{Filetype, Interest, Wait};

use super::support::{name, world};
use crate::busy::LIMIT;
use crate::net_util::{drive, read, read_to_end, write_all};
use crate::tls_util::{self, Authority, BOTH, Session, finish, serve_one};

/// A connection to such a server.
fn connected<T: Send + 'static>(
    serve: impl FnOnce(Session) -> T + Send + 'static,
) -> (Box<dyn tinyhost::vfs::File>, std::thread::JoinHandle<T>) {
    let authority = Authority::new("test");
    let (at, server) = serve_one(tls_util::config(&authority.server(), BOTH), serve);
    let world = world(&authority);
    (world.dial(&name(at)).unwrap(), server)
}

#[test]
fn what_is_written_comes_out_and_what_comes_is_read() {
    let (mut file, server) = connected(|mut session| {
        let mut text = [0; 5];
        session.read_exact(&mut text).unwrap();
        session.write_all(b"world").unwrap();
        finish(session);
        text
    });
    assert_eq!(file.stat().unwrap().filetype, Filetype::SocketStream);
    let parts = [IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo")];
    assert_eq!(file.write(&parts, 0), Ok(5));
    let (mut one, mut two) = ([0; 3], [0; 8]);
    let count = drive(&mut *file, Interest::READ, |file| {
        file.read(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)], 0)
    });
    assert_eq!((count, &one, &two[..2]), (Ok(5), b"wor", &b"ld"[..]));
    assert_eq!(read_to_end(&mut *file), b"");
    drop(file);
    assert_eq!(server.join().unwrap(), *b"hello");
}

#[test]
fn readiness_says_what_a_call_would_find() {
    let (send, wait) = channel::<()>();
    let (mut file, server) = connected(move |mut session| {
        session.flush().unwrap();
        wait.recv_timeout(LIMIT).unwrap();
        session.write_all(b"abc").unwrap();
        wait.recv_timeout(LIMIT).unwrap();
        finish(session);
    });
    let waker = std::task::Waker::noop();
    assert_eq!(file.ready(Interest::READ), Err(Errno::Again));
    let waits = |wait: Wait<'_>| match wait {
        Wait::FdFor(_, want) => Some(want),
        _ => None,
    };
    assert_eq!(waits(file.wait(Interest::READ, waker)), Some(Interest::READ));
    assert!(file.ready(Interest::WRITE).is_ok());
    assert_eq!(read(&mut *file, &mut [0; 8]), Err(Errno::Again));
    assert_eq!(file.peek(&mut [IoSliceMut::new(&mut [0; 8])]), Err(Errno::Again));
    send.send(()).unwrap();
    let ready = drive(&mut *file, Interest::READ, |file| file.ready(Interest::READ)).unwrap();
    assert_eq!((ready.nbytes, ready.hangup), (3, false));
    assert!(matches!(file.wait(Interest::READ, waker), Wait::Now), "it was received already");
    let mut buf = [0; 8];
    assert_eq!(file.peek(&mut [IoSliceMut::new(&mut buf[..2])]), Ok(2));
    assert_eq!((read(&mut *file, &mut buf), &buf[..3]), (Ok(3), &b"abc"[..]));
    assert_eq!(read(&mut *file, &mut []), Ok(0), "an empty read is no end");
    send.send(()).unwrap();
    let ready = drive(&mut *file, Interest::READ, |file| file.ready(Interest::READ)).unwrap();
    assert_eq!((ready.nbytes, ready.hangup), (0, true));
    assert_eq!(read(&mut *file, &mut buf), Ok(0));
    drop(file);
    server.join().unwrap();
}

#[test]
fn shutdown_says_so_and_leaves_the_other_direction_open() {
    let (mut file, server) = connected(|mut session| {
        let mut all = Vec::new();
        session.read_to_end(&mut all).unwrap();
        session.write_all(b"got it").unwrap();
        finish(session);
        all
    });
    write_all(&mut *file, b"all of it");
    assert_eq!(file.shutdown(Interest { read: false, write: false }), Err(Errno::Inval));
    file.shutdown(Interest::WRITE).unwrap();
    let more = file.write(&[IoSlice::new(b"x")], 0);
    assert_eq!(more, Err(Errno::Pipe));
    assert_eq!(read_to_end(&mut *file), b"got it");
    file.shutdown(Interest::READ).unwrap();
    assert_eq!(read(&mut *file, &mut [0; 8]), Ok(0));
    drop(file);
    assert_eq!(server.join().unwrap(), b"all of it");
}

#[test]
fn a_file_that_is_closed_says_so_to_the_server() {
    let (mut file, server) = connected(|mut session| {
        let mut all = Vec::new();
        session.read_to_end(&mut all).map(|_| all)
    });
    write_all(&mut *file, &[7; 100_000]);
    drop(file);
    assert_eq!(server.join().unwrap().unwrap(), [7; 100_000], "an end that is whole");
}

#[test]
fn much_in_both_directions_at_once_gets_through() {
    const MUCH: usize = 4 << 20;
    let (mut file, server) = connected(|mut session| {
        // All of it is written before anything is read: the client has to do both.
        session.write_all(&vec![1; MUCH]).unwrap();
        session.flush().unwrap();
        let mut back = vec![0; MUCH];
        session.read_exact(&mut back).unwrap();
        finish(session);
        back.iter().all(|byte| *byte == 2)
    });
    let bytes = vec![2; MUCH];
    let (mut sent, mut came) = (0, 0);
    let mut buf = vec![0; 10_000];
    while sent < MUCH || came < MUCH {
        let moved = drive(&mut *file, crate::net_util::BOTH, |file| {
            match read(file, &mut buf) {
                Ok(count) if count > 0 => return Ok((0, count)),
                Ok(_) | Err(Errno::Again) => {}
                Err(error) => return Err(error),
            }
            if sent == MUCH {
                return Err(Errno::Again);
            }
            Ok((file.write(&[IoSlice::new(&bytes[sent..])], 0)?, 0))
        });
        let moved = moved.unwrap();
        sent += moved.0;
        came += moved.1;
    }
    drop(file);
    assert!(server.join().unwrap());
}

#[test]
fn a_tail_that_is_unsent_goes_out_while_the_guest_reads() {
    let (ready, wait) = channel::<()>();
    let (mut file, server) = connected(move |mut session| {
        session.flush().unwrap();
        // Nothing is read until the client has filled what there is of buffers.
        wait.recv_timeout(LIMIT).unwrap();
        let mut all = Vec::new();
        session.read_to_end(&mut all).unwrap();
        session.write_all(all.len().to_string().as_bytes()).unwrap();
        finish(session);
    });
    let mut sent = 0;
    loop {
        match file.write(&[IoSlice::new(&[3; 50_000])], 0) {
            Ok(count) => sent += count,
            Err(Errno::Again) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    file.shutdown(Interest::WRITE).unwrap();
    ready.send(()).unwrap();
    assert_eq!(read_to_end(&mut *file), sent.to_string().as_bytes());
    drop(file);
    server.join().unwrap();
}

#[test]
fn what_was_taken_arrives_though_the_guest_closes_at_once() {
    let (send, wait) = channel::<()>();
    let (shook, has_shaken) = channel::<()>();
    let (mut file, server) = connected(move |mut session| {
        session.flush().unwrap();
        shook.send(()).unwrap();
        wait.recv_timeout(LIMIT).unwrap();
        // It ends without close_notify: there was no room for that.
        let mut all = Vec::new();
        let _ = session.read_to_end(&mut all);
        all.len()
    });
    // Its tickets have come: those that find a closed socket have it reset.
    has_shaken.recv_timeout(LIMIT).unwrap();
    let record = [7; 10_000];
    let mut taken = 0;
    // The system moves some of it to the other end meanwhile.
    for _ in 0..20 {
        loop {
            match file.write(&[IoSlice::new(&record)], 0) {
                Ok(count) => taken += count,
                Err(errno) => {
                    assert_eq!(errno, Errno::Again);
                    break;
                }
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(file);
    send.send(()).unwrap();
    assert_eq!(server.join().unwrap(), taken);
}

#[test]
fn one_write_takes_no_more_than_is_kept() {
    let (send, wait) = channel::<()>();
    let (mut file, server) = connected(move |mut session| {
        session.flush().unwrap();
        wait.recv_timeout(LIMIT).unwrap();
    });
    let much = vec![7; 1 << 20];
    assert!(file.write(&[IoSlice::new(&much)], 0).is_ok_and(|count| count <= 16 << 10));
    send.send(()).unwrap();
    server.join().unwrap();
}

#[test]
fn a_direction_that_is_shut_has_ended_though_more_comes() {
    let (send, wait) = channel::<()>();
    let (mut file, server) = connected(move |mut session| {
        session.write_all(b"first").unwrap();
        wait.recv_timeout(LIMIT).unwrap();
        let _ = session.write_all(b"second");
    });
    let mut buf = [0; 64];
    drive(&mut *file, Interest::READ, |file| read(file, &mut buf)).unwrap();
    file.shutdown(Interest::READ).unwrap();
    send.send(()).unwrap();
    server.join().unwrap();
    assert_eq!(read(&mut *file, &mut buf), Ok(0));
    assert_eq!(file.peek(&mut [IoSliceMut::new(&mut buf)]), Ok(0));
    assert!(file.ready(Interest::READ).is_ok_and(|ready| ready.hangup));
}

#[test]
fn requests_are_agreed_on_and_other_streams_have_no_protocol() {
    for (path, protocol) in [("tls/localhost/", None), ("https/localhost:", Some("http/1.1"))] {
        let authority = Authority::new("test");
        let mut config = tls_util::config(&authority.server(), BOTH);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (at, server) = serve_one(config, |mut session| {
            session.flush().unwrap();
            session.conn.alpn_protocol().map(<[u8]>::to_vec)
        });
        let file = world(&authority).dial(&format!("{path}{}", at.port()));
        assert!(file.is_ok(), "{path}");
        assert_eq!(server.join().unwrap().as_deref(), protocol.map(str::as_bytes), "{path}");
    }
}
