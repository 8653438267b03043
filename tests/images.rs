//! `tinyhost warm` and `run --checkpoint`: programs that become files, and go on from them.

mod util;

use rustix::process::Signal;
use util::{Ended, Process, TempDir, fixture, run, tinyhost};

/// Numbers its lines. Before the first it computes what it begins each reply with.
const COUNT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  ;; 0: where a call's bytes are and how many, 8: how many it was, 16: the byte, 64: the reply.
  (func $byte (result i32)
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (result i32) (i32.load (i32.const 8)) (then (i32.load8_u (i32.const 16)))
      (else (i32.const -1))))
  (func $put (param $to i32) (param $byte i32) (result i32)
    (i32.store8 (local.get $to) (local.get $byte)) (i32.add (local.get $to) (i32.const 1)))
  ;; The rest of a line, and where it ends. -1 at the end of input.
  (func $line (param $to i32) (result i32) (local $c i32)
    (loop $more
      (if (i32.lt_s (local.tee $c (call $byte)) (i32.const 0)) (then (return (i32.const -1))))
      (local.set $to (call $put (local.get $to) (local.get $c)))
      (br_if $more (i32.ne (local.get $c) (i32.const 10))))
    (local.get $to))
  (func (export "_start") (local $end i32) (local $i i32)
    (loop $compute
      (i32.store8 (i32.add (i32.const 64) (local.get $i)) (i32.add (i32.const 97) (local.get $i)))
      (br_if $compute
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
    (loop $lines
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (drop (call $put (i32.const 67) (i32.add (i32.const 48) (global.get $n))))
      (if (i32.ge_s (local.tee $end (call $line (i32.const 68))) (i32.const 0))
        (then
          (i32.store (i32.const 0) (i32.const 64))
          (i32.store (i32.const 4) (i32.sub (local.get $end) (i32.const 64)))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
          (br $lines))))))"#;

/// A program in a folder of its own: the folder, and its path.
fn program(text: &str) -> (TempDir, String) {
    let dir = TempDir::new();
    let path = dir.file("program.wasm", &wat::parse_str(text).expect("it is a module"));
    (dir, path)
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().expect("UTF-8").to_owned()
}

/// `tinyhost warm ARGS...`, to its end.
fn warm(args: &[&str]) -> Ended {
    Process::start(tinyhost(["warm"].iter().chain(args))).input(b"it is not read\n").end()
}

#[test]
fn a_warm_program_goes_on_from_its_first_read() {
    let (dir, program) = program(COUNT);
    let image = path(&dir, "image.wasm");
    warm(&["-o", &image, &program]).expect(0, "", "");
    let module = std::fs::read(&image).unwrap();
    // What it computed before is in it, and it takes all of its input.
    run(&[&image], b"x\ny\n").expect(0, "abc1x\nabc2y\n", "");
    // It is the same each time.
    warm(&["--output", &image, &program]).expect(0, "", "");
    assert!(std::fs::read(&image).unwrap() == module);
    // An image is a program, and may be warmed.
    let second = path(&dir, "second.wasm");
    warm(&[&image, "-o", &second]).expect(0, "", "");
    run(&[&second], b"x\ny\n").expect(0, "abc1x\nabc2y\n", "");
}

#[test]
fn real_programs_answer_as_they_do_cold() {
    let dir = TempDir::new();
    let image = path(&dir, "image.wasm");
    for (name, input) in [
        ("promptreply", "a line\n"),
        ("linefilter", "a line\n"),
        ("cat", "one\ntwo\n"),
        ("markdown", "# Title\n\nSome *text*.\n"),
    ] {
        let program = fixture(name);
        let cold = run(&[&program], input.as_bytes());
        let ended = warm(&["-o", &image, &program]);
        assert_eq!(ended.status, Some(0), "{name}: {ended:?}");
        let warmed = run(&[&image], input.as_bytes());
        let all = [&ended.stdout[..], &warmed.stdout].concat();
        assert_eq!(
            (warmed.status, String::from_utf8_lossy(&all)),
            (cold.status, String::from_utf8_lossy(&cold.stdout)),
            "{name}"
        );
    }
}

#[test]
fn a_program_that_can_not_be_warmed_is_named_with_the_reason() {
    let dir = TempDir::new();
    let image = path(&dir, "image.wasm");
    let refused = |args: &[&str], why: &str| {
        let args = [&["-o", &image], args].concat();
        let program = args.iter().rfind(|arg| arg.ends_with(".wasm")).unwrap();
        warm(&args).expect(125, "", &format!("tinyhost: {program}: {why}\n"));
        assert!(!dir.path().join("image.wasm").exists(), "nothing is written");
    };
    refused(&[&fixture("hello")], "can't be warmed: it never reads standard input");
    refused(&[&fixture("missing")], "can't be warmed: it never reads standard input");
    // It reads only if it is given an argument.
    let text = COUNT.replace(
        "(local $end i32) (local $i i32)",
        "(local $end i32) (local $i i32)
         (drop (call $sizes (i32.const 0) (i32.const 4)))
         (if (i32.lt_u (i32.load (i32.const 0)) (i32.const 2)) (then (return)))",
    );
    let import = "(module (import \"wasi_snapshot_preview1\" \"args_sizes_get\"
        (func $sizes (param i32 i32) (result i32)))";
    let (folder, picky) = program(&text.replace("(module", import));
    refused(
        &[&picky],
        "can't be warmed: it ended with status 0 before it read standard input: give it the \
         arguments with which it reads",
    );
    warm(&["-o", &image, &picky, "x"]).expect(0, "", "");
    std::fs::remove_file(&image).unwrap();
    let _ = folder;
    refused(&["--fuel", "10", &picky, "x"], "ran out of fuel (raise the limit with --fuel)");
    warm(&[&fixture("cat")]).expect(
        2,
        "",
        "tinyhost: no file given to write the module to: write tinyhost warm -o FILE PROGRAM\n",
    );
}

