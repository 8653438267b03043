//! Counts and lengths whose product wraps, and flags that nobody knows.

use std::time::Duration;

use crate::busy::cpu_time;
use tinyhost::Errno;
use tinyhost::wasi::{Kind, TABLE};

use crate::calls::baseline::{CLOSED, answer, arguments, guest, subscriptions};
use crate::calls::{DATA, OUT, row};

/// The position of a function's parameter.
fn position(name: &str, param: &str) -> usize {
    row(name).params.iter().position(|it| it.name == param).expect("a parameter")
}

#[test]
fn every_function_succeeds_with_good_arguments() {
    for row in tinyhost::wasi::TABLE {
        if arguments(row.name).is_some() {
            assert_eq!(answer(&mut guest(), row.name, &[]), Ok(()), "{}", row.name);
        }
    }
    let exit = guest().outcome("proc_exit", &[7]);
    assert_eq!(exit, crate::calls::Outcome::Exit(7));
    assert_eq!(answer(&mut guest(), "fd_read", &[(0, CLOSED)]), Err(Errno::Badf));
}

#[test]
fn counts_of_vectors_do_not_wrap() {
    let begin = cpu_time();
    for name in ["fd_read", "fd_pread", "fd_write", "fd_pwrite", "sock_recv", "sock_send"] {
        for count in [1025, 1 << 26, 1 << 29, (1 << 29) + 1, (1 << 29) + 2, 1 << 31, u32::MAX] {
            let answer = answer(&mut guest(), name, &[(2, count.into())]);
            assert_eq!(answer, Err(Errno::Inval), "{name} {count}");
        }
        // As many as are allowed, all of them empty.
        let calls = &mut guest();
        calls.put(DATA, &[0; 8 * 1024]);
        let answer = answer(calls, name, &[(1, DATA.into()), (2, 1024)]);
        assert_eq!(answer, Ok(()), "{name}");
    }
    assert!(cpu_time() - begin < Duration::from_secs(10), "{:?}", cpu_time() - begin);
}

#[test]
fn counts_of_subscriptions_do_not_wrap() {
    // 2^27 events and 2^28 / 3 subscriptions are 2^32 bytes.
    for count in [0, (1 << 14) + 1, 1 << 27, 89_478_485, 89_478_486, 1 << 31, u32::MAX] {
        let answer = answer(&mut guest(), "poll_oneoff", &[(2, count.into())]);
        assert_eq!(answer, Err(Errno::Inval), "{count}");
    }
    // The most there can be do not fit this memory.
    let answer = answer(&mut guest(), "poll_oneoff", &[(2, 1 << 14)]);
    assert_eq!(answer, Err(Errno::Fault));
}

/// Four gigabytes, in every function that takes a length with a pointer.
#[test]
fn lengths_do_not_wrap() {
    let mut tried = 0;
    for row in TABLE {
        for (index, pair) in row.params.windows(2).enumerate() {
            let pointer = matches!(pair[0].kind, Kind::Path | Kind::Out);
            if !pointer || pair[1].kind != Kind::Size || row.name == "poll_oneoff" {
                continue;
            }
            tried += 1;
            // A preopen's name is as long as it is; a longer buffer needs not be there.
            let fits = row.name == "fd_prestat_dir_name";
            for len in [u32::MAX, u32::MAX - 0x400, 1 << 31] {
                let calls = &mut guest();
                let answer = answer(calls, row.name, &[(index + 1, len.into())]);
                let expected = if fits { Ok(()) } else { Err(Errno::Fault) };
                assert_eq!(answer, expected, "{} {}", row.name, pair[1].name);
            }
        }
    }
    assert_eq!(tried, 17);
}

