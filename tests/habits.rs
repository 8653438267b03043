//! What people type without looking it up.

mod util;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use util::{Ended, Process, TempDir, answer, fixture, root, run, tinyhost, typed};

#[test]
fn a_value_may_follow_an_equals_sign() {
    let cat = fixture("cat");
    run(&["--dir=fixtures/tree::/", &cat, "/hello.txt"], b"").expect(
        0,
        "hello from the tree\n",
        "",
    );
    let shown = run(&["--env=A=b=c", &fixture("envdump"), "--env=own"], b"");
    shown.expect(0, "arg[0]=envdump.wasm\narg[1]=--env=own\nA=b=c\n", "");
    let line = "tinyhost: --stats takes no value: write --stats\n";
    run(&["--stats=yes", &cat], b"").expect(2, "", line);
}

#[test]
fn a_slip_is_answered_with_what_was_meant() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["run", "--tiemout", "5s", "x"],
            "'run' has no option --tiemout: did you mean --timeout?",
        ),
        (&["run", "--mem=1M", "x"], "'run' has no option --mem: did you mean --memory?"),
        (&["serve", "--keepopen"], "'serve' has no option --keepopen: did you mean --keep-open?"),
        (&["run", "--zzz=1", "x"], "'run' has no option --zzz=1: tinyhost run --help lists them"),
        (
            &["run", "--dir"],
            "--dir needs a value: write --dir DIR (mount a directory: HOST[::GUEST][::ro])",
        ),
        (
            &["run", "--trace=files", "x"],
            "--trace: unknown group or call 'files': use fd, path, net, \
           poll, clock, proc, errors, or the name of a call, such as path_open",
        ),
    ];
    for (words, line) in cases {
        typed(words).expect(2, "", &format!("tinyhost: {line}\n"));
    }
    let ended = typed(&["rnu", "x"]);
    assert!(ended.stderr.starts_with("tinyhost: unknown command 'rnu': did you mean 'run'?\n"));
}

#[test]
fn an_option_that_may_be_given_once_is() {
    let cases: [&[&str]; 3] = [
        &["run", "--timeout", "1s", "--timeout=2s", "x"],
        &["run", "--trace", "--trace=fd", "x"],
        &["serve", "--workers", "1", "--workers", "1"],
    ];
    for words in cases {
        let name = words[1];
        let line = format!("tinyhost: {name} is given more than once: give it once\n");
        typed(words).expect(2, "", &line);
    }
    let switch = ["run", "--no-dev", "--no-dev", "--env=A=1", "--env=B=2", &fixture("envdump")];
    typed(&switch).expect(0, "arg[0]=envdump.wasm\nA=1\nB=2\n", "");
}

#[test]
fn what_is_to_be_traced_stands_behind_an_equals_sign() {
    for filter in ["fd", "path,net", "errors", "fd_read"] {
        let says = "--trace takes its value after an equals sign: write --trace";
        typed(&["run", "--trace", filter, "x.wasm"]).expect(
            2,
            "",
            &format!("tinyhost: {says}={filter}\n"),
        );
    }
    // A program may be called so.
    let dir = TempDir::new();
    dir.file("clock", &std::fs::read(root().join(fixture("exit42"))).unwrap());
    let mut command = tinyhost(["run", "--trace", "clock"]);
    command.current_dir(dir.path());
    assert_eq!(Process::start(command).input(b"").end().status, Some(42));
}

/// Stops a server as soon as it says that it listens: from then on it obeys.
fn stopped(server: Process) -> Ended {
    server.wait_for_line("listening on ");
    server.signal(rustix::process::Signal::TERM);
    let ended = server.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    ended
}

#[test]
fn a_server_that_says_it_listens_obeys_signals() {
    for _ in 0..20 {
        stopped(Process::start(tinyhost(["serve", "--bind=127.0.0.1:0"])));
    }
}

#[test]
fn options_behind_the_program_are_its_own_and_that_is_said() {
    let hint = |option: &str| {
        format!(
            "tinyhost: hint: {option} comes after the program name, so it was passed to the \
             program: put options before the program name\n"
        )
    };
    let exit = fixture("exit");
    typed(&["run", &exit, "7", "--timeout", "1s"]).expect(7, "", &hint("--timeout"));
    typed(&["run", &exit, "7", "--memory=1M"]).expect(7, "", &hint("--memory"));
    typed(&["run", "--quiet", &exit, "7", "--memory=1M"]).expect(7, "", "");
    typed(&["run", &exit, "7", "--", "--timeout"]).expect(7, "", "");
    typed(&["run", &exit, "0", "--timeout"]).expect(0, "", "");

    let mut command = tinyhost(["serve", "--bind=127.0.0.1:0", &fixture("echo")]);
    command.args(["--timeout", "1s", "--fuel=5"]);
    let log = stopped(Process::start(command)).stderr;
    let line = "WARN --timeout comes after the program name, so it is passed to each guest: put \
     options";
    assert_eq!((log.matches(line).count(), log.matches("WARN").count()), (1, 1), "{log}");
    let help = answer(&["serve", "--help"]).replace('\n', " ");
    assert!(help.contains("Everything after it is passed to the program."), "{help}");
}

