//! What embedders rely on: guests that move between threads, that are dropped wherever they
//! are, stores of the embedder's own, groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::pipe::{Capture, pipe};
use tinyhost::vfs::{Errno, Namespace};
use tinyhost::wasi::{self, MemoryBudget, Mode, Retried};
use tinyhost::wasmi::{Engine, Func, Linker, Module, ResumableCall, Store};
use tinyhost::{Armed, Cause, Group, Guest, ManualClock, Pool, Program, Step, WasiCtx};

const SLICE: u64 = 10_000_000;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("fixtures/{name}.wasm")).expect("fixtures are checked in")
}

fn program(name: &str) -> Program {
    Program::new(fixture(name)).expect("fixtures are programs")
}

/// Steps until it is anything but yielding.
fn settle(guest: &mut Guest) -> Step {
    loop {
        match guest.step(SLICE) {
            Step::Yielded => {}
            other => return other,
        }
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_parked_guest_is_moved_to_another_thread_and_goes_on() {
    let program = program("promptreply");
    let ((stdin, mut feed), out) = (pipe(64), Capture::new(64));
    let cx = WasiCtx::builder().stdin(stdin).stdout(out.clone()).build();
    let mut guest = Guest::new(&program, cx);
    assert_eq!(settle(&mut guest), Step::Parked);
    let count = Arc::new(Count::default());
    let armed = guest.arm(&Waker::from(count.clone()), &mut |_, _| panic!("no descriptors here"));
    assert_eq!(armed, Armed::Until(None));
    let thread = std::thread::spawn(move || {
        // Too early changes nothing, here as anywhere.
        assert_eq!(settle(&mut guest), Step::Parked);
        feed.write(b" moved \n").expect("there is room");
        settle(&mut guest)
    });
    assert_eq!(thread.join().expect("no panic"), Step::Exited(0));
    assert_eq!(out.take(), b"moved\n");
    // Waiting again does not forget who was waiting before: the pipe has one reader.
    assert!(count.0.load(Ordering::SeqCst) <= 1);
}

#[test]
fn a_group_lets_nobody_wait_for_a_spinner() {
    let (spin, reply) = (program("spin"), program("promptreply"));
    let count = Arc::new(Count::default());
    let mut group = Group::with_waker(count.clone().into());
    let spinner = group.spawn(Guest::new(&spin, WasiCtx::builder().build()));
    let ((stdin, mut feed), out) = (pipe(64), Capture::new(64));
    let cx = WasiCtx::builder().stdin(stdin).stdout(out.clone()).build();
    let replier = group.spawn(Guest::new(&reply, cx));
    let turn = group.turn(1_000_000);
    assert!(turn.ended.is_empty());
    assert_eq!(turn.next, Some(Duration::ZERO), "the spinner could go on");
    assert!((1_000_000..1_200_000).contains(&turn.fuel_used), "{}", turn.fuel_used);
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    feed.write(b"now\n").expect("there is room");
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "the group's own waker is told");
    let ended = group.turn(1_000_000).ended;
    assert_eq!(ended.iter().map(|(member, ..)| *member).collect::<Vec<_>>(), [replier]);
    assert_eq!(out.take(), b"now\n");
    assert!(group.cancel(spinner).is_some() && group.cancel(spinner).is_none());
    assert_eq!(group.turn(1_000_000).next, None);
}

#[test]
fn a_group_says_when_a_sleeper_is_due() {
    let program = program("sleeper");
    let clock = Arc::new(ManualClock::new(0));
    let mut group = Group::new();
    let cx = WasiCtx::builder().arg("s").and_then(|cx| cx.arg("250")).expect("no NUL");
    group.spawn(Guest::new(&program, cx.clock(clock.clone()).build()));
    let mut turns = 0;
    while !group.is_empty() {
        let turn = group.turn(SLICE);
        clock.advance(turn.next.unwrap_or_default());
        turns += 1;
        assert!(turns < 10, "{turn:?}");
    }
}

#[test]
fn a_closure_makes_dev_random_tell_the_same_each_time() {
    let read = |seed: u8| {
        let dev = Dev::new().random(move |bytes: &mut [u8]| bytes.fill(seed));
        let names = Namespace::builder().mount("/dev", Arc::new(dev)).expect("free").build();
        let out = Capture::new(16);
        let cx = WasiCtx::builder().namespace(names).stdout(out.clone()).exit_on_broken_pipe();
        let cx = cx.arg("cat").and_then(|cx| cx.arg("/dev/urandom")).expect("no NUL");
        // It reads for ever, and is stopped by the end of what is captured.
        let mut guest = Guest::new(&program("cat"), cx.build());
        settle(&mut guest);
        out.take()
    };
    assert_eq!(read(7), [7; 16]);
}

struct App {
    wasi: WasiCtx,
}

fn own_store(name: &str, wasi: WasiCtx) -> (Store<App>, Func) {
    let engine = Engine::default();
    let module = Module::new(&engine, fixture(name)).expect("fixtures are modules");
    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker, |app: &mut App| &mut app.wasi).expect("all names are free");
    let mut store = Store::new(&engine, App { wasi });
    store.limiter(|app| app.wasi.limiter());
    let instance = linker.instantiate_and_start(&mut store, &module).expect("it can be made");
    let start = instance.get_func(&store, "_start").expect("it has one");
    (store, start)
}

