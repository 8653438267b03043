//! Generated modules, for tests that take as long as one likes.
//!
//! ```text
//! generated module SEED           write a module of wasm-smith's to standard output
//! generated hostile SEED          write one that is hostile on purpose
//! generated compare SECONDS SEED  run modules from that seed on, on tinyhost and wasmtime
//! ```
//!
//! Whatever is random comes from the seed: a failure is repeated by its seed alone.

#[cfg(feature = "compare")]
mod compare;
mod hostile;
mod smith;
mod wrap;

use std::io::Write;
use std::process::ExitCode;

/// Random numbers (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next one.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// One in `of`.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().expect("write a whole number");
    let module = match words[..] {
        ["module", seed] => match smith::module(number(seed)) {
            Some(module) => wrap::wrap(&module, number(seed), 0),
            None => {
                eprintln!("generated: no module comes of seed {seed}");
                return ExitCode::FAILURE;
            }
        },
        ["hostile", seed] => hostile::module(number(seed)),
        #[cfg(feature = "compare")]
        ["compare", seconds, seed] => return compare::run(number(seconds), number(seed)),
        _ => {
            eprintln!("usage: generated module|hostile SEED, generated compare SECONDS SEED");
            return ExitCode::from(2);
        }
    };
    std::io::stdout().write_all(&module).expect("standard output takes it");
    ExitCode::SUCCESS
}
