//! Every instruction that has an offset, at the limits of its immediates: offsets around those
//! at which wasmi changes the encoding, every lane, every alignment, a first and a second
//! memory, and operands that are constants, locals and results. What is expected is computed
//! here.

use std::fmt::Write as _;

use tinyhost::vfs::pipe::Capture;
use tinyhost::{Cause, Guest, Step, WasiCtx};

use super::programs;

/// What an instruction does with the bytes at an address.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Reads so many as a number of a type, with its sign or without.
    Load(&'static str, usize, bool),
    /// Writes so many of a number.
    Store(&'static str, usize),
    /// Reads 16.
    LoadVector,
    /// Reads eight as so many bytes wide numbers, and makes each twice as wide.
    Widen(usize, bool),
    /// Reads so many and repeats them.
    Splat(usize),
    /// Reads so many; the others are 0.
    Zero(usize),
    /// Reads one lane of so many.
    LoadLane(usize),
    StoreVector,
    /// Writes one lane of so many.
    StoreLane(usize),
}
use Does::*;

const SCALAR: &[(&str, Does)] = &[
    ("i32.load", Load("i32", 4, false)),
    ("i32.load8_s", Load("i32", 1, true)),
    ("i32.load8_u", Load("i32", 1, false)),
    ("i32.load16_s", Load("i32", 2, true)),
    ("i32.load16_u", Load("i32", 2, false)),
    ("i64.load", Load("i64", 8, false)),
    ("i64.load8_s", Load("i64", 1, true)),
    ("i64.load8_u", Load("i64", 1, false)),
    ("i64.load16_s", Load("i64", 2, true)),
    ("i64.load16_u", Load("i64", 2, false)),
    ("i64.load32_s", Load("i64", 4, true)),
    ("i64.load32_u", Load("i64", 4, false)),
    ("f32.load", Load("f32", 4, false)),
    ("f64.load", Load("f64", 8, false)),
    ("i32.store", Store("i32", 4)),
    ("i32.store8", Store("i32", 1)),
    ("i32.store16", Store("i32", 2)),
    ("i64.store", Store("i64", 8)),
    ("i64.store8", Store("i64", 1)),
    ("i64.store16", Store("i64", 2)),
    ("i64.store32", Store("i64", 4)),
    ("f32.store", Store("f32", 4)),
    ("f64.store", Store("f64", 8)),
];

const VECTOR: &[(&str, Does)] = &[
    ("v128.load", LoadVector),
    ("v128.load8x8_s", Widen(1, true)),
    ("v128.load8x8_u", Widen(1, false)),
    ("v128.load16x4_s", Widen(2, true)),
    ("v128.load16x4_u", Widen(2, false)),
    ("v128.load32x2_s", Widen(4, true)),
    ("v128.load32x2_u", Widen(4, false)),
    ("v128.load8_splat", Splat(1)),
    ("v128.load16_splat", Splat(2)),
    ("v128.load32_splat", Splat(4)),
    ("v128.load64_splat", Splat(8)),
    ("v128.load32_zero", Zero(4)),
    ("v128.load64_zero", Zero(8)),
    ("v128.load8_lane", LoadLane(1)),
    ("v128.load16_lane", LoadLane(2)),
    ("v128.load32_lane", LoadLane(4)),
    ("v128.load64_lane", LoadLane(8)),
    ("v128.store", StoreVector),
    ("v128.store8_lane", StoreLane(1)),
    ("v128.store16_lane", StoreLane(2)),
    ("v128.store32_lane", StoreLane(4)),
    ("v128.store64_lane", StoreLane(8)),
];

fn instructions() -> impl Iterator<Item = &'static (&'static str, Does)> {
    SCALAR.iter().chain(VECTOR.iter().filter(|_| cfg!(feature = "simd")))
}

impl Does {
    /// Bytes of memory it reads or writes.
    fn width(self) -> usize {
        match self {
            Load(_, width, _) | Store(_, width) => width,
            Splat(width) | Zero(width) | LoadLane(width) | StoreLane(width) => width,
            Widen(..) => 8,
            LoadVector | StoreVector => 16,
        }
    }

    fn lanes(self) -> usize {
        if let LoadLane(width) | StoreLane(width) = self { 16 / width } else { 1 }
    }

