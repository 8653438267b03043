//! `--tls-ca`, `--tls-pin`, SSL_CERT_FILE: whom to trust, and mistakes in saying so.

use super::servers::{Trusted, fetch, secure};
use crate::tls_util::Authority;
use crate::util::{Ended, Process, TempDir, run, tinyhost};

const HASH: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

/// A dial with SSL_CERT_FILE set.
fn fetch_with_variable(file: &str, options: &[&str], path: &str) -> Ended {
    let words = [&["run"], options, &["fixtures/dial.wasm", path, "GET / HTTP/1.0\r\n\r\n"]];
    let mut command = tinyhost(words.concat());
    command.env("SSL_CERT_FILE", file);
    Process::start(command).input(b"").end()
}

#[test]
fn authorities_come_from_the_option_or_the_variable() {
    let (authority, other) = (Authority::new("test"), Authority::new("other"));
    let (trusted, others) = (Trusted::new(&authority), Trusted::new(&other));
    let web = secure(&authority.server(), "");
    let port = web.at.port();
    let rule = format!("tls:localhost:{port}");
    let path = format!("/dev/tls/localhost/{port}");
    let net = ["--net", &rule];
    let unknown = |ended: &Ended| ended.stderr.contains("unknown issuer");
    assert!(unknown(&fetch(&net, &path)), "those of browsers do not know it");
    assert_eq!(fetch_with_variable(&trusted.path, &net, &path).status, Some(0));
    assert!(unknown(&fetch_with_variable(&others.path, &net, &path)));
    let ca = |path| [&net[..], &["--tls-ca", path]].concat();
    assert_eq!(fetch(&ca(&trusted.path), &path).status, Some(0));
    assert!(unknown(&fetch(&ca(&others.path), &path)));
    let both = [&ca(&others.path)[..], &["--tls-ca", &trusted.path]].concat();
    assert_eq!(fetch(&both, &path).status, Some(0), "they add up");
    // The option counts where both are given.
    assert!(unknown(&fetch_with_variable(&trusted.path, &ca(&others.path), &path)));
    let pin = format!("sha256/{HASH}");
    let pinned = fetch(&[&ca(&trusted.path)[..], &["--tls-pin", &pin]].concat(), &path);
    assert!(pinned.stderr.contains("not the one that --tls-pin names"), "{pinned:?}");
    // A policy file can have both.
    let folder = TempDir::new();
    let lines = format!("net {rule}\ntls-ca {}\ntls-pin other.test:443={pin}\n", trusted.path);
    let policy = folder.file("policy", lines.as_bytes());
    assert_eq!(fetch(&["--policy", &policy], &path).status, Some(0));
}

#[test]
fn a_variable_that_leads_nowhere_matters_once_a_guest_dials() {
    let words = ["run", "fixtures/hello.wasm"];
    let mut command = tinyhost(words);
    command.env("SSL_CERT_FILE", "/no/such/file");
    assert_eq!(Process::start(command).input(b"").end().stderr, "");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let rule = format!("tls:localhost:{port}");
    let path = format!("/dev/tls/localhost/{port}");
    let ended = fetch_with_variable("/no/such/file", &["--net", &rule], &path);
    let line = "SSL_CERT_FILE /no/such/file: there is no certificate in it";
    assert!(ended.stderr.contains(&format!("failed: dial {rule}: {line}")), "{ended:?}");
}

#[test]
fn mistakes_say_what_to_write() {
    let folder = TempDir::new();
    let empty = folder.file("empty.pem", b"nothing\n");
    let missing = folder.path().join("missing.pem").display().to_string();
    for (options, line) in [
        (
            ["--tls-ca", &missing],
            format!(
                "--tls-ca {missing}: can't read the file: no such file or directory: check the path"
            ),
        ),
        (
            ["--tls-ca", &empty],
            format!(
                "--tls-ca {empty}: there is no certificate in it: give PEM text \
                 (-----BEGIN CERTIFICATE-----)"
            ),
        ),
        (
            ["--tls-pin", "sha1/AAAA"],
            "--tls-pin sha1/AAAA: the hash is missing: write sha256/ and the base64 of the key's \
             hash (44 characters), or HOST:PORT=sha256/..."
                .to_owned(),
        ),
        (
            ["--net", "tls:example.org"],
            "--net 'tls:example.org', column 16: the port is missing: write tls:example.org:443, \
             or tls:example.org:* for every port\n  tls:example.org\n                 ^"
                .to_owned(),
        ),
        (
            ["--net", "tls:10.0.0.0/33:443"],
            "--net 'tls:10.0.0.0/33:443', column 14: invalid mask: write a number from 0 to 32\n  \
             tls:10.0.0.0/33:443\n               ^^"
                .to_owned(),
        ),
        (
            ["--net", "tls://example.org"],
            "--net 'tls://example.org', column 1: a rule is not a URL: write HOST:PORT, as \
             example.org:443\n  tls://example.org\n  ^^^^^^"
                .to_owned(),
        ),
    ] {
        let ended = run(&[&options[..], &["fixtures/hello.wasm"]].concat(), b"");
        ended.expect(2, "", &format!("tinyhost: {line}\n"));
    }
}