/// A bit at a time, of all that the spec has no flag for.
#[test]
fn unknown_flags_are_einval() {
    let flags = [
        ("fd_fdstat_set_flags", "flags", 5),
        ("fd_filestat_set_times", "fst_flags", 4),
        ("path_filestat_get", "flags", 1),
        ("path_filestat_set_times", "flags", 1),
        ("path_filestat_set_times", "fst_flags", 4),
        ("path_link", "old_flags", 1),
        ("path_open", "dirflags", 1),
        ("path_open", "oflags", 4),
        ("path_open", "fdflags", 5),
        ("sock_accept", "flags", 5),
        ("sock_recv", "ri_flags", 2),
        ("sock_send", "si_flags", 0),
        ("sock_shutdown", "how", 2),
    ];
    for (name, param, known) in flags {
        for bit in known..32 {
            let calls = &mut guest();
            let answer = answer(calls, name, &[(position(name, param), 1 << bit)]);
            assert_eq!(answer, Err(Errno::Inval), "{name} {param} bit {bit}");
        }
    }
    let named = |row: &&tinyhost::wasi::Row| row.params.iter().any(|p| p.name.contains("flags"));
    for row in TABLE.iter().filter(named) {
        assert!(flags.iter().any(|(name, ..)| *name == row.name), "{} is tried", row.name);
    }
}

#[test]
fn unknown_values_are_einval() {
    for value in [2, 3, 4, 99, u64::from(u32::MAX)] {
        for name in ["clock_res_get", "clock_time_get"] {
            assert_eq!(answer(&mut guest(), name, &[(0, value)]), Err(Errno::Inval), "{value}");
        }
        if value > 2 {
            let seek = answer(&mut guest(), "fd_seek", &[(2, value)]);
            assert_eq!(seek, Err(Errno::Inval), "{value}");
        }
        if value > 5 {
            let advise = answer(&mut guest(), "fd_advise", &[(3, value)]);
            assert_eq!(advise, Err(Errno::Inval), "{value}");
        }
        if value > 30 {
            let raise = answer(&mut guest(), "proc_raise", &[(0, value)]);
            assert_eq!(raise, Err(Errno::Inval), "{value}");
        }
    }
    assert_eq!(answer(&mut guest(), "sock_shutdown", &[(1, 0)]), Err(Errno::Inval));
    // Both a time and now for one of them.
    for flags in [3, 12, 7, 15] {
        for (name, index) in [("fd_filestat_set_times", 3), ("path_filestat_set_times", 6)] {
            assert_eq!(answer(&mut guest(), name, &[(index, flags)]), Err(Errno::Inval));
        }
    }
}

/// A subscription that can't be read is refused before anything is written, wherever it is
/// among the others.
#[test]
fn bad_subscriptions_are_einval_and_write_nothing() {
    for (at, value) in (3..=255).map(|tag| (8, tag)).chain((1..8).map(|bit| (40, 1 << bit))) {
        for first in [true, false] {
            let calls = &mut guest();
            let mut records = subscriptions();
            let bad = if first { 0 } else { 48 };
            records[bad..bad + 48].fill(0);
            records[bad + at] = value as u8;
            calls.put(DATA, &records);
            let before = calls.memory().to_vec();
            let args = [DATA.into(), u64::from(OUT), 2, 0x100];
            assert_eq!(calls.call("poll_oneoff", &args), Err(Errno::Inval), "{at} {value}");
            assert!(calls.memory() == before, "{at} {value}");
        }
    }
}

/// Offsets and sizes are signed on every host.
#[test]
fn offsets_beyond_the_largest_are_refused() {
    for offset in [1 << 63, u64::MAX, u64::MAX - 7] {
        for (name, index) in [("fd_pread", 3), ("fd_pwrite", 3), ("fd_filestat_set_size", 1)] {
            let answer = answer(&mut guest(), name, &[(index, offset)]);
            assert_eq!(answer, Err(Errno::Inval), "{name} {offset:#x}");
        }
        let allocate = answer(&mut guest(), "fd_allocate", &[(1, offset)]);
        assert_eq!(allocate, Err(Errno::Fbig), "{offset:#x}");
        let advise = answer(&mut guest(), "fd_advise", &[(1, offset)]);
        assert_eq!(advise, Err(Errno::Inval), "{offset:#x}");
    }
    let largest = i64::MAX.cast_unsigned();
    assert_eq!(answer(&mut guest(), "fd_pread", &[(3, largest)]), Ok(()));
    assert_eq!(answer(&mut guest(), "fd_pwrite", &[(3, largest)]), Err(Errno::Fbig));
    assert!(arguments("proc_exit").is_none());
}
