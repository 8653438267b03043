//! Every guest in `fixtures/` does what its expectations say, through the real binary, and
//! through one that runs in another.

mod util;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use util::busy::lock;
use util::json::Json;
use util::{Process, TempDir, fixture, root, tinyhost};

/// Guests that run at the same time.
const WORKERS: usize = 3;

#[test]
fn every_case_of_every_fixture() {
    check_all(&Place::Here);
}

/// The program itself, built for wasm32-wasip1, does inside what it does outside: its files,
/// streams, times and randomness are then another tinyhost's.
#[test]
fn every_case_in_a_tinyhost_in_a_tinyhost() {
    let Some(inner) = inner() else { return };
    check_all(&Place::Inside(&inner));
}

/// The program for wasm32-wasip1, if it was built; `.ci/run` does.
fn inner() -> Option<PathBuf> {
    let exe = std::env::current_exe().expect("a test has a file");
    // target/PROFILE/deps/fixtures-HASH
    let target = exe.ancestors().nth(3).expect("it is below target");
    let path = ["release", "debug"]
        .map(|profile| target.join("wasm32-wasip1").join(profile).join("tinyhost.wasm"))
        .into_iter()
        .find(|path| path.exists());
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI builds the inner tinyhost first");
        eprintln!("SKIPPED: no inner tinyhost: cargo build {INNER}");
    }
    path
}

const INNER: &str = "--no-default-features --features cli --target wasm32-wasip1";

/// Where a case is run.
enum Place<'p> {
    Here,
    /// In this tinyhost, which is run by the usual one.
    Inside(&'p Path),
}

fn check_all(place: &Place<'_>) {
    let mut jobs = Vec::new();
    for name in names() {
        let told = expectations(&name);
        let cases = told.field("cases").and_then(Json::list).expect("cases").to_vec();
        jobs.extend(cases.into_iter().map(|case| (name.clone(), case)));
    }
    assert!(jobs.len() >= 50, "only {} cases were found", jobs.len());
    let (jobs, failures) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                // The lock is not held while the case runs.
                let next = || lock(&jobs).pop();
                while let Some((name, case)) = next() {
                    lock(&failures).extend(check(place, &name, &case));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Which tests run the guests that have no cases: the files are there, and name the guest.
#[test]
fn every_fixture_is_tested() {
    for name in names() {
        let told = expectations(&name);
        let cases = told.field("cases").and_then(Json::list).unwrap_or_default();
        let Some(by) = told.field("tested_by").and_then(Json::text) else {
            assert!(!cases.is_empty(), "fixtures/{name}.json has neither cases nor tested_by");
            continue;
        };
        let (files, what) = by.split_once(": ").unwrap_or((by, ""));
        assert!(!what.is_empty(), "fixtures/{name}.json: tested_by is 'FILE: what is tested'");
        for file in files.split(", ") {
            let text = source(&root().join(file))
                .unwrap_or_else(|error| panic!("fixtures/{name}.json: {file}: {error}"));
            let spellings = ["\"NAME\"", "\"NAME.wasm", "/NAME.wasm"];
            let named = spellings.iter().any(|spelt| text.contains(&spelt.replace("NAME", &name)));
            assert!(named, "fixtures/{name}.json says that {file} tests it, but it does not");
        }
    }
}

/// The text of a test file, with that of its modules.
fn source(file: &Path) -> std::io::Result<String> {
    let mut text = fs::read_to_string(file)?;
    for module in fs::read_dir(file.with_extension("")).into_iter().flatten() {
        text.push_str(&fs::read_to_string(module?.path())?);
    }
    Ok(text)
}

/// All programs and all expectations; each has the other.
fn names() -> Vec<String> {
    let of = |extension: &str| -> Vec<String> {
        let paths = fs::read_dir(root().join("fixtures")).unwrap().map(|e| e.unwrap().path());
        let mut names: Vec<String> = paths
            .filter(|path: &PathBuf| path.extension().is_some_and(|e| e == extension))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let names = of("wasm");
    assert_eq!(names, of("json"));
    names
}

fn expectations(name: &str) -> Json {
    let path = format!("fixtures/{name}.json");
    let text = fs::read_to_string(root().join(&path)).unwrap();
    Json::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What was wrong with a case.
fn check(place: &Place<'_>, name: &str, case: &Json) -> Option<String> {
    let field = |key: &str| case.field(key).unwrap_or_else(|| panic!("{name}: no {key}"));
    let text = |key: &str| field(key).text().unwrap_or_else(|| panic!("{name}: {key}"));
    let dir = field("dir").text().map(|dir| TempDir::copy_of(&root().join("fixtures").join(dir)));
    // Hints are the host's, and what is expected here is the guest's.
    let mut command = tinyhost(["run", "--quiet"]);
    if let Place::Inside(inner) = place {
        command.args(["--dir", "fixtures::/fixtures::ro"]);
        command.args(dir.iter().flat_map(|dir| ["--dir".to_owned(), dir.mounted_at("/dir")]));
        command.arg(inner).args(["run", "--quiet"]);
    }
    let Json::Map(env) = field("env") else { panic!("{name}: env") };
    for (key, value) in env {
        command.arg("--env").arg(format!("{key}={}", value.text().expect("a text")));
    }
    if let Some(dir) = &dir {
        let host = match place {
            Place::Here => dir.mounted_at("/"),
            Place::Inside(_) => "/dir::/".to_owned(),
        };
        command.arg("--dir").arg(host);
    }
    command.arg(match place {
        Place::Here => fixture(name),
        Place::Inside(_) => format!("/{}", fixture(name)),
    });
    command.args(field("args").list().expect("args").iter().map(|arg| arg.text().expect("text")));
    let ended = Process::start(command).input(text("stdin").as_bytes()).end();
    drop(dir);
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let found = (ended.status.map(f64::from), &*stdout, &*ended.stderr);
    let expected = (field("exit_code").number(), text("stdout"), text("stderr"));
    let note = text("note");
    (found != expected)
        .then(|| format!("{name} ({note}):\n  expected {expected:?}\n  found    {found:?}"))
}
