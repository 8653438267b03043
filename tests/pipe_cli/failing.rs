//! What becomes of lines that fail.

use super::guest::pipe;

const CONTINUES: &str = "(--on-error pass, drop or stderr goes on after it)";

#[test]
fn the_first_failure_ends_the_filter_after_the_replies_before_it() {
    for workers in ["1", "4"] {
        let input: String = (0..500).map(|i| format!("a{i}\n")).collect();
        let input = format!("{input}x\n{input}T\n");
        let replies: String = (0..500).map(|i| format!("a{i}\n")).collect();
        pipe(&["--workers", workers], input.as_bytes()).expect(
            1,
            &replies,
            &format!("tinyhost: line 501: exit status 3 {CONTINUES}\n"),
        );
    }
}

#[test]
fn a_line_that_fails_is_passed_dropped_or_reported() {
    let input = b"a\nx1\nb\nTrap\ne oh no\nc\n";
    let trap = "line 4: unreachable executed";
    let summary = "tinyhost: 3 of 6 lines failed\n";
    let first = |stderr: &str| stderr.lines().take(4).map(str::to_owned).collect::<Vec<_>>();
    for (on_error, output) in [("pass", &input[..]), ("drop", b"a\nb\nc\n")] {
        let ended = pipe(&["--on-error", on_error], input);
        assert_eq!((ended.status, ended.stdout.as_slice()), (Some(1), output), "{}", ended.stderr);
        let lines = first(&ended.stderr);
        assert_eq!(lines[0], "tinyhost: line 2: exit status 3");
        assert!(lines[1].starts_with(&format!("tinyhost: {trap}")), "{lines:?}");
        assert_eq!(lines[2..], ["tinyhost: line 5: e oh no", "tinyhost: line 5: exit status 1"]);
        assert!(ended.stderr.ends_with(summary), "{}", ended.stderr);
    }
    let ended = pipe(&["--on-error=stderr"], input);
    assert_eq!((ended.status, ended.stdout.as_slice()), (Some(1), &b"a\nb\nc\n"[..]));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "one for each that failed: {lines:?}");
    assert_eq!(lines[0], "line 2: exit status 3");
    assert!(lines[1].starts_with(trap), "{lines:?}");
    assert_eq!(lines[2], "line 5: exit status 1: e oh no");
}

/// The reader of standard error takes a line for each failure.
#[test]
fn each_failure_has_its_line_on_stderr_however_many_there_are() {
    let ended = pipe(&["--on-error=stderr", "--workers=3"], "x\nE said\n".repeat(3000).as_bytes());
    assert_eq!(ended.status, Some(1));
    assert_eq!(ended.stdout, "E said\n".repeat(3000).into_bytes());
    let expected: String =
        (0..3000).map(|i| format!("line {}: exit status 3\n", 2 * i + 1)).collect();
    assert!(ended.stderr == expected, "{}", &ended.stderr[..ended.stderr.len().min(500)]);
}

#[test]
fn messages_are_limited_and_what_is_left_out_is_counted() {
    let ended = pipe(&["--on-error=drop"], "x\n".repeat(5000).as_bytes());
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() < 2000, "{} lines", lines.len());
    let left_out: usize = lines.iter().filter_map(|line| left_out(line)).sum();
    let said = lines.iter().filter(|line| line.ends_with("exit status 3")).count();
    assert_eq!(said + left_out, 5000);
    assert_eq!(lines.last(), Some(&"tinyhost: 5000 of 5000 lines failed"));
}

fn left_out(line: &str) -> Option<usize> {
    let (count, _) = line.strip_prefix("tinyhost: ")?.split_once(" more messages were left out")?;
    count.parse().ok()
}

#[test]
fn what_a_guest_says_can_forge_no_line() {
    let ended = pipe(&["--on-error=stderr"], b"e \x1b[2J\x07\rline 1: fine\n");
    ended.expect(1, "", "line 1: exit status 1: e \\u{1b}[2J\\u{7}\\rline 1: fine\n");
}

#[test]
fn a_line_that_is_too_long_fails_and_the_next_is_read() {
    let long = "y".repeat(300_000);
    let input = format!("a\n{long}\nb\n{long}");
    let why = "the line is longer than 65536 bytes (raise the limit with --max-line)";
    let said = format!(
        "tinyhost: line 2: {why}\ntinyhost: line 4: {why}\ntinyhost: 2 of 4 lines failed\n"
    );
    pipe(&["--on-error=drop"], input.as_bytes()).expect(1, "a\nb\n", &said);
    pipe(&["--on-error=pass"], input.as_bytes()).expect(1, &input, &said);
    let said = format!("tinyhost: line 2: {why} {CONTINUES}\n");
    pipe(&[], input.as_bytes()).expect(1, "a\n", &said);
    pipe(&["--max-line=300000"], input.as_bytes()).expect(0, &input, "");
}

#[test]
fn each_limit_says_which_option_raises_it() {
    let reason = |options: &[&str], line: &[u8]| {
        let ended = pipe(&[&["--on-error=stderr"], options].concat(), line);
        assert_eq!((ended.status, &ended.stdout[..]), (Some(1), &b""[..]), "{}", ended.stderr);
        ended.stderr
    };
    for line in [&b"s\n"[..], b"W\n"] {
        assert_eq!(
            reason(&["--timeout=100ms"], line),
            "line 1: timed out after 100ms (raise the limit with --timeout)\n"
        );
    }
    assert_eq!(
        reason(&["--max-reply=1M"], b"FF\n"),
        "line 1: its reply is longer than 1048576 bytes (raise the limit with --max-reply)\n"
    );
    assert!(reason(&["--memory=1M"], b"m\n").contains("(raise the limit with --memory)"));
    let fuel = reason(&["--fuel=100k"], b"s\n");
    assert!(fuel.contains("fuel"), "{fuel}");
    let cpu = reason(&["--cpu=50ms"], b"s\n");
    assert!(cpu.contains("CPU"), "{cpu}");
}