#[test]
fn options_of_other_hosts_are_answered_with_ours() {
    let cases = [
        ("-mount=data:/d", "wazero: here, write --dir data::/d"),
        ("-mount=data:/d:ro", "wazero: here, write --dir data::/d::ro"),
        ("--map-dir=/d::data", "iwasm: here, write --dir data::/d"),
        ("--mapdir=/d::data", "wasmtime and wasmer: here, write --dir data::/d"),
        ("--mapdir=/d:data", "wasmtime and wasmer: here, write --dir data::/d"),
        ("--volume=data:/d", "another program: here, write --dir data::/d"),
        ("--addr-pool=10.0.0.0/8", "iwasm: here, write --net 10.0.0.0/8:*"),
        ("--tcplisten=127.0.0.1:80", "wasmtime: here, write --listen 127.0.0.1:80"),
    ];
    for (word, line) in cases {
        let name = word.split('=').next().unwrap();
        typed(&["run", word, "x"]).expect(
            2,
            "",
            &format!("tinyhost: {name} is an option of {line}\n"),
        );
    }
    let line = "tinyhost: there is no --invoke: tinyhost runs the _start function of a program: \
                leave it out\n";
    typed(&["run", "--invoke", "main", "x"]).expect(2, "", line);
}

#[test]
fn help_fits_a_screen() {
    for command in ["run", "serve", "completions", "man"] {
        let help = answer(&[command, "--help"]);
        assert_eq!(answer(&["help", command]), help);
        let (lines, columns) =
            (help.lines().count(), help.lines().map(|l| l.chars().count()).max());
        assert!(
            lines <= 48 && columns <= Some(84),
            "{command}: {lines} lines, {columns:?}\n{help}"
        );
        assert!(help.contains("examples:\n  tinyhost "), "{help}");
        assert!(!help.contains('\x1b'), "no colours where there is no terminal");
    }
    let overview = answer(&["--help"]);
    assert!(overview.lines().count() <= 24, "{overview}");
    assert_eq!(answer(&["-h"]), overview);
    assert_eq!(answer(&["help"]), overview);
    let usage = typed(&[]);
    assert_eq!(usage.status, Some(2));
    assert!(usage.stderr.contains("tinyhost run [OPTIONS] PROGRAM [ARGS...]"), "{usage:?}");
}

#[test]
fn the_readme_has_every_option() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let of_serve = readme.find("`tinyhost serve [OPTIONS]").unwrap();
    let of_pipe = readme.find("`tinyhost pipe [OPTIONS]").unwrap();
    for (command, section) in [
        ("run", &readme[..of_serve]),
        ("serve", &readme[of_serve..of_pipe]),
        ("pipe", &readme[of_pipe..]),
    ] {
        let help = answer(&[command, "--help"]);
        let options = help.lines().filter_map(|line| line.strip_prefix("  "));
        let words = options.flat_map(|line| line.split([' ', '[', '=']));
        for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            let there = section.split([' ', '`', '[', '=']).any(|word| word == option);
            assert!(there, "the README has nothing of {command} {option}");
        }
    }
}

/// The lowest level has our records, not those of the libraries below.
#[test]
fn a_servers_log_is_its_own_at_every_level() {
    let server = Process::start(tinyhost(["serve", "--bind=127.0.0.1:0", "--log-level=trace"]));
    let line = server.wait_for_line("listening on ");
    let mut client = std::net::TcpStream::connect(line.rsplit_once(' ').unwrap().1).unwrap();
    client.write_all(b"x\n").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    server.wait_for_line("guest ended");
    server.signal(rustix::process::Signal::TERM);
    let log = server.end().stderr;
    let ours = ["listening on", "guest ended", "stopping", "stopped"];
    for line in log.lines() {
        assert!(ours.iter().any(|text| line.contains(text)), "{line}");
    }
}

