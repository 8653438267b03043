//! Policy and limits: a TLS name is counted and judged as every other.

use std::net::TcpListener;

use tinyhost::Errno;
use tinyhost::vfs::net::NetConfig;

use super::support::{name, trusting};
use crate::net_util::{READ_WRITE, World, config, pending};
use crate::tls_util::{self, Authority, BOTH, serve_one, serve_raw};

#[test]
fn a_rule_for_tls_allows_no_plain_dial_and_a_plain_rule_allows_both() {
    // Nobody accepts: a handshake that has begun can neither succeed nor fail.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let plain = format!("localhost:{port}");
    let secure = format!("tls/localhost/{port}");
    let world = World::with(&[&format!("tls:localhost:{port}")], &[]);
    for path in [&plain, &format!("tcp/localhost/{port}"), &format!("udp/localhost/{port}")] {
        assert_eq!(world.open(path, READ_WRITE).err(), Some(Errno::Acces), "{path}");
    }
    assert_eq!(
        world.denials(),
        [format!("denied: dial localhost:{port} (allow with --net localhost:{port})")]
    );
    world.pending(&secure);
    let world = World::with(&[&plain], &[]);
    world.pending(&secure);
    let world = World::with(&[], &[]);
    assert_eq!(world.open(&secure, READ_WRITE).err(), Some(Errno::Acces));
    assert_eq!(
        world.denials(),
        [format!("denied: dial tls:localhost:{port} (allow with --net tls:localhost:{port})")]
    );
    assert_eq!(world.resolver.asked(), [""; 0]);
}

#[test]
fn a_name_that_leads_inside_is_refused_whatever_its_certificate() {
    let world = World::with(&["tls:flip.test:443"], &[]);
    world.resolver.knows("flip.test", &["127.0.0.1"]);
    assert_eq!(world.dial("tls/flip.test/443").err(), Some(Errno::Acces));
    assert!(world.denials()[0].ends_with("(allow with --net tls:127.0.0.1:443)"));
}

#[test]
fn handshakes_are_dials_in_progress_and_connections_are_sockets() {
    let authority = Authority::new("test");
    let silent: Vec<_> = (0..3)
        .map(|_| serve_raw(|stream| std::io::copy(&mut &stream, &mut std::io::sink())))
        .collect();
    let world = World::new(NetConfig { dials_max: 2, ..trusting(&authority) });
    let mut open = Vec::new();
    for (at, _) in &silent[..2] {
        let path = format!("tls/127.0.0.1/{}", at.port());
        open.push(pending(world.open(&path, READ_WRITE).unwrap()));
    }
    let third = format!("tls/127.0.0.1/{}", silent[2].0.port());
    assert_eq!(world.open(&third, READ_WRITE).err(), Some(Errno::Nfile));
    open.pop();
    open.push(pending(world.open(&third, READ_WRITE).unwrap()));
    drop(open);
    let world = World::new(NetConfig { sockets_max: 1, ..trusting(&authority) });
    let serve = || {
        serve_one(tls_util::config(&authority.server(), BOTH), |mut session| {
            std::io::copy(&mut session, &mut std::io::sink())
        })
    };
    let ((first, _), (second, _)) = (serve(), serve());
    let file = world.dial(&name(first)).unwrap();
    assert_eq!(world.dial(&name(second)).err(), Some(Errno::Nfile));
    drop(file);
    assert!(world.dial(&name(second)).is_ok());
}

#[test]
fn names_that_can_be_none_are_not_dialled() {
    let world = World::new(config(&["*:*"], &[]));
    for (path, errno) in [
        ("tls", Errno::Noent),
        ("tls/a.test", Errno::Noent),
        ("tls/a.test/443/x", Errno::Noent),
        ("tls/a.test/0", Errno::Inval),
        ("tls/a.test/70000", Errno::Inval),
        ("tls/a b/443", Errno::Inval),
        ("tls/-/443", Errno::Inval),
    ] {
        assert_eq!(world.open(path, READ_WRITE).err(), Some(errno), "{path}");
    }
    assert_eq!(world.resolver.asked(), [""; 0]);
}
