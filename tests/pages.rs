//! What the pages show is what is printed: each block of commands is typed again.

#![cfg(all(unix, feature = "net", feature = "tar"))]

mod util;

use std::process::Command;

use util::{Process, TempDir, root};

/// Words of a line, with times and other measures masked: they are never the same twice.
fn masked(line: &str) -> String {
    let measured = |word: &str| {
        let number = word.trim_start_matches(['<', '+']);
        number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok()
    };
    let unit = |word: &str| {
        let unit = word.trim_end_matches(['>', ',']);
        ["ns", "µs", "ms", "s"].contains(&unit)
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut out = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).map_or("", |before| words[before]);
        let next = words.get(index + 1).copied().unwrap_or_default();
        // What a guest asks for, `+20 ms`, is no measure.
        let asked = |word: &str| word.starts_with('+');
        if measured(word) && !asked(word) && (unit(next) || word.contains('.')) {
            out.push("T".to_owned());
        } else if unit(word) && measured(before) && !asked(before) {
            out.push("U".to_owned());
        } else {
            out.push((*word).to_owned());
        }
    }
    out.join(" ")
}

/// The blocks of commands of a page, those with a server excepted, which go on for ever.
fn blocks(page: &str) -> Vec<&str> {
    let consoles = page.split("```console\n").skip(1);
    let blocks = consoles.map(|rest| rest.split("```").next().unwrap());
    // Servers don't end, and what is typed into a terminal is not typed here.
    let ends = |block: &&str| !block.contains("tinyhost serve") && !block.contains("cargo run");
    blocks.filter(ends).collect()
}

/// Types the commands of a block, and shows the terminal as it is then.
fn typed(block: &str) -> String {
    let dir = TempDir::new();
    // The trees themselves, for a link would lead out of what guests are given.
    std::fs::create_dir(dir.path().join("fixtures")).unwrap();
    for entry in std::fs::read_dir(root().join("fixtures")).unwrap() {
        let (from, to) = (entry.unwrap().path(), dir.path().join("fixtures"));
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            let copied = TempDir::copy_of(&from);
            std::fs::rename(copied.path(), to).unwrap();
        } else {
            std::os::unix::fs::symlink(&from, to).unwrap();
        }
    }
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_tinyhost")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut out = String::new();
    for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 2>&1; {line}")]).current_dir(dir.path());
        command.env("PATH", format!("{}:{path}", bin.display()));
        let ended = Process::start(command).input(b"").end();
        out += &format!("$ {line}\n{}", String::from_utf8(ended.stdout).unwrap());
    }
    out
}

#[test]
fn each_command_prints_what_is_shown() {
    let mut count = 0;
    for page in
        ["README.md", "docs/tracing.md", "docs/files.md", "docs/network.md", "docs/images.md"]
    {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for block in blocks(&text) {
            let (shown, printed) = (block.lines().map(masked), typed(block));
            let shown: Vec<_> = shown.collect();
            let again: Vec<_> = printed.lines().map(masked).collect();
            assert_eq!(shown, again, "{page} shows\n{block}\nand this is printed\n{printed}");
            count += block.matches("$ ").count();
        }
    }
    assert!(count > 15, "only {count} commands");
}