/// What stands in parentheses at the end is what holds if an option is left out.
#[test]
fn every_limit_says_what_it_is_if_left_out() {
    for command in ["run", "serve"] {
        let help = answer(&[command, "--help"]);
        let limits = help.split("\nlimits:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        assert!(limits.lines().count() >= 5, "{help}");
        for line in limits.lines() {
            assert!(line.ends_with(')'), "{line}");
        }
    }
}

#[test]
fn the_version_tells_what_is_built_in() {
    let version = answer(&["--version"]);
    assert!(
        version.starts_with(concat!("tinyhost ", env!("CARGO_PKG_VERSION"), " (")),
        "{version}"
    );
    for feature in ["+host-fs", "+net", if cfg!(feature = "wat") { "+wat" } else { "-wat" }] {
        assert!(version.contains(feature), "{version}");
    }
}

#[test]
fn a_module_may_come_by_standard_input() {
    let wasm = std::fs::read(root().join(fixture("exit42"))).unwrap();
    let ended = Process::start(tinyhost(["run", "-"])).input(&wasm).end();
    ended.expect(42, "", "");
}

#[test]
fn a_module_in_text_is_run_or_told_what_to_do() {
    let dir = TempDir::new();
    let path = dir.file(
        "true.wat",
        b";; nothing\n(module (memory (export \"memory\") 1) (func (export \"_start\")))",
    );
    let ended = run(&[&path], b"");
    if cfg!(feature = "wat") {
        ended.expect(0, "", "");
    } else {
        let line = "the file is WebAssembly text: convert it with wat2wasm (or wasm-tools \
         parse), or \
                    build tinyhost with --features wat";
        ended.expect(125, "", &format!("tinyhost: {path}: {line}\n"));
    }
}

/// What a shell that is there makes of the completions for it.
fn shell(name: &str, args: &[&str]) -> Option<String> {
    let mut there = Command::new(name);
    there.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !there.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine has no {name}");
        return None;
    }
    let output = Command::new(name).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn completions_know_every_option() {
    for name in ["bash", "zsh", "fish"] {
        let text = answer(&["completions", name]);
        for option in ["trace-format", "keep-open", "max-conns-per-addr", "learn"] {
            assert!(text.contains(option), "{name}: no {option}");
        }
    }
    let refused = typed(&["completions", "tcsh"]);
    let line = "tinyhost: unknown shell 'tcsh': write tinyhost completions bash, zsh or fish\n";
    refused.expect(2, "", line);
}

#[test]
fn bash_completes() {
    let script = answer(&["completions", "bash"]);
    let complete = |words: &str, count: usize| {
        let line = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={count}; _tinyhost; echo \"${{COMPREPLY[*]}}\""
        );
        shell("bash", &["-c", &line])
    };
    let Some(options) = complete("tinyhost run --tr", 2) else { return };
    assert_eq!(options, "--trace --trace-format --trace-file --trace-bytes\n");
    assert_eq!(complete("tinyhost se", 1).unwrap(), "serve\n");
    assert_eq!(complete("tinyhost completions z", 2).unwrap(), "zsh\n");
    // The program's words are its own.
    let dir = root().join("Cargo.tom").display().to_string();
    let files = complete(&format!("tinyhost run --dir . x.wasm {dir}"), 5).unwrap();
    assert_eq!(files.trim_end(), root().join("Cargo.toml").to_str().unwrap());
}

#[test]
fn other_shells_understand_their_completions() {
    let dir = TempDir::new();
    for name in ["zsh", "fish"] {
        let path = dir.file(name, answer(&["completions", name]).as_bytes());
        shell(name, &["-n", &path]);
    }
}

#[test]
fn the_manual_page_is_a_page() {
    let page = answer(&["man"]);
    assert!(page.starts_with(".TH TINYHOST 1 "), "{page}");
    for part in [".SH RUN", ".SH SERVE", ".B \\-\\-trace[=FILTER]", ".SH EXIT STATUS"] {
        assert!(page.contains(part), "no {part}");
    }
    // A line that begins with a dot or quote would be taken for a request.
    let known = [".TH", ".SH", ".SS", ".B", ".TP", ".PP", ".br", ".nf", ".fi"];
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        assert!(known.contains(&line.split(' ').next().unwrap()), "{line}");
    }
}

