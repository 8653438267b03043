//! A guest that is stepped: it parks, and says until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use tinyhost::vfs::{File, Filetype, Interest, Ready, Result, Stat, Wait, mem, pipe};
use tinyhost::wasi::CtxBuilder;
use tinyhost::{Armed, Errno, Guest, Step, WasiCtx};

use super::records::{
    CLOCK, Event, Hands, MONOTONIC, READ, REALTIME, WRITE, clock, event, events, fd,
};
use crate::calls::libc::{CREAT, DIRECTORY};
use crate::calls::mounted;
use crate::calls::script::{Ending, Script};

const IN: u32 = 0x1000;
const OUT: u32 = 0x8000;
const NEVENTS: u32 = 0x7000;

/// The time when the guests begin, ns.
const REAL: u64 = 1_000_000;
const MONO: u64 = 7_000;

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Polling {
    guest: Guest,
    ending: Ending,
    hands: Arc<Hands>,
    wakes: Arc<Count>,
}

impl Polling {
    /// A guest that polls once.
    fn new(cx: CtxBuilder, subscriptions: &[[u8; 48]]) -> Polling {
        Polling::after(Script::new(), cx, subscriptions)
    }

    /// One that has made other calls before.
    fn after(script: Script, cx: CtxBuilder, subscriptions: &[[u8; 48]]) -> Polling {
        let count = subscriptions.len() as u32;
        let args = [IN, OUT, count, NEVENTS].map(u64::from);
        let script = script.data(IN, &subscriptions.concat()).call("poll_oneoff", &args);
        let hands = Arc::new(Hands::at(REAL, MONO));
        let (guest, ending) =
            script.guest(cx.clock(hands.clone()), NEVENTS, OUT - NEVENTS + 32 * count);
        Polling { guest, ending, hands, wakes: Arc::default() }
    }

    fn step(&mut self) -> Step {
        self.guest.step(1_000_000)
    }

    /// It is parked, and for so many nanoseconds.
    #[track_caller]
    fn parked_for(&mut self, ns: Option<u64>) {
        assert_eq!(self.step(), Step::Parked);
        let waker = Waker::from(self.wakes.clone());
        let armed = self.guest.arm(&waker, &mut |_, _| panic!("nothing is the system's"));
        assert_eq!(armed, Armed::Until(ns.map(Duration::from_nanos)));
    }

    /// It has ended, and these are its events.
    #[track_caller]
    fn ends_with(&mut self, expected: &[Event]) {
        assert_eq!(self.step(), Step::Exited(0));
        let (errnos, memory) = self.ending.told();
        assert!(errnos.iter().all(|errno| *errno == 0), "{errnos:?}");
        let count = u32::from_le_bytes(memory[..4].try_into().expect("four bytes"));
        let events = events(&memory[(OUT - NEVENTS) as usize..], count);
        assert_eq!((events.as_slice(), count as usize), (expected, expected.len()));
        assert_eq!(self.guest.step(1), Step::Exited(0), "it stays ended");
    }
}

/// Neither ready, nor will it ever be.
struct Dead;

impl File for Dead {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        Err(Errno::Again)
    }

    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        Wait::NEVER
    }
}

fn cx() -> CtxBuilder {
    WasiCtx::builder()
}

#[test]
fn a_sleep_ends_when_its_time_has_come() {
    for id in [REALTIME, MONOTONIC] {
        let mut polling = Polling::new(cx(), &[clock(7, id, 5_000, false)]);
        polling.parked_for(Some(5_000));
        polling.hands.pass(4_000);
        // Stepped too early it goes on with the same sleep, and does not begin another.
        polling.parked_for(Some(1_000));
        polling.hands.pass(999);
        polling.parked_for(Some(1));
        polling.hands.pass(1);
        polling.ends_with(&[event(7, CLOCK, 0)]);
    }
}

#[test]
fn an_instant_is_by_its_own_clock() {
    let mut monotonic = Polling::new(cx(), &[clock(1, MONOTONIC, MONO + 300, true)]);
    monotonic.parked_for(Some(300));
    // The other clock does not matter.
    monotonic.hands.realtime.store(u64::MAX, Ordering::Relaxed);
    monotonic.parked_for(Some(300));
    monotonic.hands.pass(300);
    monotonic.ends_with(&[event(1, CLOCK, 0)]);

    let mut realtime = Polling::new(cx(), &[clock(2, REALTIME, REAL + 300, true)]);
    realtime.parked_for(Some(300));
    // It is put forward while the guest waits.
    realtime.hands.realtime.fetch_add(200, Ordering::Relaxed);
    realtime.parked_for(Some(100));
    realtime.hands.realtime.fetch_add(100, Ordering::Relaxed);
    realtime.ends_with(&[event(2, CLOCK, 0)]);
}

