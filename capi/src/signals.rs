//! The signals a write to a host directory can raise, which end a program that has said nothing
//! of them. A program of Rust ignores SIGPIPE from its start on; in a library nothing does that.

/// Where the numbers and the layout below hold.
#[cfg(all(
    any(target_os = "linux", target_os = "android", target_vendor = "apple"),
    not(any(target_arch = "mips", target_arch = "mips64"))
))]
mod system {
    use std::ffi::c_int;
    use std::ptr;
    use std::sync::Once;

    const SIGPIPE: c_int = 13;
    const SIGXFSZ: c_int = 25;
    const SIG_DFL: usize = 0;
    const SIG_IGN: usize = 1;

    /// `struct sigaction`, and more than the system reads or writes. All of it but the handler
    /// is zero: no flags, an empty mask.
    #[repr(C)]
    struct Action([usize; 32]);

    /// The handler is its first word; on Android with 64 bits the flags are.
    const HANDLER: usize = cfg!(all(target_os = "android", target_pointer_width = "64")) as usize;

    unsafe extern "C" {
        /// Of the C library that std is linked with.
        fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int;
    }

    fn ignore(signal: c_int) {
        let mut now = Action([0; 32]);
        // SAFETY: it only asks, and there is room for what it answers.
        let asked = unsafe { sigaction(signal, ptr::null(), &raw mut now) };
        // Who has a handler, or ignores it, has said what is wanted.
        if asked == 0 && now.0[HANDLER] == SIG_DFL {
            let mut ignored = Action([0; 32]);
            ignored.0[HANDLER] = SIG_IGN;
            // SAFETY: the new action is whole and nobody's code runs by it; it replaces the
            // default, which code can't rely on as that ends the program.
            unsafe { sigaction(signal, &raw const ignored, ptr::null_mut()) };
        }
    }

    pub(crate) fn ignore_unhandled() {
        // Once: who changes them afterwards means it.
        static ONCE: Once = Once::new();
        ONCE.call_once(|| [SIGPIPE, SIGXFSZ].into_iter().for_each(ignore));
    }
}

#[cfg(not(all(
    any(target_os = "linux", target_os = "android", target_vendor = "apple"),
    not(any(target_arch = "mips", target_arch = "mips64"))
)))]
mod system {
    pub(crate) fn ignore_unhandled() {}
}

pub(crate) use system::ignore_unhandled;
