//! Random programs that read bytes at random places, in text.
//!
//! Every program ends: each call and each turn of a loop takes from the global `$left`, and there is no
//! more of either when it is used up. At its end it writes its memory and its globals.

use std::fmt::Write;

/// xorshift64*: the same programs for the same seed.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        // A state of 0 would stay 0.
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        rng
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
}

pub use Ty::{F32, F64, I32, I64, V128};

pub const TYPES: [Ty; 5] = [I32, I64, F32, F64, V128];

impl Ty {
    pub fn name(self) -> &'static str {
        match self {
            I32 => "i32",
            I64 => "i64",
            F32 => "f32",
            F64 => "f64",
            V128 => "v128",
        }
    }

    pub fn zero(self) -> &'static str {
        match self {
            I32 => "i32.const 0",
            I64 => "i64.const 0",
            F32 => "f32.const 0",
            F64 => "f64.const 0",
            V128 => "v128.const i64x2 0 0",
        }
    }
}

#[derive(Clone)]
pub struct Signature {
    pub params: Vec<Ty>,
    pub results: Vec<Ty>,
}

pub struct Generator<'r> {
    pub rng: &'r mut Rng,
    pub out: String,
    pub functions: Vec<Signature>,
    /// Of the function under way.
    pub locals: Vec<Ty>,
    results: Vec<Ty>,
    /// What a branch to each enclosing label takes, the outermost first, and whether it is a loop.
    pub labels: Vec<(Vec<Ty>, bool)>,
    /// Constructs left for the function.
    room: usize,
}

/// A program in text.
pub fn program(rng: &mut Rng) -> String {
    let count = 3 + rng.below(5);
    let functions: Vec<Signature> = (0..count).map(|_| signature(rng)).collect();
    let mut generator = Generator {
        rng,
        out: String::new(),
        functions,
        locals: Vec::new(),
        results: Vec::new(),
        labels: Vec::new(),
        room: 0,
    };
    generator.module();
    generator.out
}

fn types(rng: &mut Rng, below: usize) -> Vec<Ty> {
    (0..rng.below(below)).map(|_| TYPES[rng.below(5)]).collect()
}

fn signature(rng: &mut Rng) -> Signature {
    Signature { params: types(rng, 4), results: types(rng, 4) }
}

fn list(word: &str, types: &[Ty]) -> String {
    match types {
        [] => String::new(),
        _ => format!("({word} {})", types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(" ")),
    }
}