#[test]
fn no_color_is_obeyed_and_so_is_a_pipe() {
    let mut command = tinyhost(["run", "--trace", &fixture("exit42")]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let ended = Process::start(command).input(b"").end();
    assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
    // On a terminal there are colours, unless NO_COLOR says no.
    let typed = format!("{} run --trace {}", env!("CARGO_BIN_EXE_tinyhost"), fixture("exit42"));
    let on_a_terminal = |no_color: &str| {
        let mut script = Command::new("script");
        script.current_dir(root()).env("TERM", "xterm").env("NO_COLOR", no_color);
        script.args(["-qc", &typed, "/dev/null"]).stdin(Stdio::null());
        script.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (Some(with), Some(without)) = (on_a_terminal(""), on_a_terminal("1")) else {
        return eprintln!("skipped: this machine has no script(1)");
    };
    assert!(with.contains("proc_exit(rval=42)") && with.contains('\x1b'), "{with:?}");
    assert!(without.contains("proc_exit(rval=42)") && !without.contains('\x1b'), "{without:?}");
}

/// What is about lines, connections or echoes has no place beside requests.
#[test]
fn http_says_what_it_can_not_be_combined_with() {
    let linefilter = fixture("linefilter");
    for (options, said) in [
        (&["--http"][..], "--http needs a program"),
        (&["--http", "--per=line", &linefilter], "--http can't be combined with --per"),
        (&["--http", "--keep-open", &linefilter], "--http can't be combined with --keep-open"),
        (&["--http", "--ahead=1", &linefilter], "--ahead can't be combined with --http"),
        (&["--http", "--max-line=1K", &linefilter], "--max-line can't be combined with --http"),
        (&["--scgi"], "--scgi needs a program"),
        (&["--scgi", "--http", &linefilter], "--http can't be combined with --scgi"),
        (&["--scgi", "--keep-open", &linefilter], "--scgi can't be combined with --keep-open"),
        (&["--scgi", "--warm", &linefilter], "--scgi can't be combined with --warm"),
        (&["--scgi", "--ahead=1", &linefilter], "--ahead can't be combined with --scgi"),
        (&["--scgi", "--max-line=1K", &linefilter], "--max-line can't be combined with --scgi"),
        (&["--scgi", "--env=SCRIPT_NAME=a", &linefilter], "--env SCRIPT_NAME: serve sets this"),
        (&["--max-body=1K", &linefilter], "--max-body has no effect without --http"),
        (&["--max-head=1K", &linefilter], "--max-head has no effect without --http"),
        (&["--http", "--max-head=0", &linefilter], "invalid --max-head '0'"),
        (&["--http", "--env=HTTP_HOST=a", &linefilter], "--env HTTP_HOST: serve sets this"),
        (&["--http", "--env=PATH_INFO=a", &linefilter], "--env PATH_INFO: serve sets this"),
    ] {
        let words = ["serve", "--bind=127.0.0.1:0"].iter().chain(options);
        let ended = Process::start(tinyhost(words)).end();
        assert_eq!(ended.status, Some(2), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("tinyhost: {said}")), "{}", ended.stderr);
    }
}

/// What is wrong with `--from` and its login is said before anything is dialled, without a password.
#[test]
fn from_says_what_is_wrong_with_it() {
    let linefilter = fixture("linefilter");
    let from = "--from=nats://localhost/in.x";
    for (options, said) in [
        (&["--from=http://h/x"][..], "invalid --from: write nats://HOST:PORT/SUBJECT"),
        (&["--from=tls://h/x"], "invalid --from: TLS to a NATS server is not supported"),
        (&["--from=nats://h"], "invalid --from: the subject is missing"),
        (&["--from=nats://u:geheim@h:x/s"], "invalid --from: the part before the subject"),
        (&["--from=nats://h/s?stream=S"], "invalid --from: stream= needs consumer=NAME"),
        (&[from, "--http"], "--http can't be combined with --from"),
        (&[from, "--per=connection"], "--per connection can't be combined with --from"),
        (&[from, "--keep-open"], "--keep-open has no effect with --from"),
        (&[from, "--env=NATS_SUBJECT=a"], "--env NATS_SUBJECT: serve sets this"),
        (&[from, "--from-auth=@env:NO_SUCH"], "--from-auth: the variable NO_SUCH is not set"),
        (
            &[from, "--from-auth=@env:PATH", "--env=PATH"],
            "--env PATH: the guest would see the value of --from-auth",
        ),
        (&[from, "--from-auth="], "--from-auth: the login is empty"),
        (&["--from=nats://a@h/s", "--from-auth=b"], "--from-auth can't be combined with a login"),
        (&["--from-auth=b"], "--from-auth has no effect without --from"),
    ] {
        let guest = linefilter.as_str();
        let words = ["serve"].iter().chain(options).chain([&guest]);
        let ended = Process::start(tinyhost(words)).end();
        assert_eq!(ended.status, Some(2), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("tinyhost: {said}")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("geheim"), "{}", ended.stderr);
    }
}
