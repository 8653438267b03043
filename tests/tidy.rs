//! The style that can be checked.

mod tidy {
    mod layers;
}
mod util;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use util::root;

/// Lines of a file of the library or the program.
const FILE_LINES_MAX: usize = 500;
/// Lines of a test file.
const TEST_LINES_MAX: usize = 500;
/// Lines of a function: what fits a screen, with some indulgence.
const FUNCTION_LINES_MAX: usize = 70;
/// Crates a build of the program needs, itself included.
const CRATES_MAX: usize = 40;

/// Files that may be longer, with how long. Split one rather than add to this.
const LONGER: &[(&str, usize)] = &[];

/// Types of one name on purpose: each pair is one type on different systems or in different builds.
const STAND_INS: &[&str] = &["Caught", "Network", "Rules", "Pages", "Fd", "Standard", "NatsDriver"];

/// Where `src/wasi` narrows to u32 what is no guest's number, or is one already.
const NARROWED: &[(&str, &str)] = &[
    ("src/wasi/poll.rs", "SUBSCRIPTION_SIZE as u32"),
    ("src/wasi/poll.rs", "EVENT_SIZE as u32"),
    // An argument's slot is 64 bits wide, whatever the parameter is.
    ("src/wasi/table.rs", "& 0xffff_ffff) as u32"),
];

struct Source {
    /// From the crate's root, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// Its lines with their numbers, up to its tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let lines = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        let path = &self.path;
        path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
    }
}

/// Every Rust file below a folder.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}")) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {folder}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "guest/rust/src"].into_iter().flat_map(sources).collect()
}

#[track_caller]
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        let usual = if source.is_test() { TEST_LINES_MAX } else { FILE_LINES_MAX };
        let longer = LONGER.iter().find(|(path, _)| *path == source.path);
        let (max, lines) = (longer.map_or(usual, |(_, max)| *max), source.text.lines().count());
        if lines > max {
            wrong.push(format!("{}: {lines} lines, more than {max}: split it", source.path));
        } else if longer.is_some() && lines <= usual {
            wrong.push(format!("{}: is short again: take it out of LONGER", source.path));
        }
    }
    none(wrong);
}

/// The name of the type that this line declares for the whole crate, or for its users.
fn declared_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub "))?;
    let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
    let rest = kinds.into_iter().find_map(|kind| line.strip_prefix(kind))?;
    // A macro's names are its callers'.
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

#[test]
fn a_type_that_leaves_its_room_has_a_name_of_its_own() {
    assert_eq!(declared_type("    pub(crate) struct Frame<'a> {"), Some("Frame"));
    assert_eq!(declared_type("pub(super) struct Slot(u32);"), None);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources("src").iter().filter(|source| !source.path.contains("/simulate/")) {
        for (number, line) in source.code() {
            if let Some(name) = declared_type(line) {
                let at = format!("{}:{number}", source.path);
                found.entry(name.to_owned()).or_default().push(at);
            }
        }
    }
    found.retain(|name, at| at.len() > 1 && !STAND_INS.contains(&name.as_str()));
    none(found.iter().map(|(name, at)| format!("{name}: {}", at.join(", "))).collect());
}

#[test]
fn functions_fit_a_screen() {
    let mut wrong = Vec::new();
    for source in all_sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            let indent = &line[..line.len() - line.trim_start().len()];
            // rustfmt puts the closing brace below the first letter; nothing else gets there.
            let end = format!("{indent}}}");
            let len = lines[start..].iter().position(|line| *line == end).unwrap_or(0) + 1;
            let one_line = line.ends_with(';') || line.ends_with('}');
            if len > FUNCTION_LINES_MAX && !one_line {
                wrong.push(format!("{}:{}: {name} has {len} lines", source.path, start + 1));
            }
        }
    }
    none(wrong);
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.trim_start().split_once("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "const", "async", "extern"];
    let declares = before.split_whitespace().all(|word| words.contains(&word));
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (declares && end > 0).then_some(&rest[..end])
}

#[test]
fn words_nobody_wants() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let mut words = vec!["todo!", "dbg!", "unimplemented!", ".unwrap()"];
        // Everything is implemented: what can't be answers with an errno of its own.
        if source.path != "src/errno.rs" {
            words.extend(["Nosys", "ENOSYS"]);
        }
        for (number, line) in source.code() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    none(wrong);
}

