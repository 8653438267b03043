//! A standard output whose reader is gone ends its guest; a connection that has its number does not.

use std::sync::Arc;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::pipe::pipe;
use tinyhost::vfs::{File, Node};
use tinyhost::{Errno, Guest, Step, WasiCtx};

use crate::calls::libc::ALL;
use crate::calls::{imports, mounted};

const PATH: u32 = 0x1000;
const VECTOR: u32 = 0x1100;
const OUT: u32 = 0x2000;

/// Calls by name, with their arguments.
type Made<'a> = &'a [(&'a str, &'a [u64])];

/// A guest of these calls whose exit status is the errno of the last one.
fn guest(calls: Made<'_>, stdout: impl File + 'static, other: Box<dyn File>) -> Guest {
    let mut body = String::new();
    for (name, args) in calls {
        let row = crate::calls::row(name);
        let set = if row.returns { "(local.set $errno " } else { "(block " };
        let mut text = format!("{set}(call ${name}");
        for (param, arg) in row.params.iter().zip(*args) {
            let wide = if param.kind.is_wide() { "i64" } else { "i32" };
            text += &format!(" ({wide}.const {arg})");
        }
        body += &(text + "))");
    }
    let text = format!(
        r#"(module {} (memory (export "memory") 2) (data (i32.const {PATH}) "stdout")
           (data (i32.const {VECTOR}) "\00\10\00\00\06\00\00\00")
           (func (export "_start") (local $errno i32) {body}
             (call $proc_exit (local.get $errno))))"#,
        imports()
    );
    let program = tinyhost::Program::new(wat::parse_str(text).unwrap()).unwrap();
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let cx = WasiCtx::builder()
        .stdout(stdout)
        .namespace(mounted(&[("/dev", &dev)]))
        .socket("<other>", other)
        .exit_on_broken_pipe();
    Guest::new(&program, cx.build())
}

fn broken() -> Box<dyn File> {
    let (reader, writer) = pipe(10);
    drop(reader);
    Box::new(writer)
}

struct Boxed(Box<dyn File>);

impl File for Boxed {
    fn stat(&mut self) -> tinyhost::vfs::Result<tinyhost::vfs::Stat> {
        self.0.stat()
    }

    fn write(&mut self, bufs: &[std::io::IoSlice<'_>], at: u64) -> tinyhost::vfs::Result<usize> {
        self.0.write(bufs, at)
    }
}

#[test]
fn it_is_the_stream_that_ends_a_guest_and_not_its_number() {
    let write = |fd: u64| [fd, VECTOR.into(), 1, OUT.into()];
    let open = [3, 0, PATH.into(), 6, 0, ALL, 0, 0, OUT.into()];
    let pipe = i32::from(Errno::Pipe as u16) as u32;
    let cases: [(&str, Made<'_>, u32); 6] = [
        ("its own number", &[("fd_write", &write(1))], 0),
        ("another stream", &[("fd_write", &write(4))], pipe),
        (
            "another stream with its number",
            &[("fd_renumber", &[4, 1]), ("fd_write", &write(1))],
            pipe,
        ),
        ("its new number", &[("fd_renumber", &[1, 4]), ("fd_write", &write(4))], 0),
        ("its name", &[("path_open", &open), ("fd_write", &write(5))], 0),
        (
            "its name, after its number was closed",
            &[("path_open", &open), ("fd_close", &[1]), ("fd_write", &write(5))],
            0,
        ),
    ];
    for (what, calls, status) in cases {
        let mut guest = guest(calls, Boxed(broken()), broken());
        assert_eq!(guest.run().unwrap(), Step::Exited(status), "{what}");
    }
}

/// SIGPIPE comes whatever was written before.
#[test]
fn a_reader_that_leaves_in_the_middle_of_a_write_ends_the_guest() {
    let (mut reader, writer) = pipe(4);
    let write = [1, VECTOR.into(), 1, OUT.into()];
    let mut guest = guest(&[("fd_write", &write), ("proc_exit", &[9])], writer, broken());
    assert_eq!(guest.step(1_000_000), Step::Parked);
    assert_eq!(reader.read(&mut [0; 1]), Ok(1));
    drop(reader);
    assert_eq!(guest.run().unwrap(), Step::Exited(0));
}
