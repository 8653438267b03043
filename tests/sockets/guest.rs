//! A guest that makes single calls in a dialect.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Answer, Net, NetConfig, Policy, Resolver};
use tinyhost::wasi::{MODULE, Row, SOCKETS, TABLE, add_sockets_to_linker, add_to_linker};
use tinyhost::{Errno, WasiCtx};
use wasmi::{Engine, Func, Linker, Memory, Module, Store, Val};

use crate::busy::lock;

pub const OUT: u32 = 0x100;
pub const PORT: u32 = 0x110;
pub const KIND: u32 = 0x120;
pub const FLAGS: u32 = 0x130;
pub const ADDR: u32 = 0x200;
pub const IOVS: u32 = 0x300;
pub const BYTES: u32 = 0x400;
pub const DATA: u32 = 0x1000;
pub const MEMORY: u32 = 0x10000;

pub const INET4: u32 = 1;
pub const INET6: u32 = 2;
pub const DGRAM: u32 = 1;
pub const STREAM: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `wasmedge_wasi_socket`.
    WasmEdge,
    /// dispatchrun/net.
    Go,
    /// The names that end in `_v2`.
    V2,
}

pub const DIALECTS: [Dialect; 3] = [Dialect::WasmEdge, Dialect::Go, Dialect::V2];

impl Dialect {
    /// What a module of the dialect imports.
    pub fn rows(self) -> Vec<&'static Row> {
        let extension = |name: &str, params: usize| {
            let mut rows = SOCKETS.iter();
            rows.find(|row| row.name == name && row.params.len() == params).expect(name)
        };
        let standard = |name: &str| TABLE.iter().find(|row| row.name == name).expect(name);
        let mut rows = vec![
            extension("sock_getaddrinfo", 8),
            extension("sock_getsockopt", 5),
            extension("sock_setsockopt", 5),
            standard("sock_shutdown"),
            standard("fd_close"),
            standard("fd_fdstat_get"),
            standard("fd_fdstat_set_flags"),
            standard("fd_read"),
            standard("fd_write"),
            standard("poll_oneoff"),
        ];
        let (accept, end) = match self {
            Dialect::WasmEdge => (extension("sock_accept", 2), 4),
            Dialect::Go => (standard("sock_accept"), 3),
            Dialect::V2 => (extension("sock_accept_v2", 3), 3),
        };
        rows.push(accept);
        let forms = [
            ("sock_open", 3),
            ("sock_bind", 3),
            ("sock_listen", 2),
            ("sock_connect", 3),
            ("sock_recv_from", 8),
            ("sock_send_to", 7),
            ("sock_getlocaladdr", end),
            ("sock_getpeeraddr", end),
        ];
        for (name, params) in forms {
            rows.push(extension(&self.name(name), params));
        }
        if self == Dialect::V2 {
            rows.extend([extension("sock_recv_v2", 6), extension("sock_send_v2", 5)]);
        } else {
            rows.extend([standard("sock_recv"), standard("sock_send")]);
        }
        rows
    }

    pub fn name(self, name: &str) -> String {
        format!("{name}{}", if self == Dialect::V2 { "_v2" } else { "" })
    }
}