#[test]
fn a_plain_call_waits_in_place() {
    let ((stdin, mut feed), out) = (pipe(64), Capture::new(64));
    let cx = WasiCtx::builder().stdin(stdin).stdout(out.clone()).build();
    let (mut store, start) = own_store("promptreply", cx);
    let feeder = std::thread::spawn(move || {
        feed.write(b"in place").expect("there is room");
        // Dropped: the end of what there is to read.
    });
    start.call(&mut store, &[], &mut []).expect("it ends well");
    feeder.join().expect("no panic");
    assert_eq!(out.take(), b"in place\n");

    let cx = WasiCtx::builder().arg("sleeper").and_then(|cx| cx.arg("30")).expect("no NUL");
    let (mut store, start) = own_store("sleeper", cx.stdout(out.clone()).build());
    let began = Instant::now();
    start.call(&mut store, &[], &mut []).expect("it ends well");
    assert!(began.elapsed() >= Duration::from_millis(30));
    assert_eq!(out.take(), b"slept\n");
}

#[test]
fn a_resumable_call_hands_control_back() {
    let ((stdin, mut feed), out) = (pipe(4), Capture::new(64));
    let cx = WasiCtx::builder().stdin(stdin).stdout(out.clone()).mode(Mode::Suspend).build();
    let (mut store, start) = own_store("promptreply", cx);
    let mut text = &b"through a pipe of four bytes\n"[..];
    let mut call = start.call_resumable(&mut store, &[], &mut []).expect("no trap");
    let mut parks = 0;
    while let ResumableCall::HostTrap(parked) = call {
        assert!(wasi::is_parked(parked.host_error()));
        call = match wasi::retry(&mut store, |app| &mut app.wasi) {
            Retried::Resume(value) => {
                parked.resume(&mut store, &[value], &mut []).expect("no trap")
            }
            Retried::Exited(status) => panic!("it exited with {status}"),
            Retried::Parked => {
                parks += 1;
                let count = Arc::new(Count::default());
                let armed = store.data_mut().wasi.arm(&count.clone().into(), &mut |_, _| {});
                assert_eq!(armed, Armed::Until(None));
                text = &text[feed.write(text).expect("it was empty")..];
                assert_eq!(count.0.load(Ordering::SeqCst), 1);
                // Returns at once, for there is something to be read.
                store.data_mut().wasi.wait().expect("the host can wait");
                ResumableCall::HostTrap(parked)
            }
        };
    }
    assert_eq!(out.take(), b"through a pipe of four bytes\n");
    assert_eq!(parks, 8, "29 bytes, four at a time");
}

