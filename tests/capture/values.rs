//! Code that puts one value on the stack.

use super::generate::{F32, F64, Generator, I32, I64, TYPES, Ty, V128};

impl Generator<'_> {
    /// Puts one value on the stack.
    pub fn value(&mut self, ty: Ty) {
        if !self.spend() {
            return self.simple(ty);
        }
        match self.rng.below(14) {
            0..=3 => self.simple(ty),
            4 => {
                let from = TYPES[self.rng.below(5)];
                self.value(from);
                convert(&mut self.out, from, ty);
            }
            5 | 6 => {
                self.value(ty);
                self.value(ty);
                let op = operations(ty)[self.rng.below(3)];
                self.line(op);
            }
            7..=9 => self.block(ty),
            10 => self.table(ty),
            11 => {
                self.value(ty);
                self.value(ty);
                self.value(I32);
                let text = format!("select (result {})", ty.name());
                self.line(&text);
            }
            12 if ty == I32 => self.read(),
            12 => {
                self.read();
                convert(&mut self.out, I32, ty);
            }
            _ => {
                let found = self.functions.iter().position(|function| function.results == [ty]);
                let Some(function) = found else { return self.simple(ty) };
                self.arguments(function);
                self.called(function);
            }
        }
    }

    /// A block, an `if` or a loop that gives a value of this type.
    fn block(&mut self, ty: Ty) {
        match self.rng.below(3) {
            0 => {
                let text = format!("block (result {})", ty.name());
                self.line(&text);
                self.inside(vec![ty], false, |g| {
                    g.statements(1);
                    g.branch();
                    g.value(ty);
                });
                self.line("end");
            }
            1 => {
                self.value(I32);
                let text = format!("if (result {})", ty.name());
                self.line(&text);
                self.inside(vec![ty], false, |g| g.value(ty));
                self.line("else");
                self.inside(vec![ty], false, |g| {
                    g.statements(1);
                    g.value(ty);
                });
                self.line("end");
            }
            _ => {
                let taken = TYPES[self.rng.below(5)];
                self.value(taken);
                let text = format!("loop (param {}) (result {})", taken.name(), ty.name());
                self.line(&text);
                self.inside(vec![taken], true, |g| {
                    g.line("drop");
                    g.statements(1);
                    g.value(taken);
                    g.value(I32);
                    g.line("call $tick i32.and br_if 0 drop");
                    g.value(ty);
                });
                self.line("end");
            }
        }
    }

    /// A `br_table` out of blocks that give a value of this type.
    fn table(&mut self, ty: Ty) {
        let count = 1 + self.rng.below(3);
        for _ in 0..count {
            let text = format!("block (result {})", ty.name());
            self.line(&text);
            self.labels.push((vec![ty], false));
        }
        self.value(ty);
        self.value(I32);
        let targets: Vec<String> =
            (0..=self.rng.below(4)).map(|_| self.rng.below(count).to_string()).collect();
        let text = format!("i32.const 3 i32.and br_table {}", targets.join(" "));
        self.line(&text);
        for _ in 0..count {
            self.labels.pop();
            self.line("end");
            if self.rng.one_in(2) {
                self.line("drop");
                self.value(ty);
            }
        }
    }

    fn simple(&mut self, ty: Ty) {
        let locals: Vec<usize> =
            (0..self.locals.len()).filter(|index| self.locals[*index] == ty).collect();
        let text = match self.rng.below(4) {
            0 | 1 if !locals.is_empty() => {
                format!("local.get {}", locals[self.rng.below(locals.len())])
            }
            2 => {
                let index = TYPES.iter().position(|other| *other == ty).unwrap();
                format!("global.get $g{index}{}", self.rng.below(2))
            }
            3 => {
                let at = 512 + self.rng.below(2048);
                format!("i32.const {at} {}.load", ty.name())
            }
            _ => {
                let number = (self.rng.next() as i64) >> (self.rng.below(60));
                match ty {
                    I32 => format!("i32.const {}", number as i32),
                    I64 => format!("i64.const {number}"),
                    F32 => format!("f32.const {}", (number as i32) as f32),
                    F64 => format!("f64.const {}", number as f64),
                    V128 => format!("v128.const i64x2 {number} {}", number ^ 0x55),
                }
            }
        };
        self.line(&text);
    }
}

/// What makes one value of this type of two.
fn operations(ty: Ty) -> [&'static str; 3] {
    match ty {
        I32 => ["i32.add", "i32.xor", "i32.lt_u"],
        I64 => ["i64.add", "i64.xor", "i64.mul"],
        F32 => ["f32.add", "f32.mul", "f32.copysign"],
        F64 => ["f64.add", "f64.sub", "f64.min"],
        V128 => ["i32x4.add", "v128.xor", "i8x16.sub"],
    }
}

fn convert(out: &mut String, from: Ty, to: Ty) {
    let text = match (from, to) {
        (from, to) if from == to => "",
        (I32, I64) => "i64.extend_i32_s",
        (I32, F32) => "f32.reinterpret_i32",
        (I32, F64) => "f64.convert_i32_s",
        (I32, _) => "i32x4.splat",
        (I64, I32) => "i32.wrap_i64",
        (I64, F32) => "f32.convert_i64_s",
        (I64, F64) => "f64.reinterpret_i64",
        (I64, _) => "i64x2.splat",
        (F32, I32) => "i32.reinterpret_f32",
        (F32, I64) => "i64.trunc_sat_f32_s",
        (F32, F64) => "f64.promote_f32",
        (F32, _) => "f32x4.splat",
        (F64, I32) => "i32.trunc_sat_f64_u",
        (F64, I64) => "i64.reinterpret_f64",
        (F64, F32) => "f32.demote_f64",
        (F64, _) => "f64x2.splat",
        (_, I32) => "i32x4.extract_lane 3",
        (_, I64) => "i64x2.extract_lane 1",
        (_, F32) => "f32x4.extract_lane 0",
        (_, F64) => "f64x2.extract_lane 1",
        (_, V128) => "",
    };
    out.push_str(text);
    out.push('\n');
}