/// Imports and trampolines for these rows.
pub fn module(rows: &[&Row]) -> Vec<u8> {
    let signature = |row: &Row| {
        let wide = |wide| if wide { "i64" } else { "i32" };
        let params: Vec<_> = row.params.iter().map(|param| wide(param.kind.is_wide())).collect();
        format!("(param {}) (result i32)", params.join(" "))
    };
    let mut text = "(module ".to_owned();
    for row in rows {
        let (name, ty) = (row.name, signature(row));
        writeln!(text, r#"(import "{MODULE}" "{name}" (func ${name} {ty}))"#).unwrap();
    }
    text += r#"(memory (export "memory") 1) (func (export "_start"))"#;
    for row in rows {
        let (name, ty) = (row.name, signature(row));
        write!(text, r#"(func (export "call_{name}") {ty}"#).unwrap();
        (0..row.params.len()).for_each(|i| write!(text, " local.get {i}").unwrap());
        writeln!(text, " call ${name})").unwrap();
    }
    wat::parse_str(text + ")").expect("the text is right")
}

/// Answers what it is told to.
#[derive(Default)]
pub struct Known(Mutex<HashMap<String, Vec<IpAddr>>>);

impl Known {
    pub fn knows(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        lock(&self.0).insert(name.to_owned(), addresses);
    }
}

impl Resolver for Known {
    fn resolve(&self, name: &str, answer: Answer) {
        // From another thread and later, so that the call has to wait.
        let found = lock(&self.0).get(name).cloned().ok_or(Errno::Hostunreach);
        std::thread::spawn(move || answer.send(found));
    }
}

/// A network, and what became of it.
pub struct World {
    pub net: Net,
    pub resolver: Arc<Known>,
    denials: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub fn new(net: &[&str], listen: &[&str]) -> World {
        World::with(net, listen, NetConfig::default())
    }

    pub fn with(net: &[&str], listen: &[&str], config: NetConfig) -> World {
        let rules = ["none"].iter().chain(net).copied();
        let policy = Policy::from_rules(rules, listen.iter().copied()).unwrap();
        let denials = Arc::new(Mutex::new(Vec::new()));
        let resolver = Arc::new(Known::default());
        let report = {
            let denials = denials.clone();
            Arc::new(move |line: &str| lock(&denials).push(line.to_owned()))
        };
        let net = Net::new(NetConfig { policy, resolver: resolver.clone(), report, ..config });
        World { net, resolver, denials }
    }

    /// The same network, for another guest.
    pub fn for_guest(&self) -> World {
        let net = self.net.for_guest();
        World { net, resolver: self.resolver.clone(), denials: self.denials.clone() }
    }

    pub fn denials(&self) -> Vec<String> {
        lock(&self.denials).clone()
    }

    pub fn namespace(&self) -> Namespace {
        let dev = Arc::new(Dev::with_net(self.net.clone()));
        Namespace::builder().mount("/dev", dev).unwrap().build()
    }

    pub fn guest(&self, dialect: Dialect) -> Guest {
        Guest::new(dialect, WasiCtx::builder().namespace(self.namespace()).build())
    }
}

pub struct Guest {
    pub dialect: Dialect,
    store: Store<WasiCtx>,
    memory: Memory,
    functions: HashMap<&'static str, Func>,
}

impl Guest {
    pub fn new(dialect: Dialect, cx: WasiCtx) -> Guest {
        Guest::of(dialect, &dialect.rows(), cx)
    }

    pub fn of(dialect: Dialect, rows: &[&'static Row], cx: WasiCtx) -> Guest {
        let engine = Engine::default();
        let module = Module::new(&engine, module(rows)).expect("it is valid");
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |cx: &mut WasiCtx| cx).expect("an empty linker");
        add_sockets_to_linker(&mut linker, &module, |cx: &mut WasiCtx| cx).expect("the rest");
        let mut store = Store::new(&engine, cx);
        let instance = linker.instantiate_and_start(&mut store, &module).expect("it starts");
        let memory = instance.get_memory(&store, "memory").expect("exported");
        let function = |row: &&'static Row| {
            let function = instance.get_func(&store, &format!("call_{}", row.name));
            (row.name, function.expect("exported"))
        };
        let functions = rows.iter().map(function).collect();
        Guest { dialect, store, memory, functions }
    }

    pub fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory()[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn put_u32(&mut self, at: u32, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn bytes(&mut self, at: u32, len: u32) -> Vec<u8> {
        self.memory()[at as usize..][..len as usize].to_vec()
    }

    pub fn u32_at(&mut self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    /// By the name without `_v2`.
    pub fn call(&mut self, name: &str, args: &[u32]) -> Result<(), Errno> {
        let v2 = format!("{name}_v2");
        let function = self.functions.get(&*v2).or(self.functions.get(name)).expect(name);
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(arg.cast_signed())).collect();
        let mut results = [Val::I32(-1)];
        function.call(&mut self.store, &args, &mut results).expect("no trap");
        let code = results[0].i32().expect("a number");
        match Errno::from_code(code).expect("an errno of the spec") {
            Errno::Success => Ok(()),
            errno => Err(errno),
        }
    }

    pub fn open(&mut self, family: u32, socktype: u32) -> Result<u32, Errno> {
        self.call("sock_open", &[family, socktype, OUT])?;
        Ok(self.u32_at(OUT))
    }

    /// Writes an address as the dialect does, and answers the pointer to it.
    pub fn address(&mut self, ip: IpAddr) -> u32 {
        let bytes = match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let bytes = match self.dialect {
            Dialect::WasmEdge => bytes,
            _ => {
                let family: u16 = if ip.is_ipv4() { 1 } else { 2 };
                let mut long = [&family.to_le_bytes()[..], &bytes].concat();
                long.resize(128, 0);
                long
            }
        };
        self.put_u32(ADDR, BYTES);
        self.put_u32(ADDR + 4, bytes.len() as u32);
        self.put(BYTES, &bytes);
        ADDR
    }

    pub fn connect(&mut self, fd: u32, to: SocketAddr) -> Result<(), Errno> {
        let addr = self.address(to.ip());
        self.call("sock_connect", &[fd, addr, to.port().into()])
    }

    pub fn bind(&mut self, fd: u32, at: SocketAddr) -> Result<(), Errno> {
        let addr = self.address(at.ip());
        self.call("sock_bind", &[fd, addr, at.port().into()])
    }

    /// Room for an address as the dialect wants it.
    pub fn room(&mut self) -> u32 {
        let len = if self.dialect == Dialect::WasmEdge { 16 } else { 128 };
        self.room_of(len)
    }

    fn room_of(&mut self, len: u32) -> u32 {
        self.put(BYTES, &[0; 128]);
        self.put_u32(ADDR, BYTES);
        self.put_u32(ADDR + 4, len);
        ADDR
    }

    fn address_there(&mut self, kind: Option<u32>) -> SocketAddr {
        let port = self.u32_at(PORT) as u16;
        let bytes = self.bytes(BYTES, 128);
        let (v4, data) = match kind {
            Some(kind) => (kind == 4, &bytes[..]),
            None => (bytes[..2] == [1, 0], &bytes[2..]),
        };
        if v4 {
            (<[u8; 4]>::try_from(&data[..4]).unwrap(), port).into()
        } else {
            (<[u8; 16]>::try_from(&data[..16]).unwrap(), port).into()
        }
    }

    fn end(&mut self, name: &str, fd: u32) -> Result<SocketAddr, Errno> {
        let room = self.room();
        if self.dialect == Dialect::WasmEdge {
            self.call(name, &[fd, room, KIND, PORT])?;
            let kind = self.u32_at(KIND);
            return Ok(self.address_there(Some(kind)));
        }
        self.call(name, &[fd, room, PORT])?;
        Ok(self.address_there(None))
    }

    pub fn local(&mut self, fd: u32) -> Result<SocketAddr, Errno> {
        self.end("sock_getlocaladdr", fd)
    }

    pub fn peer(&mut self, fd: u32) -> Result<SocketAddr, Errno> {
        self.end("sock_getpeeraddr", fd)
    }

    pub fn accept(&mut self, fd: u32) -> Result<u32, Errno> {
        match self.dialect {
            Dialect::WasmEdge => self.call("sock_accept", &[fd, OUT])?,
            _ => self.call("sock_accept", &[fd, 0, OUT])?,
        }
        Ok(self.u32_at(OUT))
    }

    pub fn send(&mut self, fd: u32, data: &[u8]) -> Result<u32, Errno> {
        self.vector(data.len() as u32);
        self.put(DATA, data);
        self.call("sock_send", &[fd, IOVS, 1, 0, OUT])?;
        Ok(self.u32_at(OUT))
    }

    pub fn receive(&mut self, fd: u32) -> Result<Vec<u8>, Errno> {
        self.vector(1024);
        self.call("sock_recv", &[fd, IOVS, 1, 0, OUT, FLAGS])?;
        let count = self.u32_at(OUT);
        Ok(self.bytes(DATA, count))
    }

    fn vector(&mut self, len: u32) {
        self.put_u32(IOVS, DATA);
        self.put_u32(IOVS + 4, len);
    }

    pub fn send_to(&mut self, fd: u32, data: &[u8], to: SocketAddr) -> Result<u32, Errno> {
        let addr = self.address(to.ip());
        self.vector(data.len() as u32);
        self.put(DATA, data);
        self.call("sock_send_to", &[fd, IOVS, 1, addr, to.port().into(), 0, OUT])?;
        Ok(self.u32_at(OUT))
    }

    /// The address comes with its family, as each crate asks for it here.
    pub fn receive_from(
        &mut self,
        fd: u32,
        room: u32,
        flags: u32,
    ) -> Result<(Vec<u8>, SocketAddr), Errno> {
        let addr = self.room_of(128);
        self.vector(room);
        self.call("sock_recv_from", &[fd, IOVS, 1, addr, flags, PORT, OUT, FLAGS])?;
        let count = self.u32_at(OUT);
        Ok((self.bytes(DATA, count), self.address_there(None)))
    }

    pub fn nonblock(&mut self, fd: u32) {
        self.call("fd_fdstat_set_flags", &[fd, 4]).expect("a descriptor");
    }

    /// Waits until it is writable, with `poll_oneoff`.
    pub fn wait_writable(&mut self, fd: u32) {
        let mut subscription = [0; 48];
        subscription[8] = 2;
        subscription[16..20].copy_from_slice(&fd.to_le_bytes());
        self.put(DATA, &subscription);
        self.call("poll_oneoff", &[DATA, DATA + 64, 1, OUT]).expect("a descriptor");
        assert_eq!(self.u32_at(OUT), 1);
        assert_eq!(self.bytes(DATA + 64 + 8, 2), [0, 0], "no error of the poll");
    }

    /// `SO_ERROR` and the like, as the dialect passes the length.
    pub fn option(&mut self, fd: u32, option: u32) -> Result<u32, Errno> {
        let len = match self.dialect {
            Dialect::Go => 4,
            _ => {
                self.put_u32(KIND, 4);
                KIND
            }
        };
        self.call("sock_getsockopt", &[fd, 0, option, OUT, len])?;
        Ok(self.u32_at(OUT))
    }

    pub fn set_option(&mut self, fd: u32, option: u32, value: u32) -> Result<(), Errno> {
        self.put_u32(OUT, value);
        self.call("sock_setsockopt", &[fd, 0, option, OUT, 4])
    }
}