/// Phrases of STYLE.md's list that hide who does what. Add one when it has gone from `src/`.
const UNCLEAR: &[&str] = &[
    "anew",
    "anybody",
    "by itself",
    "come by",
    "everybody",
    "for want of",
    "goes on with",
    "gone on with",
    "looked after",
    "made new again",
    "mended",
    "nobody",
    "of one's own",
    "perhaps",
    "somebody",
    "told",
    "unless told otherwise",
    "whoever",
    "whom",
];

/// What is wrong with the words of a line: of its comment, or of the texts in it.
fn unclear(line: &str) -> Vec<&'static str> {
    let code = line.split("//").next().unwrap_or_default();
    let comment = line.get(code.len()..).unwrap_or_default();
    let texts = code.split('"').skip(1).step_by(2);
    let prose: Vec<String> = texts.chain([comment]).map(words).collect();
    let has = |phrase: &str| prose.iter().any(|text| text.contains(&format!(" {phrase} ")));
    UNCLEAR.iter().copied().filter(|phrase| has(phrase)).collect()
}

/// The words of a text, in lower case, each between two spaces.
fn words(text: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '\'' || c == '_';
    let words: Vec<String> = text.split(|c| !word(c)).map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
    format!(" {} ", words.join(" "))
}

#[test]
fn comments_and_messages_name_who_does_what() {
    assert_eq!(unclear("/// What nobody is told."), ["nobody", "told"]);
    assert_eq!(unclear(r#"error("perhaps: {it}", told);"#), ["perhaps"]);
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        if source.path.contains("/simulate/") {
            continue;
        }
        let lines = source.text.lines().enumerate();
        for (index, line) in lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]") {
            for phrase in unclear(line) {
                wrong.push(format!("{}:{}: '{phrase}': say it plainly", source.path, index + 1));
            }
        }
    }
    none(wrong);
}

#[test]
fn guest_numbers_are_not_cut() {
    let mut wrong = Vec::new();
    let mut used = vec![false; NARROWED.len()];
    for source in sources("src/wasi") {
        for (number, line) in source.code() {
            let mut rest = line.to_owned();
            for (index, (path, text)) in NARROWED.iter().enumerate() {
                if source.path == *path && rest.contains(text) {
                    rest = rest.replace(text, "");
                    used[index] = true;
                }
            }
            if rest.contains(" as u32") {
                wrong.push(format!("{}:{number}: as u32: use try_from", source.path));
            }
        }
    }
    let unused = NARROWED.iter().zip(used).filter(|(_, used)| !used);
    wrong.extend(unused.map(|((path, text), _)| format!("{path}: has no '{text}' any more")));
    none(wrong);
}

/// Where a panic of one test poisons a lock, that of the next is not the failure to be seen.
#[test]
fn no_lock_minds_a_panic() {
    let mut wrong = Vec::new();
    for source in all_sources().into_iter().chain(sources("capi")) {
        let text: String = source.text.split_whitespace().collect();
        for bad in [".unwrap()", ".expect("] {
            if text.contains(&format!(".lock(){bad}")) {
                wrong
                    .push(format!("{}: .lock(){bad}: use busy::lock, or one like it", source.path));
            }
        }
    }
    none(wrong);
}

