//! Every pointer argument, at the end of memory and past it.

use tinyhost::Errno;
use tinyhost::wasi::TABLE;

use crate::calls::baseline::{Arg, BUFFER, arguments, guest, lay_out};
use crate::calls::{Calls, MEMORY_LEN, UNTOUCHED};

/// All pairs of a function and a pointer among its arguments.
fn pointers() -> impl Iterator<Item = (&'static str, Vec<Arg>, usize, u32)> {
    TABLE.iter().filter_map(|row| Some((row.name, arguments(row.name)?))).flat_map(
        |(name, args)| {
            let len = |arg: &Arg| match arg {
                Arg::N(_) => None,
                Arg::In(bytes) => Some(bytes.len() as u32),
                Arg::Out(len) => Some(*len),
            };
            let lens: Vec<_> = args.iter().map(len).enumerate().collect();
            let pointers = lens.into_iter().filter_map(|(index, len)| Some((index, len?)));
            pointers.map(move |(index, len)| (name, args.clone(), index, len)).collect::<Vec<_>>()
        },
    )
}

/// The descriptor that is opened next: whether one was lost or kept.
fn next_fd(calls: &mut Calls) -> u32 {
    calls.open(3, "dir", 0, 0).expect("room")
}

#[test]
fn the_last_bytes_of_memory_are_good() {
    for (name, args, index, _) in pointers() {
        let calls = &mut guest();
        let raw = lay_out(calls, &args, |at, len| (at == index).then_some(MEMORY_LEN - len));
        assert_eq!(calls.call(name, &raw), Ok(()), "{name}, argument {index}");
    }
}

#[test]
fn one_past_is_efault_and_changes_nothing() {
    for (name, args, index, len) in pointers() {
        for at in [MEMORY_LEN - len + 1, MEMORY_LEN, MEMORY_LEN + 1, 0xffff_fff0, u32::MAX] {
            let calls = &mut guest();
            let raw = lay_out(calls, &args, |it, _| (it == index).then_some(at));
            let before = calls.memory().to_vec();
            let answer = calls.call(name, &raw);
            assert_eq!(answer, Err(Errno::Fault), "{name}, argument {index} at {at:#x}");
            assert!(calls.memory() == before, "{name}, argument {index} at {at:#x}");
            assert_eq!(next_fd(calls), 7, "{name}, argument {index}: no descriptor is lost");
            // What was not done can be done again: nothing was taken or moved.
            if name != "path_open" {
                let raw = lay_out(calls, &args, |_, _| None);
                assert_eq!(calls.call(name, &raw), Ok(()), "{name} again");
            }
            if name == "fd_read" {
                assert_eq!(calls.tell(5), Ok(8), "the offset had not moved");
            }
        }
    }
}

/// Results go where they belong, and nowhere else.
#[test]
fn the_rest_of_memory_is_untouched() {
    for (name, args) in TABLE.iter().filter_map(|row| Some((row.name, arguments(row.name)?))) {
        let calls = &mut guest();
        let raw = lay_out(calls, &args, |_, _| None);
        let mut before = calls.memory().to_vec();
        calls.call(name, &raw).expect(name);
        let mut after = calls.memory().to_vec();
        let mut mask = |at: u64, len: u32| {
            for memory in [&mut before, &mut after] {
                memory[at as usize..][..len as usize].fill(UNTOUCHED);
            }
        };
        for (at, arg) in raw.iter().zip(&args) {
            if let Arg::Out(len) = arg {
                mask(*at, *len);
            }
        }
        if ["fd_read", "fd_pread", "sock_recv"].contains(&name) {
            mask(BUFFER.into(), 8);
        }
        let changed = before.iter().zip(&after).position(|(before, after)| before != after);
        assert_eq!(changed, None, "{name}");
    }
}

/// The vectors lie in memory, what they point to does not.
#[test]
fn vectors_that_lead_out_of_memory_are_efault() {
    for name in ["fd_read", "fd_pread", "fd_write", "fd_pwrite", "sock_recv", "sock_send"] {
        let leads = |at: u32, len: u32| {
            let calls = &mut guest();
            let mut args = arguments(name).expect("arguments");
            let vectors = [BUFFER, 4, at, len].map(u32::to_le_bytes).concat();
            args[1] = Arg::In(vectors);
            let raw = lay_out(calls, &args, |_, _| None);
            let before = calls.memory().to_vec();
            let answer = calls.call(name, &raw);
            assert!(answer.is_ok() || calls.memory() == before, "{name}: {at:#x} {len:#x}");
            answer
        };
        assert_eq!(leads(MEMORY_LEN - 4, 4), Ok(()), "{name}");
        assert_eq!(leads(MEMORY_LEN, 0), Ok(()), "{name}");
        for (at, len) in [
            (MEMORY_LEN - 4, 5),
            (MEMORY_LEN, 1),
            (MEMORY_LEN + 1, 0),
            (0, u32::MAX),
            (1, u32::MAX),
            (u32::MAX, 1),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(leads(at, len), Err(Errno::Fault), "{name}: {at:#x} {len:#x}");
        }
    }
}
