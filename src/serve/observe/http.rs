//! `GET /metrics` and `GET /healthz`, over HTTP/1.0: a protocol that runs no guest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outcome::Outcome;
use crate::serve::admission::Admission;
use crate::serve::config::Limits;
use crate::serve::conn::Timeouts;
use crate::serve::conn::protocol::{After, Exchange, Next, Protocol, Service};
use crate::serve::shared::Shared;

/// Clients at once.
const CLIENTS_MAX: usize = 64;

/// How long a client has for its request, and then to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a request at the most.
const REQUEST_MAX: usize = 8192;

/// See the [module](self). It is served by a worker of its own, which answers even when all
/// others are busy.
pub(crate) struct Status {
    shared: Arc<Shared>,
}

impl Status {
    /// How its clients are served.
    pub fn service(shared: Arc<Shared>) -> Service {
        let limits =
            Limits { max_conns: CLIENTS_MAX, max_conns_per_addr: CLIENTS_MAX, ..Limits::default() };
        Service {
            protocol: Box::new(move || Box::new(Status { shared: shared.clone() })),
            times: Timeouts { timeout: PATIENCE, idle: PATIENCE },
            admission: Arc::new(Admission::new(&limits)),
            ahead: 0,
            of_status: true,
        }
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let line = request.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let (status, body) = match (method, path) {
            (b"GET" | b"HEAD", b"/metrics") => ("200 OK", self.shared.metrics().prometheus()),
            (b"GET" | b"HEAD", b"/healthz") => self.health(),
            (b"GET" | b"HEAD", _) => ("404 Not Found", "try /metrics or /healthz\n".to_owned()),
            _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
        };
        let mut answer = format!(
            "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if method != b"HEAD" {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }

    fn health(&self) -> (&'static str, String) {
        const UNAVAILABLE: &str = "503 Service Unavailable";
        if self.shared.stopping() {
            return (UNAVAILABLE, "stopping\n".to_owned());
        }
        if self.shared.drained_at().is_some() {
            return (UNAVAILABLE, "draining\n".to_owned());
        }
        match self.shared.stuck(Instant::now()) {
            Some((worker, long)) => {
                let long = long.as_secs();
                (
                    UNAVAILABLE,
                    format!("worker {worker} is stuck: it has done nothing for {long} s\n"),
                )
            }
            None => ("200 OK", "ok\n".to_owned()),
        }
    }
}

impl Protocol for Status {
    fn next(&mut self, exchange: Exchange<'_>) -> Next {
        let received = exchange.received.bytes();
        if received.len() > REQUEST_MAX {
            return Next::End;
        }
        if !is_whole(received) {
            return Next::More;
        }
        *exchange.output = self.answer(exchange.received.rest());
        Next::Answered(After::Close)
    }

    fn ended(&mut self, _outcome: Outcome, _output: &mut Vec<u8>) -> After {
        After::Close
    }
}

fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n") || request.windows(2).any(|end| end == b"\n\n")
}
