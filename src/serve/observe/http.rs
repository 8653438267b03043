//! Metrics and health over HTTP/1.0, on a listener and a thread of its own: it answers
//! even when all workers are busy.

use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::serve::Shared;
use crate::serve::door::tcp::{PAUSE, is_the_clients};
use crate::serve::observe::log::TARGET;
use crate::serve::observe::reporter::Bucket;
use crate::wasi;

const LISTENER: Token = Token(usize::MAX - 1);
const STOP: Token = Token(usize::MAX);

/// Clients at once; each has a place in a table of this length.
const CLIENTS_MAX: usize = 64;

/// Records a second that a client was closed for another's sake.
const CROWDED_PER_SECOND: u32 = 1;

/// How long a client has for its request and the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a request at the most.
const REQUEST_MAX: usize = 8192;

/// See the [module](self).
pub(crate) struct Http {
    poll: Poll,
    listener: TcpListener,
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Arc<Waker>,
    clients: Vec<Option<Client>>,
    /// The system had no descriptors left, and somebody may wait.
    starved: bool,
    crowded: Bucket,
}

struct Client {
    stream: TcpStream,
    until: Instant,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

/// Ends the thread.
pub(crate) struct Stop(Arc<Waker>);

impl Stop {
    pub fn stop(&self) {
        // It can't fail while the poll is there, and without it the thread has ended.
        let _ = self.0.wake();
    }
}

impl Http {
    pub fn new(listener: net::TcpListener, shared: Arc<Shared>) -> io::Result<Http> {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let stop = Arc::new(Waker::new(poll.registry(), STOP)?);
        let clients = (0..CLIENTS_MAX).map(|_| None).collect();
        let crowded = Bucket::new(CROWDED_PER_SECOND);
        Ok(Http { poll, listener, addr, shared, stop, clients, starved: false, crowded })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn waker(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Answers until it is stopped.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(CLIENTS_MAX);
        loop {
            let due = self.clients.iter().flatten().map(|client| client.until).min();
            let due = due.map(|due| due.saturating_duration_since(Instant::now()));
            // No event tells of those that wait already.
            let timeout = wasi::sooner(due, self.starved.then_some(PAUSE));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                match event.token() {
                    STOP => return,
                    LISTENER => self.accept(),
                    Token(place) => self.go_on(place),
                }
            }
            if self.starved {
                self.accept();
            }
            let now = Instant::now();
            for client in &mut self.clients {
                if client.as_ref().is_some_and(|client| client.until <= now) {
                    *client = None;
                }
            }
        }
    }

    fn accept(&mut self) {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if is_the_clients(&error) => continue,
                Err(error) => {
                    self.starved = error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            };
            let free = self.clients.iter().position(Option::is_none);
            let place = free.unwrap_or_else(|| self.make_room());
            let both = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(place), both).is_err() {
                continue;
            }
            let until = Instant::now() + PATIENCE;
            let (request, answer) = (Vec::new(), Vec::new());
            self.clients[place] = Some(Client { stream, until, request, answer, sent: 0 });
        }
    }

    /// The place of the client that has been there longest, which is closed: of those that have
    /// not asked anything yet, so that no number of them keeps a probe from its answer.
    fn make_room(&mut self) -> usize {
        let worth = |client: &Option<Client>| {
            client.as_ref().map(|client| (!client.answer.is_empty(), client.until))
        };
        let oldest = self.clients.iter().enumerate().min_by_key(|(_, client)| worth(client));
        let place = oldest.map_or(0, |(place, _)| place);
        self.clients[place] = None;
        if self.crowded.take(Instant::now()) {
            log::warn!(target: TARGET, clients = CLIENTS_MAX; "the metrics have too many clients: the oldest is closed");
        }
        place
    }

    fn go_on(&mut self, place: usize) {
        let Some(client) = self.clients.get_mut(place).and_then(Option::as_mut) else { return };
        match client.go_on(&self.shared) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Done, or gone.
            _ => self.clients[place] = None,
        }
    }
}

impl Client {
    fn go_on(&mut self, shared: &Shared) -> io::Result<()> {
        let mut chunk = [0; 1024];
        while self.answer.is_empty() {
            match self.stream.read(&mut chunk)? {
                0 => return Ok(()),
                count => self.request.extend_from_slice(&chunk[..count]),
            }
            if self.request.len() > REQUEST_MAX {
                return Ok(());
            }
            if ended(&self.request) {
                self.answer = answer(&self.request, shared);
            }
        }
        while self.sent < self.answer.len() {
            self.sent += self.stream.write(&self.answer[self.sent..])?;
        }
        Ok(())
    }
}

fn ended(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n") || request.windows(2).any(|end| end == b"\n\n")
}

fn answer(request: &[u8], shared: &Shared) -> Vec<u8> {
    let line = request.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", shared.metrics().prometheus()),
        (b"GET" | b"HEAD", b"/healthz") if shared.stopping() => {
            ("503 Service Unavailable", "stopping\n".to_owned())
        }
        (b"GET" | b"HEAD", b"/healthz") => ("200 OK", "ok\n".to_owned()),
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