    /// The type of the operand besides the address, if there is one.
    fn operand(self) -> Option<&'static str> {
        match self {
            Store(ty, _) => Some(ty),
            LoadLane(_) | StoreVector | StoreLane(_) => Some("v128"),
            _ => None,
        }
    }

    /// The type of the result, if there is one.
    fn result(self) -> Option<&'static str> {
        match self {
            Load(ty, ..) => Some(ty),
            Store(..) | StoreVector | StoreLane(_) => None,
            _ => Some("v128"),
        }
    }

    /// Does it: `there` are the bytes from the address on, `value` the operand.
    fn model(self, there: &mut [u8], value: [u8; 16], lane: usize) -> [u8; 16] {
        let mut result = [0; 16];
        let width = self.width();
        match self {
            Load(ty, _, sign) => {
                let fill = if sign && there[width - 1] > 127 { 255 } else { 0 };
                let all = if ty.ends_with("64") { 8 } else { 4 };
                result[..all].fill(fill);
                result[..width].copy_from_slice(&there[..width]);
            }
            Store(..) => there[..width].copy_from_slice(&value[..width]),
            LoadVector => result.copy_from_slice(&there[..16]),
            Widen(from, sign) => {
                for (to, number) in result.chunks_mut(2 * from).zip(there.chunks(from)) {
                    to.fill(if sign && number[from - 1] > 127 { 255 } else { 0 });
                    to[..from].copy_from_slice(number);
                }
            }
            Splat(_) => {
                result.chunks_mut(width).for_each(|lane| lane.copy_from_slice(&there[..width]))
            }
            Zero(_) => result[..width].copy_from_slice(&there[..width]),
            LoadLane(_) => {
                result = value;
                result[lane * width..][..width].copy_from_slice(&there[..width]);
            }
            StoreVector => there[..16].copy_from_slice(&value),
            StoreLane(_) => there[..width].copy_from_slice(&value[lane * width..][..width]),
        }
        result
    }
}

/// Bytes of each of the two memories, before the part where the answers go.
const MEMORY: usize = 3 << 16;

/// The operand, as bytes.
const VALUE: [u8; 16] = *b"\x81\xf2\x03\x94\x05\xe6\x77\x88\x19\x2a\xbb\x4c\xdd\x6e\x7f\x90";

fn constant(ty: &str) -> String {
    let [low, high] = [0, 8].map(|at| u64::from_le_bytes(VALUE[at..][..8].try_into().unwrap()));
    let number = low as u32;
    match ty {
        "v128" => format!("(v128.const i64x2 {low} {high})"),
        "f32" => format!("(f32.reinterpret_i32 (i32.const {number}))"),
        "f64" => format!("(f64.reinterpret_i64 (i64.const {low}))"),
        "i32" => format!("(i32.const {number})"),
        _ => format!("(i64.const {low})"),
    }
}

/// The ways an operand comes to an instruction: as a constant, a local, and a result.
const FORMS: usize = 3;

fn operand(ty: &str, form: usize) -> String {
    match (form, ty) {
        (0, _) => constant(ty),
        (1, _) => format!("(local.get ${ty})"),
        (_, "v128") => format!("(v128.not (v128.not (local.get ${ty})))"),
        (_, "f32" | "f64") => format!("({ty}.neg ({ty}.neg (local.get ${ty})))"),
        _ => format!("({ty}.add (local.get ${ty}) ({ty}.const 0))"),
    }
}

fn address(at: u32, form: usize) -> String {
    match form {
        0 => format!("(i32.const {})", at.cast_signed()),
        1 => format!("(local.set $at (i32.const {})) (local.get $at)", at.cast_signed()),
        _ => format!(
            "(local.set $at (i32.const {})) (i32.sub (local.get $at) (i32.const 1))",
            at.wrapping_add(1).cast_signed()
        ),
    }
}

/// An instruction with its immediates and operands, and the result put at a place.
fn case(
    name: &str,
    does: Does,
    memory: usize,
    immediates: &str,
    at: u32,
    forms: [usize; 2],
    to: usize,
) -> String {
    let (head, lane) = immediates.split_once('|').unwrap_or((immediates, ""));
    let value = does.operand().map_or_else(String::new, |ty| operand(ty, forms[1]));
    let address = address(at, forms[0]);
    let instruction = format!("{address} {value} {name} {memory} {head} {lane}");
    match does.result() {
        Some(ty) => format!(
            "(local.set $result_{ty} {instruction})
             ({ty}.store (i32.const {to}) (local.get $result_{ty}))"
        ),
        None => format!(
            "{instruction} (memory.copy 0 {memory} (i32.const {to}) (i32.const AT) (i32.const 16))"
        ),
    }
}

fn module(pages: usize, body: &str) -> Vec<u8> {
    let vector = if cfg!(feature = "simd") {
        format!(
            "(local $v128 v128) (local $result_v128 v128) (local.set $v128 {})",
            constant("v128")
        )
    } else {
        String::new()
    };
    let (locals, set) = vector
        .split_once(" (local.set")
        .map_or(("", String::new()), |(locals, rest)| (locals, format!("(local.set{rest}")));
    let numbers: String = ["i32", "i64", "f32", "f64"]
        .map(|ty| format!("(local.set ${ty} {})", constant(ty)))
        .concat();
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") {pages}) (memory 3)
          (func $pattern (local $i i32)
            (loop $l
              (i32.store8 0 (local.get $i) (i32.mul (local.get $i) (i32.const 37)))
              (i32.store8 1 (local.get $i) (i32.mul (local.get $i) (i32.const 91)))
              (br_if $l (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {MEMORY})))))
          (func (export "_start")
            (local $at i32) (local $i32 i32) (local $i64 i64) (local $f32 f32) (local $f64 f64)
            (local $result_i32 i32) (local $result_i64 i64)
            (local $result_f32 f32) (local $result_f64 f64) {locals}
            (call $pattern) {set} {numbers}
            {body}))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn pattern(memory: usize) -> Vec<u8> {
    let factor = [37, 91][memory];
    (0..MEMORY).map(|at| (at.wrapping_mul(factor) & 0xff) as u8).collect()
}