#[test]
fn what_is_due_does_not_wait() {
    let due = [
        clock(1, MONOTONIC, 0, false),
        clock(2, MONOTONIC, MONO, true),
        clock(3, REALTIME, REAL - 1, true),
        clock(4, REALTIME, 0, true),
        clock(5, MONOTONIC, 1, false),
    ];
    let mut polling = Polling::new(cx(), &due);
    polling.ends_with(&[1, 2, 3, 4].map(|userdata| event(userdata, CLOCK, 0)));
}

#[test]
fn the_earliest_of_several_clocks_ends_it() {
    let clocks = [
        clock(1, MONOTONIC, 900, false),
        clock(2, REALTIME, REAL + 400, true),
        clock(3, MONOTONIC, MONO + 400, true),
        clock(4, MONOTONIC, u64::MAX, false),
    ];
    let mut polling = Polling::new(cx(), &clocks);
    polling.parked_for(Some(400));
    polling.hands.pass(400);
    polling.ends_with(&[event(2, CLOCK, 0), event(3, CLOCK, 0)]);
}

#[test]
fn the_longest_timeout_is_for_ever() {
    for (id, absolute) in [(MONOTONIC, false), (MONOTONIC, true), (REALTIME, false)] {
        let mut polling = Polling::new(cx(), &[clock(1, id, u64::MAX, absolute)]);
        polling.parked_for(None);
        polling.hands.pass(1 << 60);
        polling.parked_for(None);
    }
    let mut polling = Polling::new(cx(), &[clock(1, REALTIME, u64::MAX, true)]);
    assert_eq!(polling.step(), Step::Parked);
    // With something that is ready it is no matter.
    let both = [clock(1, MONOTONIC, u64::MAX, false), fd(2, READ, 0)];
    Polling::new(cx(), &both).ends_with(&[event(2, READ, 0)]);
}

#[test]
fn a_pipe_wakes_its_reader() {
    let (stdin, mut writer) = pipe::pipe(100);
    let mut polling = Polling::new(cx().stdin(stdin), &[fd(9, READ, 0)]);
    polling.parked_for(None);
    assert_eq!(polling.wakes.0.load(Ordering::Relaxed), 0);
    writer.write(b"hello").expect("room");
    assert_eq!(polling.wakes.0.load(Ordering::Relaxed), 1);
    polling.ends_with(&[event(9, READ, 5)]);

    let (stdin, writer) = pipe::pipe(100);
    let mut polling = Polling::new(cx().stdin(stdin), &[fd(9, READ, 0)]);
    polling.parked_for(None);
    drop(writer);
    polling.ends_with(&[Event { hangup: true, ..event(9, READ, 0) }]);
}

#[test]
fn a_full_pipe_wakes_its_writer() {
    let (mut reader, mut writer) = pipe::pipe(4);
    writer.write(b"full").expect("room");
    let mut polling = Polling::new(cx().socket("pipe", Box::new(writer)), &[fd(9, WRITE, 3)]);
    polling.parked_for(None);
    reader.read(&mut [0; 3]).expect("bytes");
    assert_eq!(polling.wakes.0.load(Ordering::Relaxed), 1);
    polling.ends_with(&[event(9, WRITE, 3)]);
}

#[test]
fn a_pipe_and_a_clock_race() {
    let subscriptions = |userdata| [fd(userdata, READ, 0), clock(2, MONOTONIC, 50, false)];
    let (stdin, _writer) = pipe::pipe(100);
    let mut late = Polling::new(cx().stdin(stdin), &subscriptions(1));
    late.parked_for(Some(50));
    late.hands.pass(50);
    late.ends_with(&[event(2, CLOCK, 0)]);

    let (stdin, mut writer) = pipe::pipe(100);
    let mut early = Polling::new(cx().stdin(stdin), &subscriptions(1));
    early.parked_for(Some(50));
    writer.write(b"x").expect("room");
    early.ends_with(&[event(1, READ, 1)]);

    // Asked with no time at all: whether there is anything.
    let (stdin, _writer) = pipe::pipe(100);
    let now = [fd(1, READ, 0), clock(2, MONOTONIC, 0, false)];
    Polling::new(cx().stdin(stdin), &now).ends_with(&[event(2, CLOCK, 0)]);
}

