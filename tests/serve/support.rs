//! A server in this process, clients for it, and a watchdog over both.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::busy::{LIMIT, lock};
use tinyhost::Program;
use tinyhost::serve::logging::{LogFormat, print};
use tinyhost::serve::{BoundAddr, Handle, Metrics, Outcome, ServeConfig, Server};

/// Ends the process if the test that holds it hangs, saying what it waited for.
struct Watchdog {
    waits_for: Arc<Mutex<String>>,
    _alive: Sender<()>,
}

impl Watchdog {
    fn new(test: &str) -> Watchdog {
        let waits_for = Arc::new(Mutex::new(String::from("the server to start")));
        let (alive, dead) = mpsc::channel::<()>();
        let (shown, test) = (waits_for.clone(), test.to_owned());
        std::thread::spawn(move || {
            if dead.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Not eprintln, which is kept for the end of the test.
                let what = format!("{test} hangs: it waits for {}\n", lock(&shown));
                let _ = io::stderr().write_all(what.as_bytes());
                std::process::exit(101);
            }
        });
        Watchdog { waits_for, _alive: alive }
    }
}

/// All records of all servers, in their text form.
static RECORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut line = Vec::new();
        print(&mut line, record, LogFormat::Text).unwrap();
        lock(&RECORDS).push(String::from_utf8(line).unwrap());
    }

    fn flush(&self) {}
}

/// Whether some server has said this.
pub fn logged(what: &str) -> bool {
    lock(&RECORDS).iter().any(|line| line.contains(what))
}

/// A server that serves, until it is dropped.
pub struct Running {
    pub handle: Handle,
    pub addr: SocketAddr,
    pub metrics: Option<SocketAddr>,
    /// The program's name, which no other test's has.
    pub name: String,
    thread: Option<JoinHandle<io::Result<()>>>,
    watchdog: Watchdog,
}

pub fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

pub fn program(name: &str) -> Program {
    Program::new(fixture(name)).unwrap()
}

/// A program in WebAssembly text: what is in `_start`, with an iovec of `len` bytes at 64
/// made ready at 0, and four locals.
pub fn assembled(text: &str, start: &str) -> Program {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 64) "{text}")
          (func $write (param $fd i32)
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const {len}))
            (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func $read (result i32)
            (i32.store (i32.const 0) (i32.const 4096))
            (i32.store (i32.const 4) (i32.const 4096))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.load (i32.const 8)))
          (func $sleep_ms (param $ms i64)
            (i32.store (i32.const 1040) (i32.const 1))
            (i64.store (i32.const 1048) (i64.mul (local.get $ms) (i64.const 1000000)))
            (drop (call $poll_oneoff (i32.const 1024) (i32.const 1100) (i32.const 1) (i32.const 8))))
          (func (export "_start") (local $i i32) {start}))"#,
        len = text.replace("\\n", "n").len(),
    );
    Program::new(wat::parse_str(text).unwrap()).unwrap()
}

pub fn serve(program: Program, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    static LOGGER: OnceLock<()> = OnceLock::new();
    LOGGER.get_or_init(|| {
        log::set_logger(&Recorder).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    let name = format!("guest-{}.", NUMBER.fetch_add(1, Ordering::Relaxed));
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let watchdog = Watchdog::new(&test);
    let mut config = ServeConfig::new(program, &name);
    config.binds = vec!["127.0.0.1:0".parse().unwrap()];
    config.limits.max_conns_per_addr = 1024;
    config.limits.timeout = LIMIT / 2;
    adjust(&mut config);
    let server = Server::bind(config).unwrap();
    let (handle, addr) = (server.handle(), server.local_addrs()[0].tcp().unwrap());
    let metrics = server.metrics_addr().and_then(BoundAddr::tcp);
    let thread = std::thread::spawn(move || server.run());
    Running { handle, addr, metrics, name, thread: Some(thread), watchdog }
}

impl Running {
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.addr).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client
    }

    /// A fresh connection sends these bytes and reads to the end, while its own direction
    /// stays open.
    pub fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.connect();
        client.write_all(bytes).unwrap();
        self.rest(&mut client)
    }

    /// The same, with its own direction shut.
    pub fn ask_and_shut(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.connect();
        client.write_all(bytes).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        self.rest(&mut client)
    }

    /// All until the end.
    pub fn rest(&self, client: &mut TcpStream) -> Vec<u8> {
        self.waits_for("the end of a reply");
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        reply
    }

    /// Just as many bytes.
    pub fn some(&self, client: &mut TcpStream, count: usize) -> Vec<u8> {
        self.waits_for(&format!("{count} bytes of a reply"));
        let mut reply = vec![0; count];
        client.read_exact(&mut reply).unwrap();
        reply
    }

    pub fn waits_for(&self, what: &str) {
        *lock(&self.watchdog.waits_for) = what.to_owned();
    }

    /// Waits until the metrics are so.
    pub fn until(&self, what: &str, mut so: impl FnMut(&Metrics) -> bool) -> Metrics {
        self.waits_for(what);
        loop {
            let metrics = self.handle.metrics();
            if so(&metrics) {
                return metrics;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until a line has ended so.
    pub fn until_outcome(&self, outcome: Outcome) {
        self.until(outcome.name(), |metrics| metrics.outcome(outcome) > 0);
    }

    /// Records of the log about this server's guests that contain `what`.
    pub fn records(&self, what: &str) -> Vec<String> {
        let records = lock(&RECORDS);
        let mine = records.iter().filter(|line| line.contains(&format!("program={}", self.name)));
        mine.filter(|line| line.contains(what)).cloned().collect()
    }

    /// Waits for such a record.
    pub fn until_record(&self, what: &str) -> String {
        self.waits_for(&format!("a log record with {what:?}"));
        loop {
            if let Some(record) = self.records(what).pop() {
                return record;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Shuts the server down, and waits for it.
    pub fn stop(&mut self) {
        self.handle.shutdown();
        self.waits_for("the server to end");
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }

    /// Waits for a server that was told to end.
    pub fn join(&mut self) {
        self.waits_for("the server to end");
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}