#[test]
fn in_bounds_every_immediate_means_what_it_says() {
    for (name, does) in instructions() {
        for offset in [0_u32, 1, 65_535, 65_536, 65_537, 131_071] {
            let mut memories = [pattern(0), pattern(1)];
            let (mut body, mut expected) = (String::new(), Vec::new());
            for (memory, bytes) in memories.iter_mut().enumerate() {
                for (forms, lane, align) in variants(*does) {
                    let at = 24 + expected.len() as u32 / 16 % 7;
                    let to = MEMORY + 64 + expected.len();
                    let lane_text =
                        if does.lanes() > 1 { format!("|{lane}") } else { String::new() };
                    let immediates = format!("offset={offset} align={align}{lane_text}");
                    let from = (offset + at) as usize;
                    let text = case(name, *does, memory, &immediates, at, forms, to);
                    let _ = writeln!(body, "{}", text.replace("AT", &from.to_string()));
                    let there = &mut bytes[from..];
                    let mut result = does.model(there, VALUE, lane);
                    if does.result().is_none() {
                        result.copy_from_slice(&there[..16]);
                    }
                    expected.extend_from_slice(&result);
                }
            }
            let len = expected.len();
            let _ = write!(
                body,
                "(i32.store (i32.const 0) (i32.const {})) (i32.store (i32.const 4) (i32.const {len}))
                 (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
                MEMORY + 64
            );
            let wasm = module(3 + (64 + len).div_ceil(1 << 16), &body);
            for program in programs(&wasm) {
                let out = Capture::new(1 << 20);
                let cx = WasiCtx::builder().stdout(out.clone()).build();
                let step = Guest::new(&program, cx).run().unwrap();
                assert_eq!(step, Step::Exited(0), "{name} offset={offset}");
                let said = out.take();
                let wrong = said.chunks(16).zip(expected.chunks(16)).position(|(a, b)| a != b);
                assert_eq!((wrong, said.len()), (None, len), "{name} offset={offset}");
            }
        }
    }
}

/// Forms of the operands, lane and alignment.
fn variants(does: Does) -> Vec<([usize; 2], usize, usize)> {
    let values = if does.operand().is_some() { FORMS } else { 1 };
    let mut all = Vec::new();
    for forms in (0..FORMS).flat_map(|at| (0..values).map(move |value| [at, value])) {
        for lane in 0..does.lanes() {
            let aligns = (0..5).map(|log| 1 << log).filter(|align| *align <= does.width());
            all.extend(aligns.map(|align| (forms, lane, align)));
        }
    }
    all
}

#[test]
fn out_of_bounds_every_immediate_traps() {
    for (name, does) in instructions() {
        for offset in [65_536_u32, 131_072, 1 << 31, u32::MAX] {
            // The first byte beyond, and what would be address 0 if it were cut to 32 bits.
            let beyond = MEMORY as u64 - does.width() as u64 + 1;
            let first = beyond.checked_sub(u64::from(offset)).map_or(0, |at| at as u32);
            for (at, memory) in [(first, 1), (0_u32.wrapping_sub(offset), 0), (u32::MAX, 0)] {
                let lane =
                    if does.lanes() > 1 { format!("|{}", does.lanes() - 1) } else { String::new() };
                let mut body = String::new();
                for forms in [[0, 0], [1, 1], [2, 2]] {
                    let immediates = format!("offset={offset}{lane}");
                    body.clear();
                    body +=
                        &case(name, *does, memory, &immediates, at, forms, 64).replace("AT", "0");
                    traps(&body, name, offset);
                }
            }
        }
    }
}

#[track_caller]
fn traps(body: &str, name: &str, offset: u32) {
    let wasm = module(3, body);
    for program in programs(&wasm) {
        match Guest::new(&program, WasiCtx::builder().build()).run().unwrap() {
            Step::Trapped(trap) => assert_eq!(trap.cause, Cause::Wasm, "{name} offset={offset}"),
            step => panic!("{name} offset={offset}: {step:?}\n{body}"),
        }
    }
}

/// The module that had the host jump to an address of its choice.
#[cfg(feature = "simd")]
#[test]
fn a_lane_is_stored_where_it_belongs() {
    super::says(
        r#"(func (export "_start") (local $p i32) (local $v v128) (local $y i32)
          (drop (memory.grow (i32.const 2)))
          (local.set $v (v128.const i32x4 1 2 3 4))
          (v128.store16_lane offset=70000 2 (local.get $p) (local.get $v))
          (local.set $y (i32.const 0x41424344))
          (call $say (i32.load16_u (i32.const 70000))) (call $say (local.get $y)))"#,
        &[2, 0x4142_4344],
    );
}
