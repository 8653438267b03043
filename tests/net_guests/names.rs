//! Bad input: rules that do not parse, names that are none.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::program::run;

#[test]
fn a_rule_that_does_not_parse_stops_the_start() {
    // The rule, the column it is wrong at, and what is marked there.
    let rules = [
        ("", 1, "^"),
        ("example.org", 12, "^"),
        ("example.org:", 13, "^"),
        ("example.org:0", 13, "^"),
        ("example.org:70000", 13, "^^^^^"),
        ("example.org:80x", 13, "^^^"),
        ("example.org:80 ", 15, "^"),
        ("10.0.0.0/33:80", 10, "^^"),
        ("[fd00::]/129:80", 10, "^^^"),
        ("exämple.org:80", 3, "^"),
        ("http://example.org", 1, "^^^^^^^"),
        ("exam*.org:80", 5, "^"),
        (":80", 1, "^"),
    ];
    for (rule, column, carets) in rules {
        // The program need not even be there.
        let ended = run(&["--net", rule, "/none/none"]);
        assert_eq!((ended.status, &*ended.stdout), (Some(2), ""), "{rule}");
        let lines: Vec<_> = ended.stderr.lines().collect();
        let first = format!("tinyhost: --net '{rule}', column {column}: ");
        assert!(lines[0].starts_with(&first), "{}", ended.stderr);
        assert_eq!(lines[1], format!("  {rule}"));
        assert_eq!(lines[2], format!("  {}{carets}", " ".repeat(column - 1)), "{rule}");
    }
    for rule in ["example.org:80", "127.0.0.1", "127.0.0.1:65536", "none"] {
        let ended = run(&["--net-listen", rule, "/none/none"]);
        assert_eq!(ended.status, Some(2), "{rule}");
        assert!(ended.stderr.contains("column"), "{rule}: {}", ended.stderr);
    }
    let ended = run(&["--listen", "localhost", "/none/none"]);
    assert_eq!(ended.status, Some(2));
}

#[test]
fn a_bad_name_is_never_dialled() {
    const ENOENT: &str = "error: NotFound (os error 44)\n";
    const EINVAL: &str = "error: InvalidInput (os error 28)\n";
    const ENAMETOOLONG: &str = "error: InvalidFilename (os error 37)\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let rule = format!("127.0.0.1:{port}");
    let long = "x".repeat(300);
    let cases = [
        ("tcp".to_owned(), ENOENT),
        ("tcp/".into(), ENOENT),
        ("tcp/127.0.0.1".into(), ENOENT),
        ("tcp/127.0.0.1/".into(), ENOENT),
        (format!("tcp//127.0.0.1/{port}/x"), ENOENT),
        (format!("tcp/127.0.0.1/{port}/x/y"), ENOENT),
        (format!("127.0.0.1:{port}/x"), ENOENT),
        ("udp/127.0.0.1".into(), ENOENT),
        ("accept/".into(), ENOENT),
        ("accept/8080".into(), ENOENT),
        ("127.0.0.1:".into(), EINVAL),
        ("127.0.0.1:0".into(), EINVAL),
        ("127.0.0.1:70000".into(), EINVAL),
        (format!("127.0.0.1:+{port}"), EINVAL),
        (format!("127.0.0.1:{port}x"), EINVAL),
        (format!("127.0.0.1:0{port}"), EINVAL),
        ("tcp/127.0.0.1/0".into(), EINVAL),
        ("tcp/127.0.0.1/70000".into(), EINVAL),
        ("tcp/127.0.0.1/-1".into(), EINVAL),
        (format!("127.1:{port}"), EINVAL),
        (format!("2130706433:{port}"), EINVAL),
        (format!("0x7f000001:{port}"), EINVAL),
        (format!("127.0.0.1 :{port}"), EINVAL),
        (format!("127.0.0.1:{port},addr"), EINVAL),
        ("accept/127.0.0.1:70000".into(), EINVAL),
        (format!("{}:{port}", &long[..240]), EINVAL),
        (format!("{long}:{port}"), ENAMETOOLONG),
        (format!("tcp/{long}/{port}"), ENAMETOOLONG),
    ];
    for (name, error) in cases {
        let options = ["--net", &rule, "--net", "*:*", "--net-listen", "*:*"];
        let ended = run(&[&options[..], &["dial.wasm", &format!("/dev/{name}"), "x"]].concat());
        assert_eq!((ended.status, &*ended.stderr), (Some(1), error), "/dev/{name}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody dialled");
}