#[test]
fn many_subscriptions_for_one_descriptor() {
    let (stdin, mut writer) = pipe::pipe(100);
    let many: Vec<_> = (0..1000).map(|userdata| fd(userdata, READ, 0)).collect();
    let mut polling = Polling::new(cx().stdin(stdin), &many[..500]);
    polling.parked_for(None);
    writer.write(b"abc").expect("room");
    let expected: Vec<_> = (0..500).map(|userdata| event(userdata, READ, 3)).collect();
    polling.ends_with(&expected);
    // Both directions of one.
    let (stdin, _writer) = pipe::pipe(100);
    let both = [fd(1, READ, 0), fd(2, WRITE, 1), fd(3, WRITE, 1)];
    Polling::new(cx().stdin(stdin), &both).ends_with(&[event(2, WRITE, 0), event(3, WRITE, 0)]);
}

#[test]
fn files_are_always_ready_and_directories_never() {
    let root = mem::tree(None);
    let open = |script: Script, path: &str, oflags: u64, rights: u64, at: u32| {
        let path = [u64::from(at), path.len() as u64];
        script.call("path_open", &[3, 0, path[0], path[1], oflags, rights, 0, 0, 0x6000])
    };
    let rights = 1 << 1 | 1 << 6 | 1 << 5 | 1 << 2 | 1 << 27 | 1 << 22;
    let mut script = Script::new().data(0x5000, b"file.");
    script = open(script, "file", CREAT, rights, 0x5000);
    script = open(script, ".", DIRECTORY, 1 << 27, 0x5004);
    script = script.call("fd_filestat_set_size", &[4, 100]);
    script = script.call("fd_seek", &[4, 30, 0, 0x6008]);
    let fds = [fd(1, READ, 4), fd(2, WRITE, 4), fd(3, READ, 5), fd(4, READ, 3), fd(5, WRITE, 3)];
    let cx = cx().namespace(mounted(&[("/", &root)]));
    let badf = Errno::Badf as u16;
    Polling::after(script, cx, &fds).ends_with(&[
        event(1, READ, 70),
        event(2, WRITE, 0),
        // A directory can't be read or written.
        Event { error: badf, ..event(3, READ, 0) },
        Event { error: badf, ..event(4, READ, 0) },
        Event { error: badf, ..event(5, WRITE, 0) },
    ]);
}

#[test]
fn errors_are_events() {
    let fds =
        [fd(1, READ, 99), fd(2, WRITE, u32::MAX), clock(3, 2, 0, false), clock(4, 77, 9, true)];
    let error = |userdata, kind, error: Errno| Event {
        error: error.code() as u16,
        ..event(userdata, kind, 0)
    };
    Polling::new(cx(), &fds).ends_with(&[
        error(1, READ, Errno::Badf),
        error(2, WRITE, Errno::Badf),
        error(3, CLOCK, Errno::Inval),
        error(4, CLOCK, Errno::Inval),
    ]);
    // They do not keep what is ready from being told, nor wait for what is not.
    let (stdin, _writer) = pipe::pipe(1);
    let mixed = [fd(1, READ, 0), fd(2, READ, 99), fd(3, WRITE, 2), clock(4, MONOTONIC, 9, false)];
    Polling::new(cx().stdin(stdin), &mixed)
        .ends_with(&[error(2, READ, Errno::Badf), event(3, WRITE, 0)]);
    // A right that was given up.
    let script = Script::new().call("fd_fdstat_set_rights", &[0, 1 << 1, 0]);
    Polling::after(script, cx(), &[fd(1, READ, 0)]).ends_with(&[error(1, READ, Errno::Notcapable)]);
}

#[test]
fn what_is_never_ready_waits_for_the_clock() {
    let dead = || cx().socket("dead", Box::new(Dead));
    let mut alone = Polling::new(dead(), &[fd(1, READ, 3), fd(2, WRITE, 3)]);
    alone.parked_for(None);
    alone.hands.pass(1 << 40);
    alone.parked_for(None);
    let mut timed = Polling::new(dead(), &[fd(1, READ, 3), clock(2, MONOTONIC, 10, false)]);
    timed.parked_for(Some(10));
    timed.hands.pass(10);
    timed.ends_with(&[event(2, CLOCK, 0)]);
}

/// A guest dropped while it waits lets go of what it had.
#[test]
fn a_parked_guest_can_be_dropped() {
    let (stdin, mut writer) = pipe::pipe(1);
    let mut polling = Polling::new(cx().stdin(stdin), &[fd(1, READ, 0)]);
    polling.parked_for(None);
    drop(polling);
    assert_eq!(writer.write(b"x"), Err(Errno::Pipe));
}

#[test]
fn yielding_is_no_waiting() {
    let script = Script::new().call("sched_yield", &[]).call("sched_yield", &[]);
    let (mut guest, ending) = script.guest(cx(), 0, 0);
    assert_eq!(guest.step(1_000_000), Step::Yielded);
    assert_eq!(guest.step(1_000_000), Step::Yielded);
    assert_eq!(guest.step(1_000_000), Step::Exited(0));
    assert_eq!(ending.told().0, [0, 0]);
}
