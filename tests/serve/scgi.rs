//! Requests of SCGI, from a server in front.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tinyhost::Program;
use tinyhost::serve::{Bind, Outcome, ServeConfig, Unit};

use crate::busy::LIMIT;
use crate::http::{cgi, cgi_after_body};
use crate::support::{Running, assembled, program, serve};
use crate::temp::TempDir;

fn scgi(program: Program, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    serve(program, |config| {
        config.unit = Unit::Scgi;
        adjust(config);
    })
}

/// A head of these names and values.
fn head(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text: String = pairs.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
    format!("{}:{text},", text.len()).into_bytes()
}

fn request(body: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let length = body.len().to_string();
    let first = [("CONTENT_LENGTH", length.as_str()), ("SCGI", "1")];
    [&head(&[&first, more].concat()), body.as_bytes()].concat()
}

fn ask(server: &Running, request: &[u8]) -> String {
    String::from_utf8(server.ask(request)).unwrap()
}

#[test]
fn a_request_is_answered_by_a_program_of_cgi() {
    let server = scgi(cgi(), |_| {});
    let more = [
        ("REQUEST_METHOD", "POST"),
        ("DOCUMENT_URI", "/a b"),
        ("HTTP_HOST", "a"),
        ("HTTP_PROXY", "evil"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("EMPTY", ""),
    ];
    let reply = ask(&server, &request("body", &more));
    let (head, rest) = reply.split_once("\n\n").unwrap();
    assert_eq!(head, "Content-Type: text/plain", "it goes back as the guest wrote it");
    let (variables, body) = rest.rsplit_once('\n').unwrap();
    assert_eq!(body, "body");
    let variables: Vec<&str> = variables.split('\0').collect();
    for variable in [
        "CONTENT_LENGTH=4",
        "SCGI=1",
        "REQUEST_METHOD=POST",
        "HTTP_HOST=a",
        "REMOTE_ADDR=192.0.2.1",
        "EMPTY=",
        "GATEWAY_INTERFACE=CGI/1.1",
        "SCRIPT_NAME=",
        "PATH_INFO=/a b",
        "PROTO=TCP",
    ] {
        assert_eq!(variables.iter().filter(|there| **there == variable).count(), 1, "{variable}");
    }
    assert!(!variables.iter().any(|variable| variable.starts_with("HTTP_PROXY")));
    // What the server in front knows better stays.
    let reply = ask(&server, &request("", &[("PATH_INFO", "/x"), ("SCRIPT_NAME", "/s")]));
    assert!(reply.contains("PATH_INFO=/x\0") && reply.contains("SCRIPT_NAME=/s\0"), "{reply}");
}

#[test]
fn it_does_not_matter_how_a_request_is_cut() {
    let server = scgi(cgi_after_body(), |_| {});
    let request = request("the body", &[("REQUEST_METHOD", "PUT")]);
    let whole = server.ask(&request);
    assert!(whole.ends_with(b"\nthe body"));
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    for byte in &request {
        client.write_all(&[*byte]).unwrap();
        std::thread::yield_now();
    }
    let port = client.local_addr().unwrap().port().to_string();
    let bytewise = String::from_utf8(server.rest(&mut client)).unwrap();
    let same = |text: &str| -> Vec<String> {
        let others = text.split('\0').filter(|word| !word.starts_with("TCPREMOTEPORT="));
        others.map(str::to_owned).collect()
    };
    assert!(bytewise.contains(&format!("TCPREMOTEPORT={port}\0")));
    assert_eq!(same(&bytewise), same(std::str::from_utf8(&whole).unwrap()));
    // A large body passes in pieces, while its guest reads.
    let body = "x".repeat(1 << 20);
    let server = scgi(program("echo"), |_| {});
    let reply = server.ask(&self::request(&body, &[]));
    assert!(reply == body.as_bytes());
}

#[test]
fn what_is_not_a_request_is_refused() {
    let server = scgi(cgi(), |config| {
        config.limits.max_head = 200;
        config.limits.max_body = 100;
    });
    let ends_early = "400 Bad Request: the head of the request ends early";
    let form = "400 Bad Request: the head is not names and values, each with a NUL after it";
    let not_scgi = "400 Bad Request: this is not SCGI: it does not begin with the length of a head";
    let long = "431 Request Header Fields Too Large: the head is too long (raise the limit with \
                --max-head)";
    let many = "x".repeat(300);
    let cases: [(Vec<u8>, &str); 19] = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), not_scgi),
        (b":,".to_vec(), not_scgi),
        (b"01:x,".to_vec(), not_scgi),
        (b"-1:x,".to_vec(), not_scgi),
        (b"9999999999:x,".to_vec(), not_scgi),
        (b"5:x".to_vec(), ends_early),
        (b"5".to_vec(), ends_early),
        (b"3:abcd".to_vec(), "400 Bad Request: the head does not end where its length says"),
        (b"0:,".to_vec(), form),
        (b"3:abc,".to_vec(), form),
        (b"2:a\0,".to_vec(), form),
        (head(&[("SCGI", "1")]), "400 Bad Request: the head does not begin with CONTENT_LENGTH"),
        (head(&[("CONTENT_LENGTH", "0")]), "400 Bad Request: SCGI is not 1"),
        (
            head(&[("CONTENT_LENGTH", ""), ("SCGI", "1")]),
            "400 Bad Request: CONTENT_LENGTH is not a number",
        ),
        (
            head(&[("CONTENT_LENGTH", "+1"), ("SCGI", "1")]),
            "400 Bad Request: CONTENT_LENGTH is not a number",
        ),
        (request("", &[("A", "1"), ("A", "2")]), "400 Bad Request: a variable is there twice"),
        (request("", &[("A=B", "1")]), "400 Bad Request: the name of a variable is not valid"),
        (
            head(&[("CONTENT_LENGTH", "101"), ("SCGI", "1")]),
            "413 Content Too Large: the body is too long (raise the limit with --max-body)",
        ),
        (request("", &[("A", &many)]), long),
    ];
    let count = cases.len() as u64;
    for (sent, expected) in cases {
        let mut client = server.connect();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let reply = String::from_utf8(server.rest(&mut client)).unwrap();
        let (status, why) = expected.split_once(": ").unwrap();
        let whole = format!("Status: {status}\r\nContent-Type: text/plain\r\n\r\n{why}\n");
        assert_eq!(reply, whole, "{:?}", String::from_utf8_lossy(&sent));
    }
    server.until("all to be counted", |metrics| metrics.outcome(Outcome::BadRequest) == count);
    // A body that ends early is found once its guest runs.
    let server = scgi(cgi_after_body(), |_| {});
    let mut client = server.connect();
    client.write_all(&head(&[("CONTENT_LENGTH", "9"), ("SCGI", "1")])).unwrap();
    client.write_all(b"half").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let reply = String::from_utf8(server.rest(&mut client)).unwrap();
    assert!(reply.starts_with("Status: 400 Bad Request\r\n"), "{reply}");
    // A check of the server in front, which sends nothing.
    assert_eq!(server.ask_and_shut(b""), b"");
}