#[test]
fn an_exit_is_no_park() {
    let cx = WasiCtx::builder().mode(Mode::Suspend).build();
    let (mut store, start) = own_store("exit42", cx);
    match start.call_resumable(&mut store, &[], &mut []).expect("no trap") {
        ResumableCall::HostTrap(call) => {
            assert!(!wasi::is_parked(call.host_error()));
            assert_eq!(call.host_error().i32_exit_status(), Some(42));
        }
        other => panic!("{other:?}"),
    }
    // Nothing is parked: nothing happens.
    let cx = WasiCtx::builder().build();
    let (mut store, _) = own_store("exit42", cx);
    assert!(matches!(wasi::retry(&mut store, |app| &mut app.wasi), Retried::Parked));
}

#[test]
fn a_store_of_ones_own_can_have_the_limit_too() {
    let cx = WasiCtx::builder().memory_max(4 << 20).build();
    let (mut store, start) = own_store("hog", cx);
    assert!(start.call(&mut store, &[], &mut []).is_err(), "it takes all the memory there is");
    assert!(store.data().wasi.memory_peak() <= 4 << 20);
}

#[test]
fn pipes_are_std_streams() {
    use std::io::{ErrorKind, Read, Write};
    let (mut reader, mut writer) = pipe(8);
    writeln!(writer, "a line").expect("there is room");
    assert_eq!(write!(writer, "more").map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    let mut bytes = [0; 8];
    Read::read_exact(&mut reader, &mut bytes).expect("as many as it held");
    assert_eq!(&bytes, b"a line\nm");
    let error = Read::read(&mut reader, &mut bytes).expect_err("there is nothing");
    assert_eq!((error.kind(), Errno::from(error)), (ErrorKind::WouldBlock, Errno::Again));
}

#[test]
fn what_an_instance_has_from_the_start_is_counted_in_the_budget() {
    let text = r#"(module (memory (export "memory") 256) (func (export "_start")))"#;
    let program = Program::new(wat::parse_str(text).unwrap()).unwrap();
    let mut pool = Pool::new(&program);
    // 16 MiB each, of which 12 are counted.
    let budget = Arc::new(MemoryBudget::new(30 << 20));
    let cx = || WasiCtx::builder().memory_budget(budget.clone()).build();
    let (one, two) = (pool.spawn(cx()), pool.spawn(cx()));
    assert_eq!(budget.used(), 24 << 20);
    let refused = |step| matches!(step, Step::Trapped(trap) if trap.cause == Cause::Memory);
    assert!(refused(pool.spawn(cx()).step(1000)), "a fresh one");
    pool.recycle(one);
    let mut again = pool.spawn(cx());
    assert_eq!(again.step(1000), Step::Exited(0));
    pool.recycle(again);
    let _other = Guest::new(&program, cx());
    assert!(refused(pool.spawn(cx()).step(1000)), "a recycled one");
    drop((two, _other));
    assert_eq!(budget.used(), 0);
}

/// No wake ever comes for a guest that is in no call that waits.
#[test]
fn a_guest_that_does_not_wait_is_worth_a_step_at_once() {
    let (stdin, mut feed) = pipe(64);
    let cx = WasiCtx::builder().stdin(stdin).build();
    let mut guest = Guest::new(&program("promptreply"), cx);
    let ready_now = |guest: &mut Guest| {
        guest.wait().unwrap();
        assert_eq!(guest.arm(Waker::noop(), &mut |_, _| {}), Armed::Now, "{guest:?}");
    };
    ready_now(&mut guest); // not begun
    assert_eq!(guest.step(10), Step::Yielded);
    ready_now(&mut guest); // between two instructions
    assert_eq!(settle(&mut guest), Step::Parked);
    assert_eq!(guest.arm(Waker::noop(), &mut |_, _| {}), Armed::Until(None));
    feed.write(b"a line\n").unwrap();
    ready_now(&mut guest); // what it waits for is there
    assert_eq!(settle(&mut guest), Step::Exited(0));
    ready_now(&mut guest); // ended

    // In a call that gives way, and is to be made again.
    let mut guest = Guest::new(&program("yield"), WasiCtx::builder().build());
    while guest.step(SLICE) == Step::Yielded {
        ready_now(&mut guest);
    }
}