/// A test that asserts that something took little time fails on a machine with much else to do.
#[test]
fn no_test_minds_a_busy_machine() {
    let mut wrong = Vec::new();
    for source in all_sources().into_iter().chain(sources("capi")) {
        let text: String = source.text.split_whitespace().collect();
        for assertion in text.split(concat!("assert", "!(")).skip(1) {
            let condition = assertion.split(");").next().unwrap_or_default();
            let bound = condition.split_once(concat!(".elapsed", "()<"));
            if bound.is_some_and(|(_, bound)| !bound.contains("LIMIT")) {
                wrong.push(format!("{}: {condition}: use busy::cpu_time, or LIMIT", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = all_sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none(silent.map(|source| format!("{}: does not begin with //!", source.path)).collect());
}

#[test]
fn every_file_is_part_of_something() {
    let sources: Vec<Source> = ["src", "tests"].into_iter().flat_map(sources).collect();
    let mut wrong = Vec::new();
    for source in &sources {
        let path = Path::new(&source.path);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        // A module is declared in the file above it; a mod.rs stands for its folder.
        let (name, above) = match stem {
            "mod" => (folder.file_name().unwrap().to_str().unwrap(), folder.parent().unwrap()),
            _ => (stem, folder),
        };
        let parents: Vec<PathBuf> = match above.to_str().unwrap() {
            "src" if stem == "lib" || stem == "main" => continue,
            // Each file there is a program of its own.
            "tests" if stem != "mod" => continue,
            "src" => vec!["src/lib.rs".into(), "src/main.rs".into()],
            "tests" => {
                let tests = sources.iter().map(|source| PathBuf::from(&source.path));
                tests.filter(|path| path.parent() == Some(Path::new("tests"))).collect()
            }
            _ => vec![above.join("mod.rs"), above.with_extension("rs")],
        };
        let declared = |parent: &Source| {
            let declares = |line: &str| {
                let line = line.trim_start().trim_end_matches([';', '{', ' ']);
                // Or it stands in for another where that can't be built.
                let instead = line.ends_with(&format!("path = \"{name}.rs\")]"));
                instead || line.strip_suffix(name).is_some_and(|before| before.ends_with("mod "))
            };
            parent.text.lines().any(declares)
        };
        let is_parent = |other: &&Source| parents.iter().any(|p| *p == Path::new(&other.path));
        if !sources.iter().filter(is_parent).any(declared) {
            wrong.push(format!("{}: no file declares it", source.path));
        }
    }
    none(wrong);
}

/// No fixture without a source, none that is older than its source.
#[test]
fn fixtures_are_current() {
    let Ok(output) =
        Command::new("python3").arg(root().join("guest/build")).arg("--check").output()
    else {
        return eprintln!("skipped: this machine has no python3");
    };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn every_guest_is_told_of() {
    let page = fs::read_to_string(root().join("guest/README.md")).unwrap();
    let mut wrong = Vec::new();
    for folder in ["rust/src/bin", "go", "c", "zig", "as", "wat"] {
        for entry in fs::read_dir(root().join("guest").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if name != "go" && !page.contains(&format!("`{name}`")) {
                wrong.push(format!("guest/README.md: says nothing of {name}"));
            }
        }
    }
    none(wrong);
}

/// Where packages come from is a matter of the machine. What Cargo writes itself is exempt.
#[test]
fn no_file_names_a_package_registry() {
    let hosts: Vec<String> = [
        ("crates", "io"),
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("registry.yarnpkg", "com"),
        ("proxy.golang", "org"),
        ("sum.golang", "org"),
    ]
    .into_iter()
    .map(|(name, top)| format!("{name}.{top}"))
    .collect();
    let listed = Command::new("git").current_dir(root()).args(["ls-files", "-z"]).output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        return eprintln!("skipped: this is no git checkout");
    };
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut wrong = Vec::new();
    for path in listed.split_terminator('\0').filter(|path| !path.ends_with("Cargo.lock")) {
        // One that is tracked and not there has just been removed.
        let Ok(bytes) = fs::read(root().join(path)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for host in hosts.iter().filter(|host| text.contains(&***host)) {
            wrong.push(format!("{path}: names {host}"));
        }
    }
    none(wrong);
}

#[test]
fn the_tree_of_crates_stays_small() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["tree", "--offline", "-e", "normal", "--prefix", "none"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut crates: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    println!("{} crates:\n{}", crates.len(), crates.join("\n"));
    assert!((5..=CRATES_MAX).contains(&crates.len()), "{} crates", crates.len());
}

#[test]
fn links_between_pages_lead_somewhere() {
    let pages = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output();
    let pages = String::from_utf8(pages.expect("git").stdout).unwrap();
    let mut checked = 0;
    for page in pages.lines() {
        let (text, at) = (fs::read_to_string(root().join(page)).unwrap(), Path::new(page));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let file = link.0.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(char::is_whitespace) {
                continue;
            }
            let there = root().join(at.parent().expect("a file")).join(file);
            assert!(there.exists(), "{page}: nothing at {file}");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} links were found");
}

#[test]
fn the_tests_that_pages_name_are_there() {
    let is_part = |c: char| c.is_alphanumeric() || "_/.:".contains(c);
    let mut named = 0;
    let mut wrong = Vec::new();
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split(|c| !is_part(c)) {
            let Some((path, name)) = word.split_once(".rs::") else { continue };
            named += 1;
            let source = fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
            if !source.contains(&format!("fn {name}(")) {
                wrong.push(format!("{}: there is no {word}", page.display()));
            }
        }
    }
    assert!(named > 100, "only {named} tests are named");
    none(wrong);
}