#[test]
fn the_server_in_front_learns_that_a_guest_has_failed() {
    let trap = assembled("x", "(unreachable)");
    let status = |server: &Running| {
        let reply = ask(server, &request("", &[]));
        reply.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(status(&scgi(trap, |_| {})), "Status: 500 Internal Server Error");
    let silent = assembled("x", "");
    assert_eq!(status(&scgi(silent, |_| {})), "Status: 500 Internal Server Error");
    let slow = scgi(program("spin"), |config| config.limits.timeout = Duration::from_millis(100));
    assert_eq!(status(&slow), "Status: 504 Gateway Timeout");
    // It fails before anything of it is sent, so its reply can be replaced.
    let late = assembled("Status: 200 OK\\n\\n", "(call $write (i32.const 1)) (unreachable)");
    assert_eq!(status(&scgi(late, |_| {})), "Status: 500 Internal Server Error");
}

/// nginx reads HTTP, and passes requests to a Unix socket.
#[test]
fn nginx_stands_in_front() {
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|path| std::fs::metadata(path).is_ok());
    let Some(nginx) = nginx else {
        eprintln!("SKIPPED: there is no nginx");
        return;
    };
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    let bind = Bind::Unix { path: path.clone(), mode: Some(0o666) };
    let _server = scgi(cgi_after_body(), |config| config.binds.push(bind));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let here = dir.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {here}/{name};\n"))
        .concat();
    let config = format!(
        "daemon off; pid {here}/pid; error_log stderr warn;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen 127.0.0.1:{port};\n\
         location / {{ include /etc/nginx/scgi_params; scgi_pass unix:{}; }} }} }}\n",
        path.display()
    );
    let config = dir.file("nginx.conf", config.as_bytes());
    let mut front = Command::new(nginx)
        .args(["-c", &config, "-p", dir.path().to_str().unwrap()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let mut client = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(client) => break client,
            Err(error) => {
                assert_eq!(front.try_wait().unwrap(), None, "nginx has ended");
                assert!(began.elapsed() < LIMIT, "{error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    };
    let body = "b".repeat(3000);
    let sent = format!(
        "POST /a/b?c=d HTTP/1.1\r\nHost: example.org\r\nProxy: evil\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(sent.as_bytes()).unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_child(&front),
        rustix::process::Signal::TERM,
    );
    front.wait().unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    for variable in ["REQUEST_METHOD=POST", "PATH_INFO=/a/b", "QUERY_STRING=c=d", "PROTO=UNIX"] {
        assert!(reply.contains(&format!("{variable}\0")), "{variable} is not in {reply}");
    }
    assert!(!reply.contains("HTTP_PROXY") && reply.contains(&body), "{reply}");
}
