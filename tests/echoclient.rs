//! Guests that talk TCP by opening a file, against servers of the test's own.

mod util;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use util::{Process, accept, echo_server, fixture, run, tinyhost};

/// Runs the client of the demo against `path`, with one rule.
fn talks(path: &str, rule: &str) {
    let args = ["--net", rule, &fixture("echoclient"), path];
    run(&args, b"hello\n").expect(0, "input>  output> hello\n", "");
}

/// A port of 127.0.0.1 where nobody listens. (Nobody else is given it for a while.)
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn dials(options: &[&str], path: &str) -> util::Ended {
    let guest = fixture("dial");
    run(&[options, &[&guest, path, "x"]].concat(), b"")
}

#[test]
fn a_line_goes_there_and_back_under_every_name() {
    type Names = fn(SocketAddr) -> (String, String);
    let names: [Names; 4] = [
        |at| (format!("/dev/{at}"), at.to_string()),
        |at| (format!("/dev/tcp/127.0.0.1/{}", at.port()), at.to_string()),
        |at| (format!("/dev/localhost:{}", at.port()), format!("localhost:{}", at.port())),
        |at| (format!("/dev/tcp/localhost/{}", at.port()), "localhost:*".into()),
    ];
    for name in names {
        let (at, served) = echo_server("127.0.0.1:0").unwrap();
        let (path, rule) = name(at);
        talks(&path, &rule);
        assert_eq!(served.join().unwrap(), b"hello\n", "{path}");
    }
}

#[test]
fn ipv6() {
    let names = |at: SocketAddr| [format!("/dev/{at}"), format!("/dev/tcp/::1/{}", at.port())];
    for name in 0..2 {
        let Ok((at, _)) = echo_server("[::1]:0") else {
            return eprintln!("skipped: this machine has no IPv6");
        };
        talks(&names(at)[name], &format!("[::1]:{}", at.port()));
    }
}

#[test]
fn localhost_is_whichever_of_its_addresses_answers() {
    let Ok((at, _)) = echo_server("[::1]:0") else {
        return eprintln!("skipped: this machine has no IPv6");
    };
    let name = format!("localhost:{}", at.port());
    // Where the hosts file has only 127.0.0.1 for the name, there is nothing to try.
    let known = std::net::ToSocketAddrs::to_socket_addrs(&name).unwrap();
    if known.into_iter().any(|address| address.is_ipv6()) {
        talks(&format!("/dev/{name}"), &name);
    }
}

#[test]
fn a_refused_dial_is_connrefused() {
    let at = format!("127.0.0.1:{}", closed_port());
    let path = format!("/dev/{at}");
    dials(&["--net", &at], &path).expect(1, "", "error: ConnectionRefused (os error 14)\n");
    let client = run(&["--net", &at, &fixture("echoclient"), &path], b"hello\n");
    let error = format!("echoclient: {path}: Connection refused (os error 14)\n");
    client.expect(1, "input> ", &error);
}

#[test]
fn a_denied_dial_is_acces_names_its_rule_and_reaches_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let denied = |options: &[&str], path: &str, target: &str| {
        let line = format!("tinyhost: denied: dial {target} (allow with --net {target})\n");
        dials(options, path).expect(
            1,
            "",
            &format!("error: PermissionDenied (os error 2)\n{line}"),
        );
    };
    let (own, named) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
    denied(&[], &format!("/dev/{own}"), &own);
    denied(&[], &format!("/dev/tcp/127.0.0.1/{port}"), &own);
    denied(&[], &format!("/dev/{named}"), &named);
    denied(&[], &format!("/dev/[::1]:{port}"), &format!("[::1]:{port}"));
    denied(&[], "/dev/example.org:80", "example.org:80");
    // A rule for the name is none for the address, nor the other way round; nor is one for
    // another port.
    denied(&["--net", &named], &format!("/dev/{own}"), &own);
    denied(&["--net", &own], &format!("/dev/{named}"), &named);
    denied(&["--net", &format!("127.0.0.1:{}", port ^ 1)], &format!("/dev/{own}"), &own);
    // `*` is every public address, which this is not.
    denied(&["--net", "*:*"], &format!("/dev/{own}"), &own);

    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn tinyhosts_own_server_may_be_dialled_unless_taken_away() {
    // Something may listen there, or not: it is only not denied.
    let plain = dials(&["--timeout", "2s"], "/dev/localhost:1997");
    assert!(!plain.stderr.contains("denied"), "{plain:?}");
    let with_rule = dials(&["--timeout", "2s", "--net", "10.0.0.1:5"], "/dev/localhost:1997");
    assert!(!with_rule.stderr.contains("denied"), "{with_rule:?}");
    dials(&["--net", "none"], "/dev/localhost:1997").expect(
        1,
        "",
        "error: PermissionDenied (os error 2)\n\
         tinyhost: denied: dial localhost:1997 (allow with --net localhost:1997)\n",
    );
}

#[test]
fn a_name_that_does_not_exist_is_hostunreach() {
    let ended = dials(&["--net", "nope.invalid:80"], "/dev/nope.invalid:80");
    assert_eq!(ended.status, Some(1), "{ended:?}");
    // The host's resolver has its own words for it, which the user is told.
    assert!(ended.stderr.starts_with("tinyhost: lookup of nope.invalid: "), "{ended:?}");
    assert!(ended.stderr.ends_with("error: HostUnreachable (os error 23)\n"), "{ended:?}");
}

#[test]
fn without_dev_there_is_no_network() {
    dials(&["--no-dev"], "/dev/localhost:1997").expect(
        1,
        "",
        "error: NotFound (os error 44)\n\
         tinyhost: hint: the guest has no '/dev/localhost:1997' because of --no-dev: leave that out \
         (also in the policy)\n",
    );
}

#[test]
fn a_silent_server_is_waited_for_until_the_time_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let guest = fixture("dial");
    let path = format!("/dev/{at}");
    let args = ["run", "--timeout", "5s", "--net", &at, &guest, &path, "x"];
    let process = Process::start(tinyhost(args));
    let client = accept(&listener);
    let ended = process.end();
    ended.expect(
        124,
        "",
        "tinyhost: fixtures/dial.wasm: timed out after 5 s (raise the limit with --timeout)\n",
    );
    ended.expect_idle();
    drop(client);
}
