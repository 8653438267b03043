//! What is written to a server.

use super::json::quote;
use super::{NatsLogin, random};

/// Bytes that a server has not taken, beyond which no guest is started.
const BACKLOG_MAX: usize = 4 << 20;

/// Operations that wait to be sent, and what is known for writing them.
pub(super) struct Outgoing {
    pub bytes: Vec<u8>,
    /// Of a message, its headers included. The server's.
    pub max_payload: usize,
    /// Whether the server takes headers.
    pub headers: bool,
    /// What answers are sent to begins with this. No one can guess it.
    pub inbox: String,
}

impl Outgoing {
    pub fn new() -> Outgoing {
        let inbox = format!("_INBOX.{:016x}{:016x}", random(), random());
        Outgoing { bytes: Vec::new(), max_payload: 1 << 20, headers: false, inbox }
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() > BACKLOG_MAX
    }

    pub fn line(&mut self, line: &str) {
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Says who this is. What fails from here on is said in words.
    pub fn connect(&mut self, login: Option<&NatsLogin>) {
        let login = match login {
            None => String::new(),
            Some(NatsLogin::Token(token)) => format!(",\"auth_token\":{}", quote(token)),
            Some(NatsLogin::User(user, password)) => {
                format!(",\"user\":{},\"pass\":{}", quote(user), quote(password))
            }
        };
        let version = env!("CARGO_PKG_VERSION");
        self.line(&format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"lang\":\"tinyhost\",\"version\":\"{version}\",\
             \"name\":\"tinyhost\",\"protocol\":1,\"headers\":{},\"no_responders\":{}{login}}}",
            self.headers, self.headers
        ));
    }

    /// Sends a message; `headers` may be empty.
    pub fn publish(&mut self, subject: &str, reply: Option<&str>, headers: &[u8], payload: &[u8]) {
        let total = headers.len() + payload.len();
        let with_headers = !headers.is_empty();
        let verb: &[u8] = if with_headers { b"HPUB " } else { b"PUB " };
        self.bytes.extend_from_slice(verb);
        self.bytes.extend_from_slice(subject.as_bytes());
        self.bytes.push(b' ');
        if let Some(reply) = reply {
            self.bytes.extend_from_slice(reply.as_bytes());
            self.bytes.push(b' ');
        }
        if with_headers {
            self.number(headers.len());
            self.bytes.push(b' ');
        }
        self.number(total);
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(headers);
        self.bytes.extend_from_slice(payload);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, number: usize) {
        use std::io::Write;
        // Writing to memory can't fail.
        let _ = write!(self.bytes, "{number}");
    }
}
