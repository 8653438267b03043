//! A network for one test.

use std::env;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::busy::LIMIT;

/// Set in the program that has its own network.
const INSIDE: &str = "TINYHOST_OWN_NETWORK";

/// Waits until datagrams arrive at both addresses: the system makes their routes after it has
/// answered, and a connect in between fails.
fn await_routes() {
    for at in ["[fe80::1%1]:0", "[fe80::2%1]:0"] {
        let socket = UdpSocket::bind(at).expect("the address is there");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let to = socket.local_addr().expect("an address");
        let start = Instant::now();
        loop {
            let sent = UdpSocket::bind("[::]:0").and_then(|from| from.send_to(b"x", to));
            if sent.is_ok() && socket.recv(&mut [0]).is_ok() {
                break;
            }
            assert!(start.elapsed() < LIMIT, "{to} can't be reached");
        }
    }
}

/// Runs the test of that name in a network of its own.
pub fn in_own_network(name: &str, test: fn()) {
    if env::var_os(INSIDE).is_some() {
        await_routes();
        return test();
    }
    let set_up = "ip link set lo up && ip address add fe80::1/64 dev lo nodad && \
                  ip address add fe80::2/64 dev lo nodad && exec \"$@\"";
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "sh", "-c", set_up, "sh"]).args(command);
        unshare
    };
    let possible = unshare(&["true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        // Also in CI: a container may not be allowed to make one, whatever is installed.
        eprintln!("SKIPPED: unshare and ip can't make a network");
        return;
    }
    let program = env::current_exe().expect("this program");
    let program = program.to_str().expect("its path is text");
    let mut again = unshare(&[program, "--exact", name, "--nocapture"]);
    let output = again.env(INSIDE, "1").output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{failed}");
}
