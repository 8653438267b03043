//! What can be typed, and what can't.

use crate::util::{Process, fixture, tinyhost};

#[test]
fn each_mistake_has_its_message() {
    let cat = fixture("cat");
    for (options, status, said) in [
        (
            &["--framing=json"][..],
            2,
            "invalid --framing 'json': write lines, length32 or netstring",
        ),
        (&["--on-error=retry"], 2, "invalid --on-error 'retry': write fail, pass, drop or stderr"),
        (&["--window=0"], 2, "invalid --window '0': write a number from 1 to 1048576"),
        (&["--window=2M"], 2, "invalid --window '2M': write a number from 1 to 1048576"),
        (&["--workers=0"], 2, "invalid --workers '0': write a number from 1 to 1024"),
        (
            &["--exact", "--framing=netstring"],
            2,
            "--exact can't be combined with --framing length32 or netstring, where each frame has \
             one reply: leave it out",
        ),
        (
            &["--max-line=0"],
            2,
            "invalid --max-line '0': zero would allow nothing: write more, or \
          leave it out for the default of 64K",
        ),
        (&["--keep-open"], 2, "'pipe' has no option --keep-open: tinyhost pipe --help lists them"),
        (
            &["--dir", "no/such"],
            125,
            "--dir 'no/such': can't open 'no/such': no such file or \
          directory: check the path on the host (before the '::')",
        ),
    ] {
        let words = ["pipe"].iter().chain(options).copied().chain([&*cat]);
        let ended = Process::start(tinyhost(words)).input(b"a\n").end();
        ended.expect(status, "", &format!("tinyhost: {said}\n"));
    }
    let none = "no program given: write tinyhost pipe [OPTIONS] PROGRAM [ARGS...] (tinyhost pipe \
                --help lists the options)";
    Process::start(tinyhost(["pipe"])).end().expect(2, "", &format!("tinyhost: {none}\n"));
    let stdin = "pipe reads lines from standard input, so the program can't come from there: give \
                 its path";
    let ended = Process::start(tinyhost(["pipe", "-"])).end();
    ended.expect(2, "", &format!("tinyhost: {stdin}\n"));
}

#[test]
fn an_option_after_the_program_is_warned_of() {
    let words = ["pipe", &fixture("envdump"), "--exact"];
    let ended = Process::start(tinyhost(words)).input(b"a\n").end();
    ended.expect(
        0,
        "arg[0]=envdump.wasm\narg[1]=--exact\n",
        "tinyhost: --exact comes after the program name, so it is passed to each guest: put \
         options for pipe before the program name\n",
    );
}

#[test]
fn a_trace_tells_the_lines_apart() {
    let words = ["pipe", "--trace=fd", &fixture("echo")];
    let ended = Process::start(tinyhost(words)).input(b"a\nb\n").end();
    assert_eq!((ended.status, &ended.stdout[..]), (Some(0), &b"a\nb\n"[..]));
    for line in ["line 1", "line 2"] {
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }
}
