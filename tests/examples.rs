//! The examples are run, and print what their texts promise.

use std::process::Command;

/// What an example prints. Cargo has built it together with this test.
fn run(name: &str, args: &[&str]) -> String {
    let mut dir = std::env::current_exe().expect("a test has a file");
    // target/PROFILE/deps/examples-HASH -> target/PROFILE/examples/NAME
    dir.pop();
    dir.pop();
    let path = dir.join("examples").join(name);
    let output = Command::new(&path).args(args).output().unwrap_or_else(|error| {
        panic!("{} can't be run ({error}): build it with `cargo build --examples`", path.display())
    });
    let text = |bytes| String::from_utf8(bytes).expect("examples print text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{name}: {}\n{stdout}{stderr}", output.status);
    assert_eq!(stderr, "", "{name}");
    stdout
}

#[test]
fn plugins_share_a_namespace() {
    let expected = "fstour: ok\n\
        dial: 40\n\
        cat: written by the host\n42\n\
        the application: 42\n";
    assert_eq!(run("plugins", &[]), expected);
}

#[test]
fn a_frame_loop_is_never_held_up() {
    let expected = "frame 3: jump\n\
        frame 3: Exited(0)\n\
        frame 7: slept\n\
        frame 7: Exited(0)\n\
        the third one used all that was left: true\n";
    assert_eq!(run("frames", &[]), expected);
}

#[test]
fn a_pipeline_has_back_pressure() {
    let expected = "nobody reads: the first waits, with 4096 bytes in the pipe\n\
        two of three: 2 wait, with 4096 bytes in the pipe\n\
        all three: 10000 list items\n";
    assert_eq!(run("pipeline", &[]), expected);
}

/// Within one process the example compares for itself; across two, this does.
#[test]
fn a_deterministic_run_is_the_same_byte_for_byte() {
    let first = run("deterministic", &["7"]);
    assert!(first.ends_with("the same twice\n"), "{first}");
    assert_eq!(first, run("deterministic", &["7"]));
    assert_ne!(first, run("deterministic", &["8"]), "the seed is used");
}

#[test]
fn a_linker_of_ones_own_works_plainly_and_resumably() {
    assert_eq!(run("wasmi_linker", &[]), "plain 1\nit waits\nresumed 1\n");
}