/// Opens a file, reads a byte of it, and then its standard input.
const OPENS: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\01") (data (i32.const 32) "file.txt")
  (func $copy (param $fd i32)
    (drop (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $fd i32)
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 8) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))
    (local.set $fd (i32.load (i32.const 64)))
    (call $copy (local.get $fd)) (call $copy (i32.const 0)) (call $copy (local.get $fd))))"#;

#[test]
fn an_open_file_is_opened_again_where_it_was() {
    let (dir, program) = program(OPENS);
    let file = dir.file("file.txt", b"ab");
    let (mount, image) = (dir.mounted_at("/d"), path(&dir, "image.wasm"));
    let said = format!(
        "tinyhost: {program}: it has files open when it reads: only tinyhost can open them again\n\
         tinyhost: {program}: it wrote to standard output before it read: the module does not write \
         that again\n"
    );
    warm(&["-o", &image, "--dir", &mount, &program]).expect(0, "a", &said);
    run(&["--dir", &mount, &image], b"x").expect(0, "xb", "");
    // The same for a checkpoint, and a checkpoint of what goes on from it.
    let again = path(&dir, "again.wasm");
    for (from, to, before) in [(&program, &image, "a"), (&image, &again, "")] {
        let mut process =
            Process::start(tinyhost(["run", "--checkpoint", to, "--dir", &mount, from]));
        process.wait_for_stdout(before);
        if before.is_empty() {
            // It says nothing before it reads.
            process.wait_until_it_catches(Signal::USR1);
        }
        process.signal(Signal::USR1);
        process.wait_for_line("checkpoint written");
        process.close_stdin();
        assert_eq!(process.end().status, Some(0));
    }
    run(&["--dir", &mount, &again], b"x").expect(0, "xb", "");
    // What it needs is not there, or not what it was.
    let said = |why: &str| format!("tinyhost: {again}: {why}\n");
    let needs = "it needs a directory at /d: add --dir HOST::/d";
    run(&[&again], b"x").expect(125, "", &said(needs));
    let needs = "it needs /dev: leave out --no-dev";
    run(&["--no-dev", "--dir", &mount, &again], b"x").expect(125, "", &said(needs));
    std::fs::remove_file(file).unwrap();
    let gone = run(&["--dir", &mount, &again], b"x");
    assert_eq!(gone.status, Some(125), "{gone:?}");
    assert!(gone.stderr.contains("can't open /d/file.txt again"), "{gone:?}");
}

/// Dials, and waits for its standard input with the connection open.
#[test]
fn a_connection_is_named_and_kept() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let name = format!("127.0.0.1:{port}");
    let module = OPENS
        .replace("file.txt", &name)
        .replace(
            "(i32.const 32) (i32.const 8)",
            &format!("(i32.const 32) (i32.const {})", name.len()),
        )
        .replace(
            "(call $copy (local.get $fd)) (call $copy (i32.const 0))",
            "(call $copy (i32.const 0))",
        )
        .replace("(i64.const 2)", "(i64.const 66)");
    let (dir, program) = program(&module);
    let image = path(&dir, "image.wasm");
    let net = ["--net", "127.0.0.1:*"];
    let ended = warm(&[&net[..], &["-o", &image, &program]].concat());
    assert_eq!(ended.status, Some(125), "{ended:?}");
    let why = "is open, and a connection can't be opened again";
    assert!(ended.stderr.contains(why), "{ended:?}");
    // No checkpoint is taken, and it goes on.
    let args = [&["run", "--checkpoint", &image][..], &net, &[&program]].concat();
    let mut process = Process::start(tinyhost(args));
    // The first was that of `warm`.
    drop(listener.accept().unwrap());
    let (mut peer, _) = listener.accept().unwrap();
    process.wait_until_it_catches(Signal::USR1);
    process.signal(Signal::USR1);
    process.wait_for_line(&format!("no checkpoint: /dev/{name} {why}"));
    std::io::Write::write_all(&mut peer, b"y").unwrap();
    process.write(b"x");
    process.wait_for_stdout("xy");
    assert_eq!(process.end().status, Some(0));
}

