//! A guest that writes once, and what came of it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tinyhost::vfs::File;
use tinyhost::wasi::{CallOutcome, Trace, TracedCall};
use tinyhost::{End, Errno, Guest, Program, Step, WasiCtx};

use crate::calls::imports;
use crate::util::busy;

/// What no test takes on a quiet machine, and none exceeds on a busy one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the written bytes begin in memory; vectors and results are below.
const BASE: usize = 0x1_0000;

/// A prime, so that no buffer's size divides it.
const PATTERN: usize = 251;

/// The descriptor that is written to.
pub const FD: u32 = 3;

/// What such a guest writes.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..PATTERN).map(|n| n as u8).cycle().take(len).collect()
}

/// A program that makes these writes.
pub struct Writer {
    setup: String,
    calls: String,
    vectors: Vec<u8>,
    end: usize,
    fd: u32,
}

/// The module of a guest that writes this much to its standard output, once.
pub fn standard_output(len: usize) -> Vec<u8> {
    Writer { fd: 1, ..Writer::new() }.write("fd_write", len, 1).wasm()
}

impl Writer {
    pub fn new() -> Writer {
        Writer {
            setup: String::new(),
            calls: String::new(),
            vectors: Vec::new(),
            end: BASE,
            fd: FD,
        }
    }

    /// Sets flags of the descriptor first.
    pub fn with_flags(mut self, flags: u32) -> Writer {
        let fd = self.fd;
        self.setup =
            format!("(drop (call $fd_fdstat_set_flags (i32.const {fd}) (i32.const {flags})))");
        self
    }

    /// One call that writes `len` bytes in `parts` vectors, between which there are empty ones.
    pub fn write(mut self, call: &str, len: usize, parts: usize) -> Writer {
        let at = self.vectors.len();
        let mut done = 0;
        for part in 0..parts {
            // Of different lengths, the last takes the rest.
            let size = if part + 1 == parts { len - done } else { len / parts / (part % 3 + 1) };
            for (start, size) in [(self.end + done, size), (self.end, 0)] {
                self.vectors.extend(u32::try_from(start).unwrap().to_le_bytes());
                self.vectors.extend(u32::try_from(size).unwrap().to_le_bytes());
            }
            done += size;
        }
        self.end += len;
        let (fd, count) = (self.fd, 2 * parts);
        let extra = match call {
            "fd_pwrite" => "(i64.const 0)",
            "sock_send" => "(i32.const 0)",
            _ => "",
        };
        self.calls += &format!(
            "(drop (call ${call} (i32.const {fd}) (i32.const {}) (i32.const {count}) {extra} \
             (i32.const 0xfff0)))",
            0x100 + at
        );
        self
    }

    pub fn program(&self) -> Program {
        Program::new(self.wasm()).expect("a program")
    }

    fn wasm(&self) -> Vec<u8> {
        let escape = |bytes: &[u8]| bytes.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
        let pages = self.end / 0x1_0000 + 1;
        // Doubles the pattern until memory is full.
        let fill = format!(
            "(local $have i32) (local $left i32)
             (local.set $have (i32.const {PATTERN}))
             (loop $more
               (local.set $left (i32.sub (i32.const {room}) (local.get $have)))
               (memory.copy (i32.add (i32.const {BASE}) (local.get $have)) (i32.const {BASE})
                 (select (local.get $have) (local.get $left)
                   (i32.lt_u (local.get $have) (local.get $left))))
               (local.set $have (i32.shl (local.get $have) (i32.const 1)))
               (br_if $more (i32.lt_u (local.get $have) (i32.const {room}))))",
            room = pages * 0x1_0000 - BASE,
        );
        let text = format!(
            "(module {} (memory (export \"memory\") {pages})
               (data (i32.const 256) \"{}\") (data (i32.const {BASE}) \"{}\")
               (func (export \"_start\") {fill} {} {}))",
            imports(),
            escape(&self.vectors),
            escape(&bytes(PATTERN)),
            self.setup,
            self.calls,
        );
        wat::parse_str(text).expect("the text is right")
    }

    /// The guest of it, with this file as its descriptor 3.
    pub fn guest(&self, file: Box<dyn File>) -> (Guest, Answers) {
        self.guest_with(WasiCtx::builder(), file)
    }

    pub fn guest_with(
        &self,
        cx: tinyhost::wasi::CtxBuilder,
        file: Box<dyn File>,
    ) -> (Guest, Answers) {
        let answers = Answers::default();
        let cx = cx.socket("<tried>", file).trace(answers.clone()).build();
        (Guest::new(&self.program(), cx), answers)
    }
}

/// What the guest's writes answered, each once.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Result<u32, Errno>>>>);

impl Answers {
    pub fn told(&self) -> Vec<Result<u32, Errno>> {
        busy::lock(&self.0).clone()
    }
}

impl Trace for Answers {
    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        let at = call.arg_u32("nwritten").or_else(|| call.arg_u32("so_datalen"));
        let (Some(at), CallOutcome::Done(errno)) = (at, outcome) else { return };
        let count = call.mem.array(at).map(|count| u32::from_le_bytes(*count)).unwrap();
        busy::lock(&self.0).push(errno.map_or(Ok(count), Err));
    }
}

/// Runs a guest to its end, which must come, and be one.
pub fn run(guest: &mut Guest) {
    match guest.run_until(Some(Instant::now() + PATIENCE)) {
        End::Exited(0) => {}
        other => panic!("{other:?}"),
    }
}

/// Steps a guest until it has to wait for somebody.
pub fn park(guest: &mut Guest) {
    loop {
        match guest.step(1_000_000) {
            Step::Yielded => {}
            Step::Parked => return,
            other => panic!("{other:?}"),
        }
    }
}
