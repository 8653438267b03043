//! Messages of a NATS server. The server here is a stand-in that says what the test wants, true or not;
//! `.ci/nats` has the real one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tinyhost::serve::{NatsConfig, NatsLogin, Outcome, ServeConfig};

use crate::busy::LIMIT;
use crate::support::{Running, logged, program, serve};

const INFO: &str = r#"{"server_id":"X","headers":true,"max_payload":1048576,"proto":1}"#;

/// A server that does what it is told.
struct Fake(TcpListener);

/// One connection to it.
struct Conn {
    reader: BufReader<TcpStream>,
    connect: String,
}

/// What a client publishes.
#[derive(Debug)]
struct Published {
    subject: String,
    reply: Option<String>,
    headers: String,
    payload: Vec<u8>,
}

impl Fake {
    fn new() -> Fake {
        Fake(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn url(&self, rest: &str) -> NatsConfig {
        let port = self.0.local_addr().unwrap().port();
        NatsConfig::parse(&format!("nats://localhost:{port}/{rest}")).unwrap()
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// A connection up to the answer to its PING.
    fn join(&self, info: &str) -> Conn {
        let mut conn = Conn { reader: BufReader::new(self.accept()), connect: String::new() };
        conn.send(format!("INFO {info}\r\n").as_bytes());
        conn.connect = conn.line();
        assert!(conn.connect.starts_with("CONNECT {"), "{}", conn.connect);
        assert_eq!(conn.line(), "PING");
        conn.send(b"PONG\r\n");
        conn
    }

    /// The same, with a subscription to one subject.
    fn subscribed(&self) -> Conn {
        let mut conn = self.join(INFO);
        assert!(conn.line().starts_with("SUB in.> "));
        conn
    }
}

impl Conn {
    fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    fn message(&mut self, sid: u64, subject: &str, reply: &str, payload: &[u8]) {
        let head = format!("MSG {subject} {sid} {reply} {}\r\n", payload.len());
        self.send(&[head.as_bytes(), payload, b"\r\n"].concat());
    }

    /// The answer to a question, found by a part of its subject.
    fn answer(&mut self, question: &Published, json: &str) {
        self.message(1, question.reply.as_ref().unwrap(), "", json.as_bytes());
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the connection has ended: {line:?}");
        line.trim_end().to_owned()
    }

    /// The next message that is published.
    fn published(&mut self) -> Published {
        let line = loop {
            let line = self.line();
            if line.starts_with("PUB") || line.starts_with("HPUB") {
                break line;
            }
            assert!(line.starts_with("SUB") || line == "PING", "{line}");
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let fixed = if words[0] == "HPUB" { 4 } else { 3 };
        let reply = (words.len() > fixed).then(|| words[2].to_owned());
        let number = |word: &str| word.parse::<usize>().unwrap();
        let total = number(words[words.len() - 1]);
        let headers = if fixed == 4 { number(words[words.len() - 2]) } else { 0 };
        let mut body = vec![0; total + 2];
        self.reader.read_exact(&mut body).unwrap();
        assert_eq!(&body[total..], b"\r\n");
        Published {
            subject: words[1].to_owned(),
            reply,
            headers: String::from_utf8(body[..headers].to_vec()).unwrap(),
            payload: body[headers..total].to_vec(),
        }
    }

    /// All until the other end closes.
    fn until_closed(mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.reader.read_to_end(&mut rest);
    }
}

fn server(fake: &Fake, guest: &str, rest: &str, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    let from = fake.url(rest);
    serve(program(guest), |config| {
        config.from = Some(from);
        adjust(config);
    })
}

#[test]
fn a_message_is_the_input_of_a_guest_and_its_output_the_reply() {
    let fake = Fake::new();
    let running = server(&fake, "linefilter", "in.>?queue=q", |_| {});
    let mut conn = fake.join(INFO);
    assert!(conn.connect.contains("\"no_responders\":true"), "{}", conn.connect);
    assert_eq!(conn.line(), "SUB in.> q 1");
    conn.send(b"PING\r\n");
    assert_eq!(conn.line(), "PONG");
    conn.message(1, "in.a", "_R.1", b"hello");
    let reply = conn.published();
    assert_eq!((reply.subject.as_str(), reply.payload.as_slice()), ("_R.1", &b"hello\n"[..]));
    assert_eq!(reply.headers, "");
    // One without a reply subject, one in pieces, and one for another subscription.
    conn.send(b"MSG in.a 1 2\r\nxx\r\nMSG in.b 9 _R.9 1\r\nx\r\nmsg in.b 1 _R.");
    std::thread::sleep(Duration::from_millis(5));
    conn.send(b"2 3\r\nab");
    std::thread::sleep(Duration::from_millis(5));
    conn.send(b"c\r\n");
    assert_eq!(conn.published().payload, b"abc\n");
    // What was sent is counted in a later turn than the end of its guest.
    let metrics = running.until("3 lines, and 2 replies", |metrics| {
        metrics.outcome(Outcome::Ok) == 3 && metrics.nats_replies >= 2
    });
    assert_eq!((metrics.nats_connected, metrics.nats_messages, metrics.nats_replies), (1, 3, 2));
}

#[test]
fn a_guest_finds_its_message_in_its_environment() {
    let fake = Fake::new();
    let _running = server(&fake, "envdump", "in.>", |_| {});
    let mut conn = fake.subscribed();
    let headers = b"NATS/1.0\r\nTrace-Id: 7\r\n\r\n";
    let head = format!("HMSG in.a 1 _R.1 {} {}\r\n", headers.len(), headers.len() + 1);
    conn.send(&[head.as_bytes(), headers, b"x\r\n"].concat());
    let env = String::from_utf8(conn.published().payload).unwrap();
    for variable in ["PROTO=NATS", "NATS_SUBJECT=in.a", "NATS_HEADER_TRACE_ID=7"] {
        assert!(env.contains(variable), "{env}");
    }
    assert!(!env.contains("TCPREMOTE"), "{env}");
}

#[test]
fn a_failed_message_has_a_reply_that_says_so_and_harms_no_other() {
    let fake = Fake::new();
    let from = fake.url("in.>");
    // What it does depends on its line.
    let running = serve(program("moody"), |config| {
        config.from = Some(from);
        config.limits.max_line = 100;
        config.limits.timeout = Duration::from_millis(300);
    });
    let mut conn = fake.subscribed();
    conn.message(1, "in.a", "_R.1", b"spin");
    conn.message(1, "in.a", "_R.2", &[b'x'; 101]);
    conn.message(1, "in.a", "_R.3", b"fine");
    let mut replies = [conn.published(), conn.published(), conn.published()];
    replies.sort_by(|a, b| a.subject.cmp(&b.subject));
    assert!(replies[0].headers.contains("Nats-Service-Error: timeout\r\n"), "{replies:?}");
    assert!(replies[1].headers.contains("Nats-Service-Error: line_too_long\r\n"), "{replies:?}");
    assert!(replies[1].headers.ends_with("Nats-Service-Error-Code: 500\r\n\r\n"), "{replies:?}");
    assert_eq!(replies[2].headers, "", "{replies:?}");
    running.until_outcome(Outcome::LineTooLong);
}

#[test]
fn a_reply_over_max_payload_fails_its_message_and_no_other() {
    let fake = Fake::new();
    let running = server(&fake, "linefilter", "in.>", |_| {});
    let mut conn = fake.join(r#"{"headers":true,"max_payload":200}"#);
    assert!(conn.line().starts_with("SUB"));
    // With its newline the reply is one byte too long.
    conn.message(1, "in.a", "_R.1", &[b'x'; 200]);
    let reply = conn.published();
    assert!(reply.headers.contains("Nats-Service-Error: reply_too_long"), "{reply:?}");
    assert_eq!(reply.payload, b"");
    conn.message(1, "in.a", "_R.2", &[b'x'; 199]);
    assert_eq!(conn.published().payload.len(), 200);
    running.until_outcome(Outcome::ReplyTooLong);
}

#[test]
fn lies_of_a_server_end_its_connection_and_nothing_else() {
    let fake = Fake::new();
    let running = server(&fake, "linefilter", "in.>", |_| {});
    let lies: [&[u8]; 9] = [
        b"MSG in.a 1 _R.1 99999999999\r\n",
        b"MSG in.a 1 _R.1 3\r\nabcdef\r\n",
        b"HMSG in.a 1 _R.1 9 3\r\nabc\r\n",
        b"MSG in.a\x01 1 _R.1 3\r\nabc\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"INFO {\"max_payload\":-1}\r\n",
        b"INFO []\r\n",
        b"-ERR 'Permissions Violation for Subscription to \"in.>\"'\r\n",
        &[b'x'; 70_000],
    ];
    for lie in lies {
        let mut conn = fake.subscribed();
        conn.message(1, "in.a", "_R.1", b"before");
        assert_eq!(conn.published().payload, b"before\n");
        // It may close before it has all of that.
        let _ = conn.reader.get_mut().write_all(lie);
        conn.until_closed();
    }
    // Lies before the greeting, and a close in the middle of a message.
    for lie in ["", "INFO\r\n", "INFO {\r\n", "PING\r\n", "MSG in.a 1 1\r\nx\r\n"] {
        let mut stream = fake.accept();
        stream.write_all(lie.as_bytes()).unwrap();
        if lie != "PING\r\n" {
            drop(stream);
        }
    }
    let mut conn = fake.subscribed();
    conn.send(b"MSG in.a 1 _R.1 100\r\nhalf");
    drop(conn);
    let mut conn = fake.subscribed();
    conn.message(1, "in.a", "_R.1", b"after");
    assert_eq!(conn.published().payload, b"after\n");
    assert_eq!(running.handle.metrics().nats_connected, 1);
}

#[test]
fn a_login_is_shown_and_what_the_server_says_of_it_logged() {
    let fake = Fake::new();
    let mut from = fake.url("in.>");
    from.login = Some(NatsLogin::User("u\"x".into(), "p\\w".into()));
    let _running = serve(program("linefilter"), |config| config.from = Some(from));
    let mut conn = Conn { reader: BufReader::new(fake.accept()), connect: String::new() };
    conn.send(b"INFO {\"auth_required\":true}\r\n");
    let connect = conn.line();
    assert!(connect.contains(r#""user":"u\"x","pass":"p\\w""#), "{connect}");
    conn.send(b"-ERR 'Authorization Violation'\r\n");
    drop(conn);
    // It comes back.
    let conn = fake.join(INFO);
    assert!(logged("the server says: Authorization Violation"));
    drop(conn);
}

#[test]
fn a_drain_ends_the_subscription_first_and_answers_what_came() {
    let fake = Fake::new();
    let mut running = server(&fake, "linefilter", "in.>", |_| {});
    let mut conn = fake.subscribed();
    running.handle.shutdown();
    assert_eq!(conn.line(), "UNSUB 1");
    assert_eq!(conn.line(), "PING");
    // It was on its way.
    conn.message(1, "in.a", "_R.1", b"last");
    assert_eq!(conn.published().payload, b"last\n");
    conn.send(b"PONG\r\n");
    conn.until_closed();
    running.stop();
}

/// A stream IN with a consumer C, and a stream that stores what is published to out.x.
fn stream(fake: &Fake) -> Conn {
    let mut conn = fake.join(INFO);
    let question = conn.published();
    assert_eq!(question.subject, "$JS.API.CONSUMER.INFO.IN.C");
    conn.answer(&question, r#"{"error":{"code":404,"err_code":10014,"description":"no"}}"#);
    let question = conn.published();
    assert_eq!(question.subject, "$JS.API.CONSUMER.DURABLE.CREATE.IN.C");
    let body = String::from_utf8(question.payload.clone()).unwrap();
    assert!(body.contains(r#""filter_subject":"in.>""#), "{body}");
    let made = r#"{"config":{"ack_policy":"explicit","ack_wait":400000000,"max_deliver":-1}}"#;
    conn.answer(&question, made);
    let question = conn.published();
    assert_eq!(question.payload, br#"{"subject":"out.x"}"#);
    conn.answer(&question, r#"{"streams":["OUT"]}"#);
    let question = conn.published();
    assert_eq!(question.subject, "$JS.API.STREAM.INFO.OUT");
    conn.answer(&question, r#"{"config":{"duplicate_window":120000000000}}"#);
    let pull = conn.published();
    assert_eq!(pull.subject, "$JS.API.CONSUMER.MSG.NEXT.IN.C");
    assert!(pull.payload.starts_with(br#"{"batch":256,"#));
    conn
}

const STREAM: &str = "in.>?stream=IN&consumer=C&to=out.x";

#[test]
fn a_message_of_a_stream_is_acknowledged_once_its_reply_is_stored() {
    let fake = Fake::new();
    let running = server(&fake, "linefilter", STREAM, |_| {});
    let mut conn = stream(&fake);
    conn.message(2, "in.a", "$JS.ACK.IN.C.1.7.7.1700.0", b"hello");
    let reply = conn.published();
    assert_eq!((reply.subject.as_str(), reply.payload.as_slice()), ("out.x", &b"hello\n"[..]));
    assert_eq!(reply.headers, "NATS/1.0\r\nNats-Msg-Id: IN:7:1700\r\n\r\n");
    // It comes again before its reply is stored: it is not run again, but its reply may have been lost.
    conn.message(2, "in.a", "$JS.ACK.IN.C.2.7.8.1700.0", b"hello");
    let again = conn.published();
    assert_eq!((&again.subject, &again.headers), (&reply.subject, &reply.headers));
    conn.answer(&again, r#"{"stream":"OUT","seq":1}"#);
    let ack = conn.published();
    assert_eq!(
        (ack.subject.as_str(), ack.payload.as_slice()),
        ("$JS.ACK.IN.C.2.7.8.1700.0", &b"+ACK"[..])
    );
    // The connection is lost before the answer: with the next one it is asked for again.
    drop(conn);
    let mut conn = stream_that_is_there(&fake);
    let again = conn.published();
    assert_eq!((again.subject, again.payload), (ack.subject, ack.payload));
    conn.message(1, again.reply.as_ref().unwrap(), "", b"");
    // A server of later days has a domain and an account in the subject, and something at its end.
    conn.message(2, "in.a", "$JS.ACK.hub.acct.IN.C.1.8.9.1701.0.rnd", b"next");
    assert!(loop_to(&mut conn, "out.x").headers.contains("IN:8:1701"));
    assert_eq!(running.handle.metrics().outcome(Outcome::Ok), 2);
}

/// The next message published to this subject.
fn loop_to(conn: &mut Conn, subject: &str) -> Published {
    loop {
        let published = conn.published();
        if published.subject == subject {
            return published;
        }
    }
}

/// The same stream, when its consumer is there.
fn stream_that_is_there(fake: &Fake) -> Conn {
    let mut conn = fake.join(INFO);
    let question = conn.published();
    let known = r#"{"config":{"ack_policy":"explicit","ack_wait":400000000,"max_deliver":-1}}"#;
    conn.answer(&question, known);
    let question = conn.published();
    conn.answer(&question, r#"{"streams":["OUT"]}"#);
    let question = conn.published();
    conn.answer(&question, r#"{"config":{"duplicate_window":120000000000}}"#);
    conn
}

#[test]
fn a_message_that_fails_comes_again_and_is_a_dead_letter_at_last() {
    let fake = Fake::new();
    let running = server(&fake, "trap", STREAM, |_| {});
    let mut conn = stream(&fake);
    conn.message(2, "in.a", "$JS.ACK.IN.C.1.7.7.1700.0", b"hello");
    let nak = conn.published();
    assert_eq!(nak.payload, br#"-NAK {"delay":1000000000}"#);
    let headers = b"NATS/1.0\r\nTrace-Id: 7\r\n\r\n";
    let ack = "$JS.ACK.IN.C.5.7.8.1700.0";
    let head = format!("HMSG in.a 2 {ack} {} {}\r\n", headers.len(), headers.len() + 5);
    conn.send(&[head.as_bytes(), headers, b"hello\r\n"].concat());
    let dead = loop_to(&mut conn, "DEAD.in.a");
    assert_eq!(dead.payload, b"hello");
    for header in [
        "Tinyhost-Outcome: trap",
        "Tinyhost-Reason: unreachable",
        "Trace-Id: 7",
        "Nats-Msg-Id: IN:7:1700:dead",
    ] {
        assert!(dead.headers.contains(header), "{}", dead.headers);
    }
    conn.answer(&dead, r#"{"stream":"DEAD","seq":1}"#);
    let term = loop_to(&mut conn, ack);
    assert_eq!(term.payload, b"+TERM");
    let metrics = running.until("a dead letter", |metrics| metrics.nats_dead == 1);
    assert_eq!((metrics.nats_retries, metrics.nats_redelivered), (1, 1));
}

#[test]
fn a_slow_message_keeps_its_server_waiting() {
    let fake = Fake::new();
    let _running = server(&fake, "sleeper", STREAM, |config| config.args = vec!["1000".into()]);
    let mut conn = stream(&fake);
    let ack = "$JS.ACK.IN.C.1.7.7.1700.0";
    conn.message(2, "in.a", ack, b"hello");
    assert_eq!(loop_to(&mut conn, ack).payload, b"+WPI");
}

#[test]
fn a_drain_gives_back_what_was_not_begun() {
    let fake = Fake::new();
    let mut running = server(&fake, "linefilter", STREAM, |_| {});
    let mut conn = stream(&fake);
    running.handle.shutdown();
    assert_eq!(conn.line(), "UNSUB 2");
    conn.message(2, "in.a", "$JS.ACK.IN.C.1.7.7.1700.0", b"hello");
    assert_eq!(loop_to(&mut conn, "$JS.ACK.IN.C.1.7.7.1700.0").payload, b"-NAK");
    conn.send(b"PONG\r\n");
    running.stop();
}
