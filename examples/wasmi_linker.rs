//! tinyhost's WASI for a wasmi `Linker` and `Store` of one's own, next to a function of
//! one's own; see docs/from-wasmi-wasi.md.
//!
//! The same guest is called twice: plainly, so that it waits in place, and resumably, so
//! that the host goes on while it waits.

use std::error::Error;

use tinyhost::Armed;
use tinyhost::vfs::pipe::{Capture, Input, pipe};
use tinyhost::wasi::{self, Mode, Retried, WasiCtx};
use tinyhost::wasmi::{Caller, Engine, Func, Linker, Module, ResumableCall, Store};

/// What the embedder keeps in its store; the WASI context is a part of it.
struct App {
    wasi: WasiCtx,
    /// How often the guest called us.
    cheers: u32,
}

const GUEST: &str = r#"(module
    (import "app" "cheer" (func $cheer))
    (import "wasi_snapshot_preview1" "fd_read"
        (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\20\00\00\00\40\00\00\00") ;; an iovec: 64 bytes at 32
    (func (export "_start")
        (call $cheer)
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let module = Module::new(&engine, wat::parse_str(GUEST)?)?;
    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |app: &mut App| &mut app.wasi)?;
    linker.func_wrap("app", "cheer", |mut caller: Caller<'_, App>| {
        caller.data_mut().cheers += 1;
    })?;

    // Plainly: what it reads is there already, or else it waits for it here.
    let stdout = Capture::new(64);
    let wasi = WasiCtx::builder().stdin(Input::new("plain")).stdout(stdout.clone()).build();
    let (mut store, start) = instance(&engine, &linker, &module, wasi)?;
    start.call(&mut store, &[], &mut [])?;
    println!("{} {}", String::from_utf8(stdout.take())?, store.data().cheers);

    // Resumably: it has nothing to read yet, and hands control back.
    let (stdin, mut feed) = pipe(64);
    let wasi = WasiCtx::builder().stdin(stdin).stdout(stdout.clone()).mode(Mode::Suspend).build();
    let (mut store, start) = instance(&engine, &linker, &module, wasi)?;
    let mut call = start.call_resumable(&mut store, &[], &mut [])?;
    while let ResumableCall::HostTrap(parked) = call {
        if !wasi::is_parked(parked.host_error()) {
            return Err(parked.into_host_error().into());
        }
        let waker = std::thread::current();
        let waker = std::task::Waker::from(std::sync::Arc::new(Unpark(waker)));
        call = match wasi::retry(&mut store, |app| &mut app.wasi) {
            Retried::Resume(value) => parked.resume(&mut store, &[value], &mut [])?,
            Retried::Exited(status) => return Err(format!("exited with {status}").into()),
            Retried::Parked => {
                if store.data_mut().wasi.arm(&waker, &mut |_, _| {}) == Armed::Until(None) {
                    println!("it waits");
                    feed.write(b"resumed")?; // wakes this thread
                    std::thread::park();
                }
                ResumableCall::HostTrap(parked)
            }
        };
    }
    println!("{} {}", String::from_utf8(stdout.take())?, store.data().cheers);
    Ok(())
}

/// Wakes a thread that is parked.
struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

fn instance(
    engine: &Engine,
    linker: &Linker<App>,
    module: &Module,
    wasi: WasiCtx,
) -> Result<(Store<App>, Func), Box<dyn Error>> {
    let mut store = Store::new(engine, App { wasi, cheers: 0 });
    let instance = linker.instantiate_and_start(&mut store, module)?;
    let start = instance.get_func(&store, "_start").ok_or("it has no _start")?;
    Ok((store, start))
}
