//! What an item is, and what a reply.

use super::guest::{command, pipe};
use crate::util::{Process, TempDir, fixture, tinyhost};

fn frames(items: &[&[u8]]) -> Vec<u8> {
    let frame =
        |item: &&[u8]| [&u32::try_from(item.len()).unwrap().to_be_bytes()[..], item].concat();
    items.iter().flat_map(frame).collect()
}

#[test]
fn lines_come_out_as_they_went_in() {
    for input in [
        &b""[..],
        b"\n",
        b"\n\n\na\n\n",
        b"a\nlast",
        b"a\r\n\0b\xff\xfe\n\xc3(\n",
        b"one line without its newline",
    ] {
        let ended = pipe(&[], input);
        assert_eq!((ended.status, ended.stdout.as_slice()), (Some(0), input), "{}", ended.stderr);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_reply_may_be_any_number_of_lines_and_ends_with_a_newline() {
    pipe(&[], b"a\n2b\n0c\nnd\n2e").expect(0, "a\n2b\n2b\nnd\n2e2e", "");
}

#[test]
fn an_exact_reply_is_one_line() {
    pipe(&["--exact"], b"a\nnb\nc").expect(0, "a\nnb\nc", "");
    let continues = "(--on-error pass, drop or stderr goes on after it)";
    let two = "its reply has 2 lines (--exact wants one)";
    pipe(&["--exact"], b"a\n2b\nc\n").expect(
        1,
        "a\n",
        &format!("tinyhost: line 2: {two} {continues}\n"),
    );
    let none = "its reply has 0 lines (--exact wants one)";
    pipe(&["--exact", "--on-error=pass"], b"a\n0b\nc\n").expect(
        1,
        "a\n0b\nc\n",
        &format!("tinyhost: line 2: {none}\ntinyhost: 1 of 3 lines failed\n"),
    );
}

#[test]
fn frames_are_answered_with_frames() {
    let input = frames(&[b"one", b"", b"two\nlines", b"2x", b"0"]);
    let ended = pipe(&["--framing=length32"], &input);
    let output = frames(&[b"one", b"", b"two\nlines", b"2x2x", b""]);
    assert_eq!((ended.status, &ended.stdout), (Some(0), &output), "{}", ended.stderr);
    pipe(&["--framing", "netstring"], b"3:one,0:,2:2x,2:\n\n,").expect(
        0,
        "3:one,0:,4:2x2x,2:\n\n,",
        "",
    );
}

#[test]
fn a_frame_that_fails_is_passed_on_as_a_frame() {
    let said = "tinyhost: frame 2: exit status 3\ntinyhost: 1 of 3 frames failed\n";
    pipe(&["--framing=netstring", "--on-error=pass"], b"1:a,2:xy,1:b,").expect(
        1,
        "1:a,2:xy,1:b,",
        said,
    );
    pipe(&["--framing=netstring", "--on-error=drop"], b"1:a,2:xy,1:b,").expect(1, "1:a,1:b,", said);
}

#[test]
fn a_broken_frame_ends_the_filter_after_those_before_it() {
    let check = "check --framing and what writes the frames";
    for (input, output, why) in [
        (&b"1:a,2:bc"[..], "1:a,", "the input ends in the middle of it"),
        (b"1:a,x", "1:a,", "a netstring has to begin with its length"),
        (b"1:a,02:bc,", "1:a,", "the length of a netstring has a zero in front"),
        (b"1:a,2:bcd", "1:a,", "a netstring has to end with a comma"),
        (b"1:a,2;bc,", "1:a,", "the length of a netstring has to end with a colon"),
    ] {
        let said = format!("tinyhost: frame 2 of standard input: {why}: {check}\n");
        pipe(&["--framing=netstring"], input).expect(1, output, &said);
    }
    let ended = pipe(&["--framing=length32"], b"\xff\xff\xff\xffhello");
    let why = "the input ends in the middle of it";
    ended.expect(1, "", &format!("tinyhost: frame 1 of standard input: {why}: {check}\n"));
}

#[test]
fn input_is_a_file_or_a_pipe_and_no_directory() {
    let dir = TempDir::new();
    dir.file("lines", b"a\nb\n");
    let file = std::fs::File::open(dir.path().join("lines")).unwrap();
    Process::start_with_stdin(command(&[]), file.into()).end().expect(0, "a\nb\n", "");
    let folder = std::fs::File::open(dir.path()).unwrap();
    Process::start_with_stdin(command(&[]), folder.into()).end().expect(
        125,
        "",
        "tinyhost: can't read standard input: is a directory: give it lines, such as with < FILE\n",
    );
}

/// What another process has made non-blocking is waited for all the same.
#[test]
fn input_and_output_may_be_non_blocking() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut command = command(&[]);
    command
        .stdout(std::process::Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap())));
    command.stdin(std::os::fd::OwnedFd::from(theirs)).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    let mut input = ours.try_clone().unwrap();
    let lines = "a line of some length\n".repeat(100_000);
    let sent = lines.clone();
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        input.write_all(sent.as_bytes()).unwrap();
        input.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut output = String::new();
    std::io::Read::read_to_string(&mut &ours, &mut output).unwrap();
    feeder.join().unwrap();
    assert!(output == lines, "{} bytes came of {}", output.len(), lines.len());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn guests_have_arguments_variables_and_files() {
    let program = fixture("envdump");
    let words = ["pipe", "--env", "A=1", &program, "arg"];
    let ended = Process::start(tinyhost(words)).input(b"\n\n").end();
    let one = "arg[0]=envdump.wasm\narg[1]=arg\nA=1\n";
    ended.expect(0, &one.repeat(2), "");
    let program = fixture("cat");
    let words = ["pipe", "--dir", "fixtures::/f::ro", &program, "/f/cat.json"];
    let ended = Process::start(tinyhost(words)).input(b"x\ny\n").end();
    let file = std::fs::read_to_string(crate::util::root().join("fixtures/cat.json")).unwrap();
    ended.expect(0, &format!("{0}\n{0}\n", file.trim_end()), "");
}
