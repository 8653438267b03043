//! `/dev/tls` beside a native rustls program, and the memory of many connections that wait.
//!
//!     cargo bench --bench tls                  # all of it
//!     cargo bench --bench tls -- --guests 1000 # with fewer guests that wait
//!
//! The server is a child process, so that its memory and its time are its own. Figures of one run are
//! only good beside each other: each round moves the same bytes by both, one after the other. Fails if
//! the guest has less than 0.8 of the native program's throughput.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use tinyhost::sched::Scheduler;
use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig, Policy, Tls};
use tinyhost::{Guest, Pool, Program, Step, WasiCtx};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of one transfer, and of one call.
const BYTES: usize = 256 << 20;
const CHUNK: usize = 64 << 10;

const ROUNDS: usize = 7;

/// The least that the guest may have of the native throughput.
const LEAST: f64 = 0.8;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("serve") => return serve(&words[1], &words[2]),
        Some("park") => return park_here(&words[1..]),
        _ => {}
    }
    let guests = words.iter().position(|word| word == "--guests");
    let guests = guests.map_or(Ok(5000), |at| words[at + 1].parse())?;
    let server = Server::start()?;
    let down = compare("down", &server, Direction::Down)?;
    let up = compare("up", &server, Direction::Up)?;
    park(&server, guests)?;
    if down < LEAST || up < LEAST {
        return Err(format!("less than {LEAST} of the native throughput").into());
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// The client reads.
    Down,
    /// The client writes.
    Up,
}

/// The throughput of a guest beside that of a native client: the median of the rounds' ratios.
fn compare(name: &str, server: &Server, direction: Direction) -> Outcome<f64> {
    let program = Program::new(wat::parse_str(guest(server.ends.tls, direction))?)?;
    let mut ratios = Vec::new();
    let (mut best_native, mut best_guest) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let native = native(server, direction)?.as_secs_f64();
        let guest = guest_time(server, &program)?.as_secs_f64();
        best_native = best_native.min(native);
        best_guest = best_guest.min(guest);
        ratios.push(native / guest);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    let rate = |seconds: f64| BYTES as f64 / seconds / 1e6;
    println!(
        "{name}: native {:.0} MB/s, guest {:.0} MB/s; of the native throughput {median:.2} \
         (rounds {:.2} to {:.2})",
        rate(best_native),
        rate(best_guest),
        ratios[0],
        ratios[ROUNDS - 1]
    );
    Ok(median)
}

/// What a native program does, with the same library.
fn native(server: &Server, direction: Direction) -> Outcome<Duration> {
    let start = Instant::now();
    let connection = ClientConnection::new(server.client.clone(), "localhost".try_into()?)?;
    let mut session = StreamOwned::new(connection, TcpStream::connect(server.ends.tls)?);
    let mut buf = vec![0; CHUNK];
    session.write_all(&[direction as u8])?;
    match direction {
        Direction::Down => while session.read(&mut buf)? > 0 {},
        Direction::Up => {
            for _ in 0..BYTES / CHUNK {
                session.write_all(&buf)?;
            }
            session.flush()?;
            session.read_exact(&mut buf[..1])?;
        }
    }
    Ok(start.elapsed())
}

fn guest_time(server: &Server, program: &Program) -> Outcome<Duration> {
    let start = Instant::now();
    let mut guest = Guest::new(program, context(&network(&server.ends.authority)?)?);
    match guest.run()? {
        Step::Exited(0) => Ok(start.elapsed()),
        step => Err(format!("the guest ended with {step:?}").into()),
    }
}

fn context(net: &Net) -> Outcome<WasiCtx> {
    let dev = Arc::new(Dev::with_net(net.for_guest()));
    Ok(WasiCtx::builder().namespace(Namespace::builder().mount("/dev", dev)?.build()).build())
}