impl Generator<'_> {
    pub fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn module(&mut self) {
        self.line(PRELUDE);
        for (index, ty) in TYPES.iter().enumerate() {
            for copy in 0..2 {
                let name = ty.name();
                let text = format!("(global $g{index}{copy} (mut {name}) ({}))", ty.zero());
                self.line(&text);
            }
        }
        let mut elements = String::new();
        for index in 0..self.functions.len() {
            write!(elements, " $f{index}").unwrap();
        }
        let text = format!("(table funcref (elem $fd_read $byte {elements}))");
        self.line(&text);
        for index in 0..self.functions.len() {
            self.function(index);
        }
        self.entries();
        self.line(")");
    }

    /// `_start`, and perhaps a start section.
    fn entries(&mut self) {
        let starts = self.rng.one_in(4);
        for (name, there) in [("(func $init", starts), ("(func $start (export \"_start\")", true)] {
            if !there {
                continue;
            }
            self.line(name);
            self.locals = vec![I32, I64, F32];
            self.line("(local i32 i64 f32)");
            self.results = Vec::new();
            self.labels = vec![(Vec::new(), false)];
            self.room = 40;
            self.line("(global.set $left (i32.const 120))");
            self.statements(3);
            self.line("(drop (call $byte))");
            self.call();
            self.statements(3);
            self.show_locals(7);
            if name.contains("_start") {
                for (index, ty) in TYPES.iter().enumerate() {
                    for copy in 0..2 {
                        let at = index * 32 + copy * 16;
                        let name = ty.name();
                        let text =
                            format!("({name}.store (i32.const {at}) (global.get $g{index}{copy}))");
                        self.line(&text);
                    }
                }
                self.line("(call $dump)");
            }
            self.line(")");
        }
        if starts {
            self.line("(start $init)");
        }
    }

    fn function(&mut self, index: usize) {
        let Signature { params, results } = self.functions[index].clone();
        let locals: Vec<Ty> = types(self.rng, 5);
        let head =
            format!("(func $f{index} {} {}", list("param", &params), list("result", &results));
        self.line(&head);
        self.line(&list("local", &locals));
        self.line("(local $none funcref) (local $host externref)");
        self.locals = [params, locals].concat();
        self.results = results.clone();
        self.labels = vec![(results.clone(), false)];
        self.room = 40;
        self.line("call $tick i32.eqz if");
        results.iter().for_each(|ty| self.line(ty.zero()));
        self.line("return end");
        self.statements(4);
        self.show_locals(index);
        match self.functions.iter().position(|other| other.results == results) {
            Some(other) if self.rng.one_in(5) => {
                self.arguments(other);
                let text = format!("return_call $f{other}");
                self.line(&text);
            }
            _ => results.iter().for_each(|ty| self.value(*ty)),
        }
        self.line(")");
    }

    /// Stores the local variables where the end of the program finds them: what becomes of them is
    /// seen.
    fn show_locals(&mut self, function: usize) {
        let locals = self.locals.clone();
        for (local, ty) in locals.iter().enumerate() {
            let at = 2560 + function * 160 + local * 16;
            let text = format!("i32.const {at} local.get {local} {}.store", ty.name());
            self.line(&text);
        }
    }

    pub fn arguments(&mut self, function: usize) {
        let params = self.functions[function].params.clone();
        params.iter().for_each(|ty| self.value(*ty));
    }

    pub fn statements(&mut self, most: usize) {
        for _ in 0..=self.rng.below(most) {
            self.statement();
        }
    }

    pub fn spend(&mut self) -> bool {
        self.room = self.room.saturating_sub(1);
        self.room > 0
    }

    fn statement(&mut self) {
        if !self.spend() {
            return self.line("nop");
        }
        match self.rng.below(12) {
            0 | 1 => self.set_local(),
            2 => {
                let (ty, copy) = (self.rng.below(5), self.rng.below(2));
                self.value(TYPES[ty]);
                let text = format!("global.set $g{ty}{copy}");
                self.line(&text);
            }
            3 => {
                let ty = TYPES[self.rng.below(5)];
                self.address();
                self.value(ty);
                let text = format!("{}.store offset=512", ty.name());
                self.line(&text);
            }
            4 => {
                self.value(I32);
                self.line("if");
                self.inside(Vec::new(), false, |g| g.statements(2));
                if self.rng.one_in(2) {
                    self.line("else");
                    self.inside(Vec::new(), false, |g| g.statements(2));
                }
                self.line("end");
            }
            5 => {
                self.line("loop");
                self.inside(Vec::new(), true, |g| {
                    g.statements(2);
                    g.value(I32);
                    g.line("call $tick i32.and br_if 0");
                });
                self.line("end");
            }
            6 => {
                self.line("block");
                self.inside(Vec::new(), false, |g| {
                    g.statements(2);
                    g.branch();
                    g.statements(2);
                });
                self.line("end");
            }
            7 => self.leave(),
            8 => self.swap(),
            9 | 10 => self.call(),
            _ => {
                self.read();
                self.line("drop");
            }
        }
    }

    fn set_local(&mut self) {
        if self.locals.is_empty() {
            return;
        }
        let index = self.rng.below(self.locals.len());
        self.value(self.locals[index]);
        let text = format!("local.set {index}");
        self.line(&text);
    }

    /// Generates what is in a block with this label.
    pub fn inside(&mut self, label: Vec<Ty>, again: bool, generate: impl FnOnce(&mut Self)) {
        self.labels.push((label, again));
        generate(self);
        self.labels.pop();
    }

    /// Branches, perhaps, to some label.
    pub fn branch(&mut self) {
        let depth = self.rng.below(self.labels.len());
        let (types, again) = self.labels[self.labels.len() - 1 - depth].clone();
        types.iter().for_each(|ty| self.value(*ty));
        self.value(I32);
        // To begin a loop again costs something.
        let tick = if again { "call $tick i32.and " } else { "" };
        let text = format!("{tick}br_if {depth}");
        self.line(&text);
        types.iter().for_each(|_| self.line("drop"));
    }

    /// Leaves a block in an arm of an `if`.
    fn leave(&mut self) {
        self.value(I32);
        self.line("if");
        self.labels.push((Vec::new(), false));
        match self.rng.below(3) {
            0 => {
                let results = self.results.clone();
                results.iter().for_each(|ty| self.value(*ty));
                self.line("return");
            }
            _ => {
                let depth = self.rng.below(self.labels.len());
                let (types, again) = self.labels[self.labels.len() - 1 - depth].clone();
                types.iter().for_each(|ty| self.value(*ty));
                if again {
                    self.line("call $tick");
                    let text = format!("br_if {depth}");
                    self.line(&text);
                    types.iter().for_each(|_| self.line("drop"));
                } else {
                    let text = format!("br {depth}");
                    self.line(&text);
                }
            }
        }
        self.labels.pop();
        self.line("end");
    }

    /// A block that takes and gives several values.
    fn swap(&mut self) {
        let params = types(self.rng, 4);
        let results = types(self.rng, 4);
        params.iter().for_each(|ty| self.value(*ty));
        let again = self.rng.one_in(2);
        let word = if again { "loop" } else { "block" };
        let text = format!("{word} {} {}", list("param", &params), list("result", &results));
        self.line(&text);
        let label = if again { params.clone() } else { results.clone() };
        self.inside(label, again, |g| {
            params.iter().for_each(|_| g.line("drop"));
            g.statements(2);
            g.branch();
            results.iter().for_each(|ty| g.value(*ty));
        });
        self.line("end");
        results.iter().for_each(|_| self.line("drop"));
    }

    fn call(&mut self) {
        let function = self.rng.below(self.functions.len());
        self.arguments(function);
        self.called(function);
        let count = self.functions[function].results.len();
        (0..count).for_each(|_| self.line("drop"));
    }

    /// A call whose arguments are there.
    pub fn called(&mut self, function: usize) {
        let Signature { params, results } = self.functions[function].clone();
        let text = if self.rng.one_in(3) {
            let slot = function + 2;
            let (params, results) = (list("param", &params), list("result", &results));
            format!("i32.const {slot} call_indirect {params} {results}")
        } else {
            format!("call $f{function}")
        };
        self.line(&text);
    }

    pub fn read(&mut self) {
        match self.rng.below(6) {
            0 => self.line("i32.const 1 call_indirect (result i32)"),
            1 => self.line(
                "i32.const 0 i32.const 3900 i32.const 1 i32.const 3908 i32.const 0 \
                 call_indirect (param i32 i32 i32 i32) (result i32)",
            ),
            _ => self.line("call $byte"),
        }
    }

    fn address(&mut self) {
        self.value(I32);
        self.line("i32.const 2047 i32.and");
    }
}

const PRELUDE: &str = r#"(module
(import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1 4)
(global $left (mut i32) (i32.const 120))
(data (i32.const 3900) "\60\0f\00\00\01\00\00\00")
(data (i32.const 700) "some data \01\02\03\ff\fe\fd")
;; Whether there is anything left of what the program may do.
(func $tick (result i32)
  (global.set $left (i32.sub (global.get $left) (i32.const 1)))
  (i32.gt_s (global.get $left) (i32.const 0)))
;; A byte of standard input; at its end, the one before. 3900: where it goes, 3904: how many.
(func $byte (result i32)
  (drop (call $fd_read (i32.const 0) (i32.const 3900) (i32.const 1) (i32.const 3908)))
  (i32.load8_u (i32.const 3904)))
(func $dump
  (i32.store (i32.const 3920) (i32.const 0))
  (i32.store (i32.const 3924) (i32.const 4096))
  (drop (call $fd_write (i32.const 1) (i32.const 3920) (i32.const 1) (i32.const 3928))))
"#;
