//! Names: who is asked, whose answers are dialled, and whose are not.

#![cfg(all(unix, feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
mod net_util;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use net_util::*;
use tinyhost::Errno;
use tinyhost::vfs::net::{Class, Host, Net, NetConfig, SystemResolver};
use tinyhost::vfs::{Name, Wait};

/// Listens there, and can tell whether anybody came.
struct Trap(TcpListener);

impl Trap {
    fn at(address: &str, port: u16) -> Trap {
        let listener = TcpListener::bind((address, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Trap(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn untouched(&self) -> bool {
        self.0.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

#[test]
fn a_name_that_turns_to_this_machine_or_its_network_is_refused_and_not_dialled() {
    let trap = Trap::at("127.0.0.1", 0);
    let port = trap.port();
    let trap6 = Trap::at("::1", port);
    let everywhere = Trap::at("127.0.0.2", port);
    let answers: &[&[&str]] = &[
        &["127.0.0.1"],
        &["127.0.0.2"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["::127.0.0.1"],
        &["2002:7f00:1::"],
        &["64:ff9b::7f00:1"],
        &["0.0.0.0"],
        &["::"],
        &["10.0.0.1"],
        &["192.168.1.1", "172.16.0.1"],
        &["fd00::1"],
        &["169.254.1.1", "fe80::1"],
        &["169.254.169.254"],
        &["::ffff:169.254.169.254"],
        &["fd00:ec2::254"],
        &["100.64.0.1"],
        &["224.0.0.1", "255.255.255.255"],
        &["10.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.2", "169.254.169.254"],
    ];
    for answer in answers {
        for path in [format!("flip.test:{port}"), format!("udp/flip.test/{port}")] {
            let world = World::with(&["*:*", &format!("flip.test:{port}")], &[]);
            world.resolver.knows("flip.test", answer);
            assert_eq!(world.dial(&path).err(), Some(Errno::Acces), "{answer:?}");
            assert_eq!(world.resolver.asked(), ["flip.test"], "looked up once");
            assert_eq!(world.denials().len(), 1);
        }
    }
    assert!(trap.untouched() && trap6.untouched() && everywhere.untouched());
}

#[test]
fn of_a_mixed_answer_only_what_is_allowed_is_dialled() {
    let refused = Trap::at("127.0.0.1", 0);
    let port = refused.port();
    let refused6 = Trap::at("::1", port);
    let allowed = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let rules = [format!("mixed.test:{port}"), format!("127.0.0.2:{port}")];
    let world = World::with(&[&rules[0], &rules[1]], &[]);
    world.resolver.knows(
        "mixed.test",
        &["127.0.0.1", "::ffff:127.0.0.1", "::1", "::ffff:127.0.0.2", "10.0.0.1"],
    );
    let _file = world.dial(&format!("mixed.test:{port}")).unwrap();
    allowed.accept().unwrap();
    assert!(refused.untouched() && refused6.untouched());
    assert!(world.denials().is_empty());
}

#[test]
fn a_denial_names_its_rule_once_and_nothing_is_looked_up() {
    let world = World::with(&["example.org:443"], &[]);
    for _ in 0..3 {
        for path in ["example.com:80", "tcp/EXAMPLE.com/80", "udp/example.com/80"] {
            assert_eq!(world.dial(path).err(), Some(Errno::Acces));
        }
        assert_eq!(world.for_guest().dial("[::1]:1997").err(), Some(Errno::Acces));
    }
    assert!(world.resolver.asked().is_empty());
    assert_eq!(
        world.denials(),
        [
            "denied: dial example.com:80 (allow with --net example.com:80)",
            "denied: dial [::1]:1997 (allow with --net [::1]:1997)",
        ]
    );
    world.resolver.knows("example.org", &["10.1.2.3"]);
    assert_eq!(world.dial("example.org:443").err(), Some(Errno::Acces));
    assert_eq!(
        world.denials()[2],
        "denied: dial example.org:443: it resolved to 10.1.2.3, a private address \
         (allow with --net 10.1.2.3:443)"
    );
}

#[test]
fn a_guest_can_not_flood_the_log_with_denials() {
    let world = World::with(&[], &[]);
    for number in 0..1000 {
        assert_eq!(world.dial(&format!("host{number}:80")).err(), Some(Errno::Acces));
    }
    let denials = world.denials();
    assert_eq!(denials.len(), 257);
    assert!(denials[256].contains("no more"), "{}", denials[256]);
}

#[test]
fn addresses_are_tried_in_turn_and_the_most_telling_failure_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::with(&["many.test:*", "127.0.0.0/8:*", "255.255.255.255:*"], &[]);
    world.resolver.knows("many.test", &["127.0.0.2", "127.0.0.3", "127.0.0.1"]);
    let _file = world.dial(&format!("many.test:{port}")).unwrap();
    listener.accept().unwrap();

    // The broadcast address can't be connected to at all; "refused" says more.
    world.resolver.knows("many.test", &["127.0.0.2", "255.255.255.255"]);
    assert_eq!(world.dial(&format!("many.test:{port}")).err(), Some(Errno::Connrefused));
    drop(listener);
    world.resolver.knows("many.test", &["255.255.255.255", "127.0.0.1"]);
    assert_eq!(world.dial(&format!("many.test:{port}")).err(), Some(Errno::Connrefused));
}

#[test]
fn a_silent_first_address_leaves_time_for_the_second() {
    let (_listener, _full, silent) = full_backlog();
    let second = TcpListener::bind(("127.0.0.2", silent.port())).unwrap();
    let rules = ["127.0.0.0/8:*", "two.test:*"];
    let world =
        World::new(NetConfig { connect_timeout: Duration::from_secs(8), ..config(&rules, &[]) });
    world.resolver.knows("two.test", &["127.0.0.1", "127.0.0.2"]);
    let _file = world.dial(&format!("two.test:{}", silent.port())).unwrap();
    second.accept().unwrap();
}

#[test]
fn names_without_an_answer() {
    let world = World::with(&["*:*"], &[]);
    assert_eq!(world.dial("nosuch.test:80").err(), Some(Errno::Hostunreach));
    world.resolver.knows("empty.test", &[]);
    assert_eq!(world.dial("empty.test:80").err(), Some(Errno::Hostunreach));

    let timeout = Duration::from_millis(50);
    let world = World::new(NetConfig { connect_timeout: timeout, ..config(&["*:*"], &[]) });
    assert_eq!(world.dial("slow:80").err(), Some(Errno::Timedout));
}

#[test]
fn a_late_answer_wakes_who_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::with(&["slow:*", "127.0.0.1:*"], &[]);
    let mut dial = world.pending(&format!("slow:{port}"));
    assert_eq!(dial.proceed().err(), Some(Errno::Again));
    let waker = std::task::Waker::noop();
    assert!(matches!(dial.wait(waker), Wait::Waker));
    let answer = lock(&world.resolver.slow).pop().unwrap();
    let sender = thread::spawn(move || answer.send(Ok(vec![Ipv4Addr::LOCALHOST.into()])));
    finish(dial).unwrap();
    listener.accept().unwrap();
    sender.join().unwrap();
}

#[test]
fn an_answer_that_came_before_the_wait_is_not_missed() {
    let world = World::with(&["slow:*"], &[]);
    let mut dial = world.pending("slow:80");
    let answer = lock(&world.resolver.slow).pop().unwrap();
    answer.send(Err(Errno::Again)); // nonsense, and no reason to wait for ever
    assert!(matches!(dial.wait(std::task::Waker::noop()), Wait::Now));
    assert_eq!(dial.proceed().err(), Some(Errno::Hostunreach));
}

#[test]
fn dials_in_flight_are_limited_and_a_dropped_one_is_forgotten() {
    let world = World::new(NetConfig { dials_max: 2, ..config(&["*:*"], &[]) });
    let one = world.pending("slow:80");
    let two = world.pending("slow:81");
    assert_eq!(world.open("slow:82", READ_WRITE).err(), Some(Errno::Nfile));
    assert_eq!(world.resolver.asked().len(), 2, "not even asked");
    let wanted = |nth: usize| lock(&world.resolver.slow).get(nth).map(|a| a.is_wanted()).unwrap();
    assert!(wanted(0) && wanted(1));
    drop(one);
    assert!(!wanted(0) && wanted(1));
    let three = world.pending("slow:82");
    lock(&world.resolver.slow).clear();
    for dial in [two, three] {
        assert_eq!(finish(dial).err(), Some(Errno::Hostunreach));
    }
    assert!(world.open("slow:82", READ_WRITE).is_ok(), "both places are free again");
}

#[test]
fn the_system_resolver_knows_localhost_and_the_hosts_file() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let denials = Arc::new(Mutex::new(Vec::new()));
    let report = {
        let denials = denials.clone();
        Arc::new(move |line: &str| lock(&denials).push(line.to_owned()))
    };
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut listed = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        let name = words.next().filter(|name| *name != "localhost")?;
        let local = Class::of(address) != Class::Public;
        (local && matches!(Host::parse(name), Some(Host::Name(_)))).then_some(name)
    });
    let name = listed.next().unwrap_or("localhost").to_ascii_lowercase();
    let rules = [format!("localhost:{port}"), format!("{name}:{port}")];
    let resolver = SystemResolver::shared();
    let net = Net::new(NetConfig { resolver, report, ..config(&[&rules[0], &rules[1]], &[]) });
    let open = |name: &str| net.lookup(Name::new(name).unwrap()).unwrap().open(READ_WRITE);

    // 127.0.0.1 refuses; ::1 is tried too.
    let _file = open(&format!("localhost:{port}")).and_then(opened).unwrap();
    listener.accept().unwrap();

    // A name of the hosts file leads to this machine or its network: found, and refused.
    if name != "localhost" {
        let result = open(&format!("{name}:{port}")).and_then(opened);
        assert_eq!(result.err(), Some(Errno::Acces), "{name}");
        assert!(lock(&denials)[0].contains("it resolved to"));
    }
}
