//! What is said when a signal of the processor's, or an abort, ends the process: whose guest ran
//! on that thread.
//!
//! No guest can bring that about (docs/wasmi.md says what it takes); should one find a way, this
//! says which it was. The signal then ends the process as it would have.
#![allow(unsafe_code, reason = "a signal handler can't be installed safely")]

use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::OnceLock;

use libc::{SIGABRT, SIGBUS, SIGILL, SIGSEGV, c_int, c_void, siginfo_t};
use tinyhost::Running;

/// With the names they are known by.
const SIGNALS: [(c_int, &str); 4] =
    [(SIGSEGV, "SIGSEGV"), (SIGBUS, "SIGBUS"), (SIGILL, "SIGILL"), (SIGABRT, "SIGABRT")];

/// What was there before: the standard library's, which tells of a stack that has overflowed.
static BEFORE: [OnceLock<libc::sigaction>; SIGNALS.len()] =
    [const { OnceLock::new() }; SIGNALS.len()];

/// What is run.
static PROGRAM: OnceLock<String> = OnceLock::new();

type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// Names the program whose guests run in this process.
pub fn set_program(name: &str) {
    let name = tinyhost::trace::escape::Line(name).to_string();
    let _ = PROGRAM.set(name);
}

/// Installs the handler. Where that fails the signal ends the process without a word.
pub fn install() {
    for (place, (signal, _)) in BEFORE.iter().zip(SIGNALS) {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: an all-zero sigaction is a valid one; all the fields that matter are set; the
        // handler calls only what is async-signal-safe. SA_ONSTACK: the stack may be what has
        // run out, and the standard library gives each thread of its own another for signals.
        let before = unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            let handler: Handler = on_signal;
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            if libc::sigaction(signal, &raw const action, before.as_mut_ptr()) != 0 {
                continue;
            }
            before.assume_init()
        };
        let _ = place.set(before);
    }
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let mut words = Words::default();
    // What does not fit is left out.
    let _ = speak(&mut words, signal);
    words.say();
    // It is said once. The standard library's handler may abort, and a second handler on top of
    // this one may be more than the stack for signals has room for.
    by_default(SIGABRT);
    call_the_one_before(signal, info, context);
    by_default(signal);
    // SAFETY: it is async-signal-safe. The signal is blocked until this returns, and then ends
    // the process, as nothing handles it any more.
    unsafe { libc::raise(signal) };
}

/// Leaves a signal to the system.
fn by_default(signal: c_int) {
    // SAFETY: sigaction(2) is async-signal-safe, and an all-zero action a valid one.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const action, null_mut());
    }
}

/// It may not come back.
fn call_the_one_before(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|(known, _)| *known == signal);
    let Some(before) = index.and_then(|index| BEFORE[index].get()) else { return };
    let none = [libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction);
    if none || before.sa_flags & libc::SA_SIGINFO == 0 {
        return;
    }
    // SAFETY: with SA_SIGINFO the field is a function of this type, and it is called with what
    // the system has given for it.
    unsafe {
        let handler = std::mem::transmute::<libc::sighandler_t, Handler>(before.sa_sigaction);
        handler(signal, info, context);
    }
}

fn speak(words: &mut Words, signal: c_int) -> fmt::Result {
    let name = SIGNALS.iter().find(|(known, _)| *known == signal).map_or("a signal", |(_, n)| n);
    write!(words, "tinyhost: ended by {name}")?;
    match (PROGRAM.get(), Running::here()) {
        (Some(program), Some(Running { client: Some(client) })) => {
            write!(words, " while a guest of {program} ran for {client}")
        }
        (Some(program), Some(_)) => write!(words, " while {program} ran"),
        (Some(program), None) => {
            write!(words, " while no guest ran on this thread (the program is {program})")
        }
        (None, _) => write!(words, " before a program was started"),
    }
}

/// A line on the stack: nothing may be allocated here. The last byte is for its end.
struct Words {
    bytes: [u8; 512],
    length: usize,
}

impl Default for Words {
    fn default() -> Words {
        Words { bytes: [0; 512], length: 0 }
    }
}

impl Words {
    fn say(&mut self) {
        self.bytes[self.length] = b'\n';
        let line = &self.bytes[..=self.length];
        // SAFETY: standard error is not closed by anything in this process. A descriptor that is
        // not there is an error, and there is nowhere else to report it.
        let stderr = unsafe { rustix::fd::BorrowedFd::borrow_raw(2) };
        let _ = rustix::io::write(stderr, line);
    }
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.length;
        let taken = text.len().min(room);
        self.bytes[self.length..][..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// The test runs itself once more, to be ended.
    const CHILD: &str = "TINYHOST_TEST_OVERFLOW";

    #[expect(unconditional_recursion, reason = "it is to overflow")]
    fn recurse(deep: &mut [u64; 64]) -> u64 {
        let mut more = *deep;
        more[0] += 1;
        recurse(&mut more) + std::hint::black_box(more[1])
    }

    #[test]
    fn a_stack_that_overflows_is_told_of() {
        if std::env::var_os(CHILD).is_some() {
            set_program("deep\u{1b}.wasm");
            install();
            let thread = std::thread::spawn(|| recurse(&mut [0; 64]));
            println!("{:?}", thread.join());
            return;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "cli::fatal_signal::tests::a_stack_that_overflows_is_told_of"]);
        let output = command.arg("--nocapture").env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // It is the standard library that aborts for it, after its own words.
        assert_eq!(output.status.signal(), Some(SIGABRT), "{said}");
        let line = "tinyhost: ended by SIGSEGV while no guest ran on this thread";
        assert!(said.contains(line) && said.contains("has overflowed its stack"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
        assert_eq!(said.matches("tinyhost: ").count(), 1, "{said}");
    }
}