/// A guest in text: opens the name, says in which direction, and moves the bytes. A direction of 2
/// is none, so that the server never answers.
fn guest_of(name: &str, direction: u8) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 2)
          (data (i32.const 64) "{name}")
          (data (i32.const 32) "\{direction:02x}")
          (func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
          (func $move (param $at i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len)))
          (func (export "_start") (local $fd i32) (local $left i32)
            (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {length})
              (i32.const 0) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 16)))
            (local.set $fd (i32.load (i32.const 16)))
            (call $move (i32.const 32) (i32.const 1))
            (call $check (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
            (call $move (i32.const 65536) (i32.const {CHUNK}))
            (if (i32.eq (i32.const {direction}) (i32.const 1)) (then
              (local.set $left (i32.const {count}))
              (loop $more
                (call $check (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $more (local.get $left)))))
            (loop $more
              (call $check (call $read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
              (br_if $more (i32.load (i32.const 8))))
            (call $exit (i32.const 0))))"#,
        length = name.len(),
        count = BYTES / CHUNK,
    )
}

fn guest(at: SocketAddr, direction: Direction) -> String {
    guest_of(&format!("tls/localhost/{}", at.port()), direction as u8)
}

/// Prints what guests take that wait for an answer, by TLS and without: each kind in a process of its
/// own, for memory that was used once is not given back at once.
fn park(server: &Server, count: usize) -> Outcome<()> {
    let mut each = Vec::new();
    let plain = format!("tcp/localhost/{}", server.ends.plain.port());
    let tls = format!("tls/localhost/{}", server.ends.tls.port());
    for (what, name) in [("plain", plain), ("TLS", tls)] {
        let count_word = count.to_string();
        let Ends { status, authority, .. } = &server.ends;
        let output = Command::new(std::env::current_exe()?)
            .args(["park", &name, &count_word, &status.to_string(), authority])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let (bytes, took) = text.trim().split_once(' ').ok_or("the guests did not wait")?;
        let bytes: f64 = bytes.parse()?;
        let kib = bytes / 1024.0;
        println!(
            "{count} guests wait on one thread ({what}): {kib:.1} KiB each, opened in {took} s"
        );
        each.push(kib);
        while waiting(*status)? > 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let more = each[1] - each[0];
    println!("memory of a TLS connection that waits, beyond its socket: {more:.1} KiB");
    Ok(())
}

/// What the process does for that: prints bytes of a guest, and the seconds until all were waiting.
fn park_here(words: &[String]) -> Outcome<()> {
    let [name, count, status, authority] = words else { return Err("words are missing".into()) };
    let (count, status): (usize, SocketAddr) = (count.parse()?, status.parse()?);
    raise_descriptor_limit();
    let program = Program::new(wat::parse_str(guest_of(name, 2))?)?;
    let net = network(authority)?;
    let mut pool = Pool::new(&program);
    let mut sched = Scheduler::new()?;
    let mut events = Vec::new();
    // The first one has the program translated, and the authorities read, which all share.
    sched.spawn(pool.spawn(context(&net)?), None);
    while waiting(status)? < 1 {
        sched.turn(Some(Duration::from_millis(10)), &mut events)?;
    }
    let before = resident_bytes()?;
    let start = Instant::now();
    for _ in 1..count {
        sched.spawn(pool.spawn(context(&net)?), None);
    }
    // All of them have shaken hands once the server has had a byte of each.
    while waiting(status)? < count {
        sched.turn(Some(Duration::from_millis(50)), &mut events)?;
        if let Some(event) = events.pop() {
            return Err(format!("a guest did not wait: {event:?}").into());
        }
    }
    let took = start.elapsed().as_secs_f64();
    println!("{} {took:.1}", resident_bytes()?.saturating_sub(before) / (count - 1));
    Ok(())
}

/// This process's, of now; Linux only.
fn resident_bytes() -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The child, and what its clients need to know of it.
struct Server {
    child: Child,
    ends: Ends,
    client: Arc<ClientConfig>,
}

struct Ends {
    tls: SocketAddr,
    plain: SocketAddr,
    /// Says how many clients wait.
    status: SocketAddr,
    authority: String,
}

impl Server {
    fn start() -> Outcome<Server> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
        params.is_ca = rcgen::IsCa::NoCa;
        let certificate = params.self_signed(&key)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &certificate.pem(), &key.serialize_pem()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let at: Vec<SocketAddr> =
            line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        // A certificate that is its own authority is trusted as such.
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let authority = certificate.pem();
        let ends = Ends { tls: at[0], plain: at[1], status: at[2], authority };
        Ok(Server { child, ends, client: Arc::new(client) })
    }
}

/// A network that trusts this authority.
fn network(authority: &str) -> Outcome<Net> {
    let policy = Policy::from_rules(["localhost:*"], [])?;
    let tls = Tls::default().trust("bench", authority.as_bytes())?;
    Ok(Net::new(NetConfig { policy, tls, ..NetConfig::default() }))
}

/// How many clients wait.
fn waiting(status: SocketAddr) -> Outcome<usize> {
    let mut text = String::new();
    TcpStream::connect(status)?.read_to_string(&mut text)?;
    Ok(text.parse()?)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What the child does: a thread for each client.
fn serve(certificate: &str, key: &str) -> Outcome<()> {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static WAITING: AtomicUsize = AtomicUsize::new(0);

    raise_descriptor_limit();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let config = Arc::new(config);
    let listen = || TcpListener::bind("127.0.0.1:0");
    let (tls, plain, status) = (listen()?, listen()?, listen()?);
    println!("{} {} {}", tls.local_addr()?, plain.local_addr()?, status.local_addr()?);
    std::thread::spawn(move || {
        for client in status.incoming().flatten() {
            let _ = write!(&client, "{}", WAITING.load(SeqCst));
        }
    });
    let answer = |mut session: Box<dyn Stream>| {
        let mut direction = [0];
        let _ = session.read_exact(&mut direction);
        match direction[0] {
            0 => give(&mut *session),
            1 => take(&mut *session),
            _ => {
                WAITING.fetch_add(1, SeqCst);
                let _ = session.read(&mut [0]);
                WAITING.fetch_sub(1, SeqCst);
            }
        }
        session.finish();
    };
    let start = move |session: Box<dyn Stream>| {
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        thread.spawn(move || answer(session)).map(drop)
    };
    std::thread::spawn(move || {
        for client in plain.incoming().flatten() {
            let _ = start(Box::new(client));
        }
    });
    for client in tls.incoming() {
        let session = StreamOwned::new(ServerConnection::new(config.clone())?, client?);
        start(Box::new(session))?;
    }
    Ok(())
}

trait Stream: Read + Write + Send {
    /// Says that nothing follows.
    fn finish(&mut self);
}

impl Stream for TcpStream {
    fn finish(&mut self) {}
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

fn give(session: &mut dyn Stream) {
    let buf = vec![7; CHUNK];
    for _ in 0..BYTES / CHUNK {
        if session.write_all(&buf).is_err() {
            return;
        }
    }
    let _ = session.flush();
}

fn take(session: &mut dyn Stream) {
    let mut buf = vec![0; CHUNK];
    let mut left = BYTES;
    while left > 0 {
        match session.read(&mut buf) {
            Ok(0) | Err(_) => return,
            Ok(count) => left -= count.min(left),
        }
    }
    let _ = session.write_all(&[1]);
    let _ = session.flush();
}
