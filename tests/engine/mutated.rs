//! Damaged modules of every kind: `Program::with` answers, whatever it is given.

use tinyhost::{Program, ProgramConfig, ProgramError};

/// xorshift64*: the same damage every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn byte(&mut self) -> u8 {
        // Numbers that lengths and indices break at, more often than others.
        const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0x40, 0xfc, 0x0b];
        if self.below(2) == 0 { ODD[self.below(ODD.len())] } else { self.below(256) as u8 }
    }
}

fn load(wasm: &[u8]) -> Option<ProgramError> {
    let mut first = None;
    for reuse in [true, false] {
        let config = ProgramConfig { reuse, ..ProgramConfig::default() };
        first = first.or(Program::with(&config, wasm).err());
    }
    first
}

/// Sections and where they are, identifier and length included.
fn sections(wasm: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 8);
    while at < wasm.len() {
        let (start, mut len, mut shift) = (at, 0, 0);
        loop {
            at += 1;
            len |= usize::from(wasm[at] & 0x7f) << shift;
            shift += 7;
            if wasm[at] < 0x80 {
                break;
            }
        }
        at += 1 + len;
        found.push(start..at);
    }
    found
}

fn fixtures() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("fixtures").expect("fixtures are checked in") {
        let path = entry.expect("an entry").path();
        let small = std::fs::metadata(&path).is_ok_and(|file| file.len() < 100_000);
        if small && path.extension().is_some_and(|extension| extension == "wasm") {
            all.push((path.clone(), std::fs::read(path).expect("a file")));
        }
    }
    all.sort();
    assert!(all.len() > 10, "there are small fixtures");
    all.into_iter().map(|(_, wasm)| wasm).collect()
}

#[test]
fn changed_bytes_are_an_answer() {
    let mut random = Random(0x5eed);
    let mut refused = 0;
    for wasm in fixtures() {
        for _ in 0..40 {
            let mut wasm = wasm.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(wasm.len());
                match random.below(4) {
                    0 => wasm.truncate(at.max(1)),
                    1 => wasm.insert(at, random.byte()),
                    2 => drop(wasm.remove(at.min(wasm.len() - 1))),
                    _ => wasm[at] = random.byte(),
                }
            }
            refused += usize::from(load(&wasm).is_some());
        }
    }
    assert!(refused > 100, "only {refused}");
}

/// A section that is there twice, is missing, is empty, or comes when another should.
#[test]
fn sections_out_of_place_are_an_answer() {
    let wasm = super::module(
        r#"(table $t 1 9 funcref) (global (mut i32) (i32.const 1)) (elem (i32.const 0) $say)
        (data (i32.const 99) "x") (func $first) (start $first)
        (func (export "_start")
          (drop (memory.grow (i32.const 1)))
          (drop (table.grow $t (ref.null func) (i32.const 1))))"#,
    );
    assert_eq!(load(&wasm), None);
    let sections = sections(&wasm);
    // Names are told to nobody.
    let sections = sections.into_iter().filter(|section| wasm[section.start] != 0);
    let sections: Vec<_> = sections.collect();
    assert!(sections.len() > 10, "{sections:?}");
    let with = |ranges: &[&[u8]]| load(&[&wasm[..8], &ranges.concat()[..]].concat());
    for (index, section) in sections.iter().enumerate() {
        let (before, own, after) =
            (&wasm[8..section.start], &wasm[section.clone()], &wasm[section.end..]);
        assert!(with(&[before, own, own, after]).is_some(), "section {index} twice");
        for other in &sections {
            with(&[before, own, &wasm[other.clone()], after]);
            with(&[&wasm[other.clone()], before, own, after]);
            with(&[before, &wasm[other.clone()], after]);
        }
        with(&[before, after]);
        with(&[before, &[own[0], 0], after]);
        with(&[before, &[own[0], 1, 0], after]);
        for end in 0..own.len() {
            assert!(with(&[before, &own[..end]]).is_some() || end == 0, "section {index} cut");
        }
    }
}

/// What anything at all may be taken for a module.
#[test]
fn any_bytes_are_an_answer() {
    let mut random = Random(99);
    for _ in 0..2_000 {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.truncate(random.below(9));
        for _ in 0..random.below(60) {
            bytes.push(random.byte());
        }
        let _ = load(&bytes);
    }
}