#[test]
fn an_image_that_was_cut_or_changed_is_refused() {
    let (dir, program) = program(COUNT);
    let image = path(&dir, "image.wasm");
    warm(&["-o", &image, &program]).expect(0, "", "");
    let whole = std::fs::read(&image).unwrap();
    let refused = |bytes: &[u8]| {
        let file = dir.file("bad.wasm", bytes);
        let ended = run(&[&file], b"x\n");
        assert_eq!((ended.status, ended.stdout.len()), (Some(125), 0), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        ended.stderr
    };
    for len in (0..whole.len()).step_by(7) {
        refused(&whole[..len]);
    }
    let said = refused(&whole[..whole.len() - 1]);
    assert!(said.contains("an image that is cut off"), "{said}");
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(refused(&changed).contains("an image that is damaged"));
    let at = (8..40).find(|at| whole[*at..].starts_with(b"tinyhost.image")).unwrap();
    let mut newer = whole.clone();
    newer[at + "tinyhost.image".len()] = 9;
    assert!(refused(&newer).contains("an image that is of another version"));
}

#[test]
fn what_is_printed_before_the_read_is_printed_once() {
    let (dir, program) = program(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read"
            (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write"
            (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\10\00\00\00\02\00\00\00") (data (i32.const 16) "> ")
          (func (export "_start")
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let image = path(&dir, "image.wasm");
    warm(&["-o", &image, &program]).expect(
        0,
        "> ",
        &format!(
            "tinyhost: {program}: it wrote to standard output before it read: the module does not \
             write that again\n"
        ),
    );
    run(&[&image], b"xy").expect(0, "xy", "");
}

#[test]
fn a_guest_is_stopped_and_goes_on_from_a_file() {
    let (dir, program) = program(COUNT);
    let file = path(&dir, "checkpoint.wasm");
    let again = path(&dir, "again.wasm");
    let mut process = Process::start(tinyhost(["run", "--checkpoint", &file, &program]));
    process.write(b"a\nb\n");
    process.wait_for_stdout("abc1a\nabc2b\n");
    process.signal(Signal::USR1);
    let said =
        format!("tinyhost: {program}: checkpoint written: continue it with tinyhost run {file}\n");
    process.end().expect(0, "abc1a\nabc2b\n", &said);
    // The rest of its input, and once more to a checkpoint.
    let mut process = Process::start(tinyhost(["run", "--checkpoint", &again, &file]));
    process.write(b"c\nd");
    process.wait_for_stdout("abc3c\n");
    process.signal(Signal::USR1);
    let said =
        format!("tinyhost: {file}: checkpoint written: continue it with tinyhost run {again}\n");
    process.end().expect(0, "abc3c\n", &said);
    // In the middle of a line.
    run(&[&again], b"e\nf\n").expect(0, "abc4de\nabc5f\n", "");
    // It ends as ever if no checkpoint is asked for.
    run(&["--checkpoint", &again, &file], b"c\n").expect(0, "abc3c\n", "");
}

#[test]
fn a_checkpoint_waits_for_the_next_read() {
    // It reads, computes for ever if it is given an x, and reads again if it isn't.
    let (dir, program) = program(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read"
            (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\01")
          (func (export "_start") (loop $l
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (loop $spin (br_if $spin (i32.eq (i32.load8_u (i32.const 16)) (i32.const 120))))
            (br_if $l (i32.load (i32.const 8))))))"#,
    );
    let file = path(&dir, "checkpoint.wasm");
    let mut process = Process::start(tinyhost(["run", "--checkpoint", &file, &program]));
    process.write(b"x");
    process.wait_until_busy();
    process.signal(Signal::USR1);
    let line = process.wait_for_line("checkpoint");
    assert_eq!(
        line,
        format!("tinyhost: {program}: the checkpoint is taken at its next read of standard input")
    );
    // It can still be ended, and is then, by its signal.
    process.signal(Signal::TERM);
    let ended = process.end();
    assert_eq!(ended.signal, Some(15), "{ended:?}");
    assert!(!dir.path().join("checkpoint.wasm").exists());
}
