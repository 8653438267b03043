//! A small WASI preview1 host on the wasmi interpreter. The network is a filesystem.
//!
//! ```
//! use tinyhost::vfs::pipe::Capture;
//! use tinyhost::{Guest, Program, Step, WasiCtx};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let program = Program::new(std::fs::read("fixtures/hello.wasm")?)?; // checked once
//!     let stdout = Capture::new(1 << 20);
//!     let cx = WasiCtx::builder().arg("hello")?.stdout(stdout.clone()).build();
//!     let mut guest = Guest::new(&program, cx); // any number of guests
//!     while guest.step(100_000) == Step::Yielded { /* draw a frame */ }
//!     assert_eq!(stdout.take(), b"hello, world\n");
//!     Ok(())
//! }
//! ```
//!
//! No machine code is generated, so guests run where executable pages are forbidden. No call of
//! a stepped guest blocks the thread: a guest that has to wait is parked, and
//! [`Guest::step`] returns.
//!
//! ```text
//!   your program        Guest::step(fuel) -> Exited | Trapped | Yielded | Parked
//!        |                 driven by you, by a Group, or by the Scheduler (feature net)
//!   Program, Guest      compiled once; started, stepped, parked, resumed, dropped
//!        |
//!   wasi                preview1: guest memory in, checks, errno out; one row per call
//!        |
//!   vfs                 Namespace: mounts -> Node: a name -> File: what is open
//!        |
//!   mem  pipe  dev  tar  host  net  your own          the backends
//! ```
//!
//! | to | use |
//! |---|---|
//! | load a program and start guests of it | [`Program`], [`Guest::new`] |
//! | give a guest arguments, streams, files, clocks, limits | [`WasiCtx::builder`] |
//! | run it for a slice | [`Guest::step`], [`Guest::limit_fuel`] |
//! | run it to its end, blocking the thread | [`Guest::run`], [`Guest::run_until`], [`Interrupt`] |
//! | run several from your own loop | [`Group`] |
//! | run thousands, with sockets and timers | [`sched::Scheduler`] |
//! | run one for each line of a stream, on all processors | [`pipe`] |
//! | start a guest in microseconds | [`Pool`] |
//! | go on later from where a guest waits for its input | [`Capturable`] |
//! | wait for what a parked guest waits for | [`Guest::arm`] |
//! | cancel a guest | drop it |
//! | learn in a signal handler whose guest a thread runs | [`Running`] |
//! | hold the other end of its streams | [`vfs::pipe`] |
//! | choose the files it sees | [`vfs::Namespace`], with [`vfs::mem`], [`vfs::dev`], [`vfs::tar`], [`vfs::host`], [`vfs::net`] |
//! | write your own files and directories | [`vfs::Node`], [`vfs::File`] |
//! | make its runs repeatable | [`ManualClock`], [`Random`] |
//! | see each of its calls | [`wasi::Trace`] |
//! | use WASI in your own wasmi `Linker` and `Store` | [`wasi::add_to_linker`], [`wasi::retry`] |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `host-fs` | directories of the host as a backend (Unix) |
//! | `net` | sockets as files, and the scheduler on mio (Unix) |
//! | `tls` | TLS that the host speaks: `/dev/tls`, `/dev/https`, and in the server (needs a C compiler) |
//! | `sockets` | the socket calls of other hosts, such as `sock_connect` |
//! | `tar` | tar images as a backend |
//! | `simd` | the SIMD proposals in the interpreter |
//! | `os-random` | the operating system's random bytes; without it, supply a [`Random`] |
//! | `recycle` | reuse of instances, several times faster than new ones (Linux 6.7 or later) |
//! | `serve` | the line server, and the filter of streams (Unix) |
//! | `nats` | messages of a NATS server, for the line server |
//! | `cli` | the `tinyhost` program; with `serve`, its `serve` and `pipe` commands |
//!
//! All features are on by default. When you use tinyhost as a library, set
//! `default-features = false` and choose. Without any feature the crate needs no operating
//! system: it builds for wasm32-wasip1 and wasm32-unknown-unknown. On the latter
//! [`SystemClock`] doesn't advance, and [`Guest::run`] must not be used. With `cli` alone the program
//! builds for wasm32-wasip1.
#![cfg_attr(not(feature = "net"), doc = "\n[`sched::Scheduler`]: self\n[`vfs::net`]: self")]
#![cfg_attr(not(feature = "host-fs"), doc = "\n[`vfs::host`]: self")]
#![cfg_attr(not(feature = "tar"), doc = "\n[`vfs::tar`]: self")]
#![deny(missing_docs)]

mod clock;
mod errno;
mod group;
mod guest;
mod instance;
#[cfg(all(unix, feature = "serve"))]
pub mod pipe;
mod pool;
mod program;
mod random;
#[cfg(all(unix, feature = "net"))]
pub mod sched;
#[cfg(all(unix, feature = "serve"))]
pub mod serve;
mod step;
pub mod trace;
pub mod vfs;
mod warm;
pub mod wasi;

pub use clock::{Clock, ManualClock, SystemClock};
pub use errno::Errno;
pub use group::{Group, Member, Turn};
pub use guest::Guest;
pub use guest::capture::{Capturable, OpenDescriptor};
pub use guest::interrupt::Interrupt;
pub use guest::running::Running;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub use instance::GuestAllocator;
pub use pool::{Ahead, Pool};
pub use program::capture::CaptureError;
pub use program::{Export, Import, Inspection, MemorySize, Producer};
pub use program::{Program, ProgramConfig, ProgramError, Warm, Warmth};
#[cfg(feature = "os-random")]
pub use random::SystemRandom;
pub use random::{Random, seeded};
pub use step::{Cause, End, Step, Trap};
pub use vfs::Armed;
pub use warm::WarmUp;
pub use wasi::WasiCtx;
/// The interpreter, in the version whose types [`wasi::add_to_linker`] takes.
pub use wasmi;

/// Compiles and runs the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;

/// Compiles and runs the examples of docs/from-wasmi-wasi.md.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-wasmi-wasi.md")]
struct FromWasmiWasi;
