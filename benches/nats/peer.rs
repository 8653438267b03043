//! The other ends of benches/nats/run: `peer echo PORT SUBJECT` answers requests as a native loop does, and
//! `peer load PORT SUBJECT COUNT WINDOW` makes them, so many at once, and prints how long that took.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Bytes of a request.
const LINE: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Client {
    reader: BufReader<TcpStream>,
    out: Vec<u8>,
}

struct Message {
    reply: Option<String>,
    payload: Vec<u8>,
}

impl Client {
    fn new(port: &str, subscription: &str) -> Client {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("nats-server");
        stream.set_nodelay(true).expect("an option of TCP");
        let reader = BufReader::with_capacity(256 << 10, stream);
        let mut client = Client { reader, out: Vec::new() };
        client.line();
        client.send(format!("CONNECT {{\"verbose\":false}}\r\nSUB {subscription} 1\r\nPING\r\n").as_bytes());
        client.flush();
        while client.line() != "PONG" {}
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.reader.read_line(&mut line).expect("a line");
        assert!(count > 0, "the server has closed");
        line.trim_end().to_owned()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.reader.get_mut().write_all(&self.out).expect("the server takes it");
        self.out.clear();
    }

    /// The next message. What was to be sent is sent before it waits.
    fn message(&mut self) -> Message {
        loop {
            if self.reader.buffer().is_empty() {
                self.flush();
            }
            let line = self.line();
            if line == "PING" {
                self.send(b"PONG\r\n");
            }
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] == "MSG" {
                let length: usize = words[words.len() - 1].parse().expect("a length");
                let mut payload = vec![0; length + 2];
                self.reader.read_exact(&mut payload).expect("a message");
                payload.truncate(length);
                let reply = (words.len() == 5).then(|| words[3].to_owned());
                return Message { reply, payload };
            }
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["echo", port, subject] => {
            let mut client = Client::new(port, &format!("{subject} q"));
            loop {
                let message = client.message();
                let Some(reply) = message.reply else { continue };
                client.send(format!("PUB {reply} {}\r\n", message.payload.len() + 1).as_bytes());
                client.send(&message.payload);
                client.send(b"\n\r\n");
            }
        }
        ["load", port, subject, count, window] => {
            let count: usize = count.parse().expect("a count");
            let window: usize = window.parse().expect("a count");
            let mut client = Client::new(port, "_INBOX.load.*");
            let request = [format!("PUB {subject} _INBOX.load.1 64\r\n").as_bytes(), LINE, b"\r\n"].concat();
            let began = Instant::now();
            let mut sent = 0;
            for _ in 0..count.min(window) {
                client.send(&request);
                sent += 1;
            }
            for _ in 0..count {
                let reply = client.message();
                assert_eq!(&reply.payload[..64], LINE, "another reply");
                if sent < count {
                    client.send(&request);
                    sent += 1;
                }
            }
            println!("{:.0}", count as f64 / began.elapsed().as_secs_f64());
        }
        _ => panic!("usage: peer echo PORT SUBJECT, or peer load PORT SUBJECT COUNT WINDOW"),
    }
}
