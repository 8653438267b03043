//! `--secret`, and mistakes in saying what it is.

use std::io::Write;

use super::servers::Trusted;
use crate::tls_util::{Authority, BOTH, config, finish, read_head, serve_one};
use crate::util::{Process, TempDir, run, tinyhost};

const VALUE: &str = "tok-5ecret-0f-the-test";

/// The head that a server gets of a guest's request, with these options, in which PORT stands for
/// its port; and what was printed.
fn request(options: &[&str], variable: &str) -> (String, String) {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let (at, server) = serve_one(config(&authority.server(), BOTH), |mut session| {
        let head = read_head(&mut session);
        session.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        finish(session);
        head
    });
    let port = at.port().to_string();
    let options: Vec<String> = options.iter().map(|word| word.replace("PORT", &port)).collect();
    let path = format!("/dev/https/localhost:{port}");
    let mut words = vec!["run", "--tls-ca", &trusted.path];
    words.extend(options.iter().map(String::as_str));
    words.extend(["fixtures/dial.wasm", &path, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"]);
    let mut command = tinyhost(words);
    command.env("TOKEN", variable);
    let ended = Process::start(command).input(b"").end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, b"HTTP/1.1 204 No Content\r\n\r\n");
    (server.join().unwrap(), ended.stderr)
}

#[test]
fn a_value_comes_from_the_environment_a_file_or_a_descriptor() {
    let folder = TempDir::new();
    let file = folder.file("token", format!("{VALUE}\n").as_bytes());
    let secret = "--secret";
    let header = format!("\r\nAuthorization: Bearer {VALUE}\r\n");
    let (head, stderr) =
        request(&[secret, "localhost:PORT Authorization=Bearer @env:TOKEN"], VALUE);
    assert!(head.contains(&header), "{head}");
    assert_eq!(stderr, "");
    let from_file = format!("localhost:PORT Authorization=Bearer @file:{file}");
    let (head, stderr) = request(&[secret, &from_file], "");
    assert!(head.contains(&header), "{head}");
    assert_eq!(stderr, "");
    let (head, _) = request(&[secret, "localhost:PORT X-Key=@env:TOKEN"], VALUE);
    assert!(head.contains(&format!("\r\nX-Key: {VALUE}\r\n")), "{head}");
    // Several, each with a header of its own.
    let (head, stderr) =
        request(&[secret, &from_file, secret, "localhost:PORT X-Key=@env:TOKEN"], VALUE);
    assert!(head.contains(&header) && head.contains("\r\nX-Key: "), "{head}");
    assert_eq!(stderr, "");
}

#[test]
fn a_value_on_the_command_line_is_warned_of() {
    let (head, stderr) = request(&["--secret", &format!("localhost:PORT X-Key={VALUE}")], "");
    assert!(head.contains(&format!("\r\nX-Key: {VALUE}\r\n")), "{head}");
    let line = "tinyhost: the value of --secret is on the command line, where other users of this \
                machine can read it: write @env:NAME, @file:PATH or @fd:NUMBER in its place\n";
    assert_eq!(stderr, line);
}

#[test]
fn a_descriptor_is_read_to_its_end() {
    let authority = Authority::new("test");
    let (trusted, folder) = (Trusted::new(&authority), TempDir::new());
    let (at, server) = serve_one(config(&authority.server(), BOTH), |mut session| {
        let head = read_head(&mut session);
        finish(session);
        head
    });
    let file = folder.file("token", VALUE.as_bytes());
    let script = format!(
        "exec \"$0\" run --tls-ca {} --secret 'localhost:{} X-Key=@fd:7' fixtures/dial.wasm \
         /dev/https/localhost:{} \"$1\" 7<{file}",
        trusted.path,
        at.port(),
        at.port()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_tinyhost"), "GET / HTTP/1.1\r\n\r\n"]);
    command.current_dir(crate::util::root());
    let ended = Process::start(command).input(b"").end();
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
    assert!(server.join().unwrap().contains(&format!("\r\nX-Key: {VALUE}\r\n")));
}

#[test]
fn mistakes_say_what_to_write_and_not_the_value() {
    let folder = TempDir::new();
    let file = folder.file("token", VALUE.as_bytes());
    let dir = format!("{}::/data", folder.path().display());
    let from_file = format!("a.org:443 X-Key=@file:{file}");
    let literal = |text: &str| text.replace("VALUE", VALUE);
    for (words, line) in [
        (vec!["--secret", "a.org:443"], "--secret: a part is missing: write --secret 'HOST:PORT "),
        (vec!["--secret", &literal("a.org:443 VALUE")], "--secret: a part is missing: "),
        (vec!["--secret", &literal("a.org X-Key=VALUE")], "--secret: 'a.org' is no HOST:PORT: "),
        (vec!["--secret", &literal("a.org:443 X Key=VALUE")], "--secret: 'X Key' is no name of a "),
        (vec!["--secret", &literal("a.org:443 Host=VALUE")], "--secret: the header Host says how "),
        (vec!["--secret", &literal("a.org:443 X=VALUE\nY: 1")], "--secret: the value of X has a "),
        (vec!["--secret", "a.org:443 X="], "--secret: the value of X is empty: "),
        (
            vec!["--secret", "a.org:443 X=@env:NO_SUCH"],
            "--secret X: the variable NO_SUCH is not set",
        ),
        (
            vec!["--secret", "a.org:443 X=@file:/no/such"],
            "--secret X: can't read /no/such: no such",
        ),
        (vec!["--secret", "a.org:443 X=@fd:1"], "--secret X: @fd:1 is no descriptor: "),
        (vec!["--secret", "a.org:443 X=@fd:999"], "--secret X: can't read descriptor 999: "),
        (
            vec!["--secret", "a.org:443 X=@env:PATH", "--env", "PATH"],
            "--env PATH: the guest would see the value of --secret: leave it out",
        ),
        (vec!["--secret", &from_file, "--dir", &dir], "--secret: the guest can read "),
    ] {
        let ended = run(&[&words[..], &["fixtures/hello.wasm"]].concat(), b"");
        assert_eq!(ended.status, Some(2), "{words:?}: {ended:?}");
        assert!(ended.stderr.starts_with(&format!("tinyhost: {line}")), "{words:?}: {ended:?}");
        assert!(!ended.stderr.contains(VALUE), "{ended:?}");
    }
    let policy = folder.file("policy", literal("secret a.org X-Key=VALUE\n").as_bytes());
    let ended = run(&["--policy", &policy, "fixtures/hello.wasm"], b"");
    let line = format!("tinyhost: --policy {policy}: line 1: secret: 'a.org' is no HOST:PORT: ");
    assert!(ended.stderr.starts_with(&line) && !ended.stderr.contains(VALUE), "{ended:?}");
}
