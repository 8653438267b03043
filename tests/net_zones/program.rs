//! The program's options.

use super::own_network::in_own_network;
use crate::util::{Process, run, tinyhost};

#[test]
fn a_server_is_bound_and_dialled_with_a_zone() {
    in_own_network("net_zones::program::a_server_is_bound_and_dialled_with_a_zone", || {
        let serve = ["serve", "--bind", "[fe80::1%lo]:0", "fixtures/echo.wasm"];
        let server = Process::start(tinyhost(serve));
        let line = server.wait_for_line("[fe80::1%1]:");
        let port = line.rsplit("[fe80::1%1]:").next().expect("a port");
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        for path in [format!("[fe80::1%lo]:{port}"), format!("tcp/fe80::1%1/{port}")] {
            let path = format!("/dev/{path}");
            let rule = format!("[fe80::1%lo]:{port}");
            let client = ["--net", &rule, "fixtures/echoclient.wasm", &path];
            run(&client, b"hello\n").expect(0, "input>  output> hello\n", "");
        }
    });
}

#[test]
fn an_option_says_what_is_wrong_with_a_zone() {
    let no_interface = "this machine has no interface 'no-such': write one of those that 'ip link' \
                        lists";
    let not_local = "only a link-local address has a zone: remove what follows %";
    let empty = "the zone is empty: write the interface, as [fe80::1%eth0]";
    for (address, what) in [
        ("[fe80::1%no-such]:80", no_interface),
        ("[::1%lo]:80", not_local),
        ("[fe80::1%]:80", empty),
        (
            "[fe80::1%l/o]:80",
            "no zone has this character: write the interface's name, or its number, as [fe80::1%2]",
        ),
        ("[fe80::1%1]:8000-8100", "write ADDR:PORT, such as [fe80::1%eth0]:80"),
        ("[fe80::1%1]/64:80", "the address has bits beyond its mask: write [fe80::%1]/64"),
        ("[fe80::%1]/64:80", "write ADDR:PORT, such as [fe80::1%eth0]:80"),
    ] {
        for option in ["--bind", "--metrics", "--listen"] {
            let command = if option == "--listen" { "run" } else { "serve" };
            let words = [command, option, address, "fixtures/true.wasm"];
            let ended = Process::start(tinyhost(words)).end();
            let line = format!("tinyhost: invalid {option} '{address}': {what}");
            assert_eq!(ended.stderr.lines().next(), Some(&*line));
            assert_eq!(ended.status, Some(2));
        }
    }
    let ended = run(&["--net", "[fe80::1%no-such]:80", "fixtures/true.wasm"], b"");
    let line = format!(
        "tinyhost: --net '[fe80::1%no-such]:80', column 10: {no_interface}\n  \
         [fe80::1%no-such]:80\n           ^^^^^^^\n"
    );
    assert_eq!((ended.status, &*ended.stderr), (Some(2), &*line));
}
