//! A reply that is written at once is whole, however slowly it is read.

use std::io::Write;
use std::thread;
use std::time::Duration;

use tinyhost::Program;
use tinyhost::serve::{Outcome, ServeConfig, Unit};

use crate::support::serve;

/// A guest that reads a little and then writes this much, once, without a look at the count.
fn writer(len: usize) -> Program {
    let pages = len / 0x1_0000 + 2;
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") {pages})
          (func (export "_start")
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 3))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (memory.fill (i32.const 65536) (i32.const 120) (i32.const {len}))
            (i32.store (i32.const 0) (i32.const 65536))
            (i32.store (i32.const 4) (i32.const {len}))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    );
    Program::new(wat::parse_str(text).unwrap()).unwrap()
}

fn of_a_connection(config: &mut ServeConfig) {
    config.unit = Unit::Connection;
}

#[test]
fn a_reply_is_whole_however_slowly_it_is_read() {
    for unit in [None, Some(of_a_connection as fn(&mut ServeConfig))] {
        let server = serve(writer(5_000_000), |config| {
            unit.into_iter().for_each(|set| set(config));
        });
        for slow in [false, true] {
            let mut client = server.connect();
            client.write_all(b"go\n").unwrap();
            if slow {
                // Long enough for all that the system keeps to be full.
                thread::sleep(Duration::from_millis(200));
            }
            let reply = server.rest(&mut client);
            assert_eq!(reply.len(), 5_000_000, "slow: {slow}");
            assert!(reply.iter().all(|byte| *byte == b'x'));
        }
        server.until("both", |metrics| metrics.outcome(Outcome::Ok) == 2);
    }
}

/// What is beyond the limit is an outcome that says so, also of one write.
#[test]
fn a_write_beyond_the_limit_is_no_silent_cut() {
    let server = serve(writer(5000), |config| config.limits.max_reply = 1000);
    assert_eq!(server.ask(b"go\n").len(), 1000);
    server.until_outcome(Outcome::ReplyTooLong);
    let server = serve(writer(1000), |config| config.limits.max_reply = 1000);
    assert_eq!(server.ask(b"go\n").len(), 1000);
    server.until_outcome(Outcome::Ok);
}
