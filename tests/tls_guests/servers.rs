//! nginx and OpenSSL with certificates of the test's own.

use std::net::TcpListener;
use std::sync::Arc;

use rustls::{ServerConnection, StreamOwned};

use crate::tls_util::{Authority, BOTH, Identity, bad_certificates, config, finish};
use crate::util::{Ended, TempDir, run};
use crate::web::{Web, answer};

/// A web server with this certificate, and lines of its configuration besides. The stand-in
/// serves for the length of the test.
pub fn secure(identity: &Identity, lines: &str) -> Web {
    let folder = TempDir::new();
    let certificate = folder.file("server.pem", identity.pem.0.as_bytes());
    let key = folder.file("server.key", identity.pem.1.as_bytes());
    let tls = format!("ssl_certificate {certificate}; ssl_certificate_key {key}; {lines}");
    let config = Arc::new(config(identity, BOTH));
    Web::with(
        |at, _| format!("listen {at} ssl; {tls}"),
        |_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let connection = ServerConnection::new(config.clone()).unwrap();
                    let mut session = StreamOwned::new(connection, stream.unwrap());
                    answer(&mut session);
                    finish(session);
                }
            });
            at
        },
    )
}

/// The file of an authority, in a folder that lives as long.
pub struct Trusted {
    pub path: String,
    _folder: TempDir,
}

impl Trusted {
    pub fn new(authority: &Authority) -> Trusted {
        let folder = TempDir::new();
        let path = folder.file("ca.pem", authority.pem().as_bytes());
        Trusted { path, _folder: folder }
    }
}

/// `dial.wasm` asks that server for its page.
pub fn fetch(options: &[&str], path: &str) -> Ended {
    let request = "GET /data.txt HTTP/1.0\r\n\r\n";
    run(&[options, &["fixtures/dial.wasm", path, request]].concat(), b"")
}

const ACCESS: &str = "error: PermissionDenied (os error 2)\n";
const IO: &str = "error: Uncategorized (os error 29)\n";

#[test]
fn nginx_with_each_bad_certificate_is_refused_with_the_reason() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    for (identity, why) in bad_certificates(&authority) {
        let web = secure(&identity, "");
        let port = web.at.port();
        let rule = format!("tls:localhost:{port}");
        let options = ["--net", &rule, "--tls-ca", &trusted.path];
        let ended = fetch(&options, &format!("/dev/tls/localhost/{port}"));
        assert_eq!(ended.status, Some(1));
        // OpenSSL does not use a key that may not sign.
        if web.is_nginx() && ended.stderr.contains("alert 'HandshakeFailure'") {
            assert!(why.contains("does not allow its key to sign"), "{why}: {ended:?}");
            continue;
        }
        let line = format!("tinyhost: denied: dial tls:localhost:{port}: ");
        assert!(ended.stderr.starts_with(&format!("{ACCESS}{line}")), "{ended:?}");
        assert!(ended.stderr.contains(why), "{why}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:?}");
    }
}

#[test]
fn nginx_of_an_older_version_is_refused_and_of_the_two_known_ones_not() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    for (versions, fine) in [("TLSv1 TLSv1.1", false), ("TLSv1.2", true), ("TLSv1.3", true)] {
        let lines = format!("ssl_protocols {versions}; ssl_ciphers DEFAULT:@SECLEVEL=0;");
        let web = secure(&authority.server(), &lines);
        let port = web.at.port();
        let rule = format!("tls:127.0.0.1:{port}");
        let options = ["--net", &rule, "--tls-ca", &trusted.path];
        let ended = fetch(&options, &format!("/dev/tls/127.0.0.1/{port}"));
        if fine {
            assert_eq!((ended.status, &*ended.stderr), (Some(0), ""), "{versions}");
        } else if web.is_nginx() {
            assert_eq!(ended.status, Some(1));
            let why = "the server speaks neither TLS 1.2 nor 1.3";
            let line = format!("tinyhost: failed: dial tls:127.0.0.1:{port}: {why}\n");
            assert_eq!(ended.stderr, format!("{IO}{line}"));
        }
    }
}

/// OpenSSL asks for a new handshake, in the middle of a session of TLS 1.2.
#[test]
fn a_server_that_renegotiates_is_told_no_or_given_up() {
    use crate::util::Process;
    use std::process::{Command, Stdio};

    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        eprintln!("SKIPPED: there is no openssl");
        return;
    }
    let authority = Authority::new("test");
    let (trusted, folder) = (Trusted::new(&authority), TempDir::new());
    let identity = authority.server();
    let certificate = folder.file("server.pem", identity.pem.0.as_bytes());
    let key = folder.file("server.key", identity.pem.1.as_bytes());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut openssl = Command::new("openssl");
    openssl.args(["s_server", "-tls1_2", "-cert", &certificate, "-key", &key]);
    openssl.args(["-accept", &format!("127.0.0.1:{port}")]);
    let mut openssl = Process::start(openssl);
    openssl.wait_for_output("ACCEPT");
    let rule = format!("tls:127.0.0.1:{port}");
    let path = format!("/dev/tls/127.0.0.1/{port}");
    let guest =
        ["run", "--net", &rule, "--tls-ca", &trusted.path, "fixtures/dial.wasm", &path, "hi"];
    let guest = Process::start(crate::util::tinyhost(guest));
    openssl.wait_for_output("hi");
    // A command of its own, and then text for the client.
    openssl.write(b"r\n");
    openssl.write(b"still here\nQ\n");
    let ended = guest.end();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let refused = ended.stderr.starts_with(IO);
    assert!(refused || said == "still here\n", "{ended:?}");
}
