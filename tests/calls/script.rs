//! A guest that makes the calls it was written for and tells what came of them, for
//! stepping: it can park.

use std::fmt::Write;

use tinyhost::vfs::pipe::Capture;
use tinyhost::wasi::CtxBuilder;
use tinyhost::{Guest, Program};

use super::{imports, row};

/// Where the errnos are gathered, and the vectors to tell everything with.
const ERRNOS: u32 = 0x1_0000;
const VECTORS: u32 = 0xfff0;

pub struct Script {
    body: String,
    data: String,
    count: u32,
}

impl Script {
    pub fn new() -> Script {
        Script { body: String::new(), data: String::new(), count: 0 }
    }

    /// Bytes that are in its memory from the start.
    pub fn data(mut self, at: u32, bytes: &[u8]) -> Script {
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(self.data, r#"(data (i32.const {at}) "{escaped}")"#).unwrap();
        self
    }

    pub fn call(mut self, name: &str, args: &[u64]) -> Script {
        let row = row(name);
        assert_eq!(row.params.len(), args.len(), "arguments of {name}");
        write!(self.body, "(i32.store (i32.const {}) (call ${name}", ERRNOS + 4 * self.count)
            .unwrap();
        for (param, arg) in row.params.iter().zip(args) {
            match param.kind.is_wide() {
                true => write!(self.body, " (i64.const {})", arg.cast_signed()).unwrap(),
                false => write!(self.body, " (i32.const {})", *arg as u32).unwrap(),
            }
        }
        writeln!(self.body, "))").unwrap();
        self.count += 1;
        self
    }

    /// The guest, and how it will have ended: its errnos and `len` bytes of memory at `at`
    /// come over standard output.
    pub fn guest(&self, cx: CtxBuilder, at: u32, len: u32) -> (Guest, Ending) {
        let errnos = 4 * self.count;
        let vectors: String = [(VECTORS, ERRNOS), (VECTORS + 4, errnos)]
            .iter()
            .chain(&[(VECTORS + 8, at), (VECTORS + 12, len)])
            .map(|(at, value)| format!("(i32.store (i32.const {at}) (i32.const {value}))"))
            .collect();
        let text = format!(
            "(module {} (memory (export \"memory\") 2) {} (func (export \"_start\") {}
             {vectors} (drop (call $fd_write (i32.const 1) (i32.const {VECTORS}) (i32.const 2)
             (i32.const 0xffe0)))))",
            imports(),
            self.data,
            self.body
        );
        let program = Program::new(wat::parse_str(text).expect("the text is right"));
        let output = Capture::new(1 << 20);
        let cx = cx.stdout(output.clone()).build();
        let guest = Guest::new(&program.expect("a program"), cx);
        (guest, Ending { output, errnos: errnos as usize })
    }
}

/// What a guest told.
pub struct Ending {
    output: Capture,
    errnos: usize,
}

impl Ending {
    /// The errno of each call, and the memory that was asked for.
    pub fn told(&self) -> (Vec<u32>, Vec<u8>) {
        let told = self.output.take();
        assert!(told.len() >= self.errnos, "the guest has not ended");
        let (errnos, memory) = told.split_at(self.errnos);
        let errno = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        (errnos.chunks(4).map(errno).collect(), memory.to_vec())
    }
}
