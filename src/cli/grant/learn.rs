//! `--learn FILE`: the least that a guest would have needed, as a policy.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use tinyhost::trace::escape::{Line, is_hidden};
use tinyhost::trace::{PathUse, Used};
use tinyhost::vfs::path::{below, goes_up, join, parts};

use super::mounts::{self, MountSpec};
use super::policy::Grant;

/// A policy that was learned, as the texts of its directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    dir: Vec<String>,
    mount: Vec<String>,
    no_dev: bool,
    env: Vec<String>,
    net: Vec<String>,
    net_listen: Vec<String>,
    listen: Vec<String>,
    /// Something that was used has no directive.
    left_out: bool,
}

impl Learned {
    /// The directives, sorted: options without their dashes.
    fn directives(&self) -> Vec<String> {
        let lists = [
            ("dir", &self.dir),
            ("env", &self.env),
            ("listen", &self.listen),
            ("mount", &self.mount),
            ("net", &self.net),
            ("net-listen", &self.net_listen),
        ];
        let mut lines = Vec::new();
        for (name, list) in lists {
            let sorted: BTreeSet<_> = list.iter().collect();
            lines.extend(sorted.into_iter().map(|value| format!("{name} {value}")));
        }
        lines.extend(self.no_dev.then(|| "no-dev".to_owned()));
        lines
    }

    /// The directives that mean the same when they are read again, and whether there are
    /// others. A guest chooses the names of directories: one can hold a line of its own, or what
    /// the form of a directive takes for something else.
    fn expressible(&self) -> (Vec<String>, bool) {
        let all = self.directives();
        let same = |line: &String| {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            let parsed = Grant::default().directive(name, value).is_ok();
            parsed && value.trim() == value && !line.chars().any(is_hidden)
        };
        let lines: Vec<String> = all.iter().filter(|line| same(line)).cloned().collect();
        let left_out = self.left_out || lines.len() < all.len();
        (lines, left_out)
    }

    /// The text of a policy file.
    pub fn text(&self, program: &str, used: &Used) -> String {
        let program = Line(program);
        let mut out = format!("# What {program} used in a run with --learn.\n");
        let (directives, left_out) = self.expressible();
        let options: Vec<_> = directives.iter().map(|line| option(line)).collect();
        // Writing to a String can't fail.
        let _ = writeln!(out, "# As options: {}", options.join(" "));
        let _ = writeln!(out, "# To enforce it: tinyhost run --policy FILE {program}");
        if used.environment && !self.env.is_empty() {
            out.push_str("# It read all its variables. Which of them it needs is not known.\n");
        }
        if cfg!(feature = "tls") && self.net.iter().any(|rule| rule.starts_with("https:")) {
            out.push_str("# What --secret adds is not written down: give it again.\n");
        }
        if left_out || !used.complete {
            out.push_str("# Incomplete: it used more than a policy can express.\n");
        }
        directives.iter().for_each(|line| out.extend([line, "\n"]));
        out
    }
}

/// A directive as an option for a shell.
fn option(line: &str) -> String {
    let (name, value) = line.split_once(' ').unwrap_or((line, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
    match value {
        "" => format!("--{name}"),
        value if value.chars().all(plain) => format!("--{name} {value}"),
        value => format!("--{name} '{}'", value.replace('\'', "'\\''")),
    }
}

/// The least that would have done, of what was given.
pub fn least(given: &Grant, used: &Used) -> Learned {
    let mut least = Learned::default();
    let mounts = &given.mounts;
    for mount in mounts {
        let inside = inside(mounts, mount, used);
        if inside.is_empty() {
            continue;
        }
        match mount.host() {
            Some(host) => {
                let wanted = directories(mount, host, &inside);
                least.left_out |= wanted.iter().any(Option::is_none);
                least.dir.extend(wanted.into_iter().flatten());
            }
            None => {
                let text = mount.typed().strip_prefix("--mount '");
                let text = text.and_then(|text| text.strip_suffix('\''));
                least.left_out |= text.is_none();
                least.mount.extend(text.map(str::to_owned));
            }
        }
    }
    if used.environment {
        least.env = given.env.iter().map(|variable| variable.typed.clone()).collect();
    }
    least.net = used.dials.iter().cloned().collect();
    // Without the rule that `run` begins with, so that it means the same in `serve`.
    least.net.push("none".to_owned());
    // A name that led to a private address needs the rule for that address as well.
    let address = |rule: &&String| {
        let host = match cfg!(feature = "tls") {
            true => rule.trim_start_matches("tls:").trim_start_matches("https:"),
            false => &rule[..],
        };
        host.starts_with(|c: char| c.is_ascii_digit() || c == '[')
    };
    if !used.dials.is_empty() {
        let typed = given.rules.net.iter().map(|(text, _)| text);
        least.net.extend(typed.filter(address).cloned());
    }
    least.net_listen = used.accepts.iter().cloned().collect();
    let listen = given.rules.listen.iter().map(ToString::to_string);
    least.listen = listen.filter(|at| used.sockets.contains(at)).collect();
    let dev = used.paths.keys().any(|path| parts(path).next() == Some("dev"));
    least.no_dev = given.no_dev || !dev && used.dials.is_empty() && used.accepts.is_empty();
    least
}

/// What was used in a mount and not in one that lies in it, relative to it.
fn inside(mounts: &[MountSpec], mount: &MountSpec, used: &Used) -> Vec<(String, PathUse)> {
    let depth = |mount: &MountSpec| parts(mount.guest()).count();
    let covered_deeper = |path: &str| {
        let deeper = mounts.iter().filter(|other| depth(other) > depth(mount));
        deeper.into_iter().any(|other| below(path, other.guest()).is_some())
    };
    let of = |(path, access): (&String, &PathUse)| {
        let dev = depth(mount) == 0 && parts(path).next() == Some("dev");
        let rest = below(path, mount.guest())?;
        (!dev && !covered_deeper(path)).then_some((rest, *access))
    };
    used.paths.iter().filter_map(of).collect()
}

/// The smallest directories of a mount that hold what was used: one that was written to,
/// and one around it that was only read.
///
/// `None` for one whose name would be read as something else.
fn directories(mount: &MountSpec, host: &Path, used: &[(String, PathUse)]) -> Vec<Option<String>> {
    let (written, read): (Vec<_>, Vec<_>) = used.iter().partition(|(_, access)| access.write);
    // A path that goes up again, or leaves by a link, is found only from where it was.
    let intricate = used.iter().any(|(path, _)| goes_up(path));
    let whole = |dir: Option<String>, paths: &[&(String, PathUse)]| {
        dir.map(|dir| if intricate || leaves(host, &dir, paths) { String::new() } else { dir })
    };
    let writable = whole(common(&written), &written);
    let outside = |(path, _): &&(String, PathUse)| {
        writable.as_ref().is_none_or(|dir| below(path, dir).is_none())
    };
    let read: Vec<_> = read.into_iter().filter(outside).collect();
    let readable = whole(common(&read), &read);
    let ro = if mount.is_read_only() { "::ro" } else { "" };
    let option = |dir: &str, ro: &str| {
        let guest = join(mount.guest(), dir);
        let host = join(host.to_str()?, dir);
        let text = format!("{host}::{guest}{ro}");
        let read = mounts::dir(&text).ok()?;
        let same = read.host() == Some(Path::new(&host))
            && read.guest() == guest
            && read.is_read_only() != ro.is_empty();
        same.then_some(text)
    };
    let readable = readable.filter(|dir| writable.as_ref() != Some(dir));
    let readable = readable.map(|dir| option(&dir, "::ro"));
    readable.into_iter().chain(writable.map(|dir| option(&dir, ro))).collect()
}

/// The deepest directory all of them are in, or are.
fn common(paths: &[&(String, PathUse)]) -> Option<String> {
    let dir = |(path, access): &(String, PathUse)| -> Vec<String> {
        let mut parts: Vec<_> = parts(path).map(Into::into).collect();
        // What was made or removed is a matter of the directory it is in.
        if !access.directory || access.write {
            parts.pop();
        }
        parts
    };
    let mut dirs = paths.iter().map(|path| dir(path));
    let mut common = dirs.next()?;
    for other in dirs {
        let same = common.iter().zip(&other).take_while(|(a, b)| a == b).count();
        common.truncate(same);
    }
    Some(common.join("/"))
}

/// Whether something that was used is, on the host, not below that directory: a link led
/// out of it. What is gone again can't be asked.
fn leaves(host: &Path, dir: &str, paths: &[&(String, PathUse)]) -> bool {
    let Ok(base) = host.join(dir).canonicalize() else { return true };
    let out = |(path, _): &&&(String, PathUse)| {
        host.join(path).canonicalize().is_ok_and(|real| !real.starts_with(&base))
    };
    paths.iter().find(out).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Given;

    fn given(dirs: &[String]) -> Grant {
        Grant::new(Given { dir: dirs.to_vec(), ..Given::default() }).unwrap()
    }

    fn learned(dirs: &[&str], paths: &[(&str, bool, bool)]) -> Vec<String> {
        let dirs: Vec<String> = dirs.iter().map(ToString::to_string).collect();
        let access = |write, directory| PathUse { write, directory };
        let paths = paths.iter().map(|(path, w, d)| ((*path).to_owned(), access(*w, *d)));
        let used = Used { paths: paths.collect(), ..Used::default() };
        least(&given(&dirs), &used).dir
    }

    #[test]
    fn directories_are_no_wider_than_needed() {
        let read =
            learned(&[".::/"], &[("/src/cli/mod.rs", false, false), ("/src/cli", false, true)]);
        assert_eq!(read, ["src/cli::/src/cli::ro"]);
        let both =
            learned(&[".::/"], &[("/src/lib.rs", false, false), ("/src/cli/x", true, false)]);
        assert_eq!(both, ["src::/src::ro", "src/cli::/src/cli"]);
        let far = learned(&["."], &[("src/lib.rs", false, false), ("tests/mem.rs", false, false)]);
        assert_eq!(far, [".::.::ro"]);
        assert_eq!(learned(&[".::/x::ro"], &[("/x", false, true)]), [".::/x::ro"]);
        assert_eq!(learned(&[".::/x"], &[("/x/src/../Cargo.toml", false, false)]), [".::/x::ro"]);
        assert!(learned(&[".::/x"], &[("/dev/null", false, false)]).is_empty());
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let text = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let learned = Learned {
            dir: text(&["b::/b", "a::/a::ro"]),
            env: text(&["A=x y"]),
            net: text(&["none"]),
            no_dev: true,
            ..Learned::default()
        };
        let written = learned.text("x.wasm", &Used::default());
        assert!(written.contains("--env 'A=x y' --net none --no-dev\n"), "{written}");
        let read = read(&written);
        let dirs: Vec<_> = read.mounts.iter().map(MountSpec::typed).collect();
        assert_eq!(dirs, ["--dir 'a::/a::ro'", "--dir 'b::/b'"]);
        assert_eq!(read.environment(), [("A".to_owned(), "x y".to_owned())]);
        assert!(read.no_dev && read.rules.net.is_empty());
    }

    /// The lines of a policy, read again.
    fn read(text: &str) -> Grant {
        let mut read = Grant::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (directive, value) = line.split_once(' ').unwrap_or((line, ""));
            read.directive(directive, value.trim()).unwrap_or_else(|e| panic!("{e}: {text}"));
        }
        read
    }

    /// Names made of what has a meaning somewhere: whatever a guest calls its directories, a
    /// policy learned from it says nothing but directories it used.
    #[test]
    fn what_is_learned_from_any_names_is_read_as_what_was_used() {
        const PIECES: [&str; 22] = [
            "a",
            "b",
            "::",
            ":",
            "ro",
            "::ro",
            "\n",
            "\r",
            " ",
            "#",
            "env K",
            "net *:*",
            "no-dev",
            "/",
            "'",
            "\\",
            "\u{2028}",
            "\u{85}",
            "\u{1b}[2J",
            "..",
            "...",
            "\t",
        ];
        let mut random = 1997_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % below
        };
        let mut learned_something = 0;
        for _ in 0..20_000 {
            let name: String = (0..1 + next(6)).map(|_| PIECES[next(PIECES.len())]).collect();
            let (written, directory) = (next(2) == 0, next(2) == 0);
            let path = format!("/g/{name}");
            let access = PathUse { write: written, directory };
            let used = Used { paths: [(path.clone(), access)].into(), ..Used::default() };
            let text = least(&given(&["h::/g".to_owned()]), &used).text("x.wasm", &used);
            assert!(!text.replace('\n', "").chars().any(is_hidden), "{text:?}");
            let read = read(&text);
            assert!(read.env.is_empty() && read.no_dev, "{text}");
            assert!(read.rules.net.is_empty() && read.rules.listen.is_empty(), "{text}");
            assert!(text.contains("\nnet none\n") && !text.contains("\nnet-listen"), "{text}");
            for dir in &read.mounts {
                assert!(dir.is_dir_option(), "{text}");
                let below_it = below(&path, dir.guest()).is_some();
                let up = goes_up(&path);
                assert!(below_it || up && dir.guest() == "/g", "{path:?} gave {dir:?}");
                assert!(written || dir.is_read_only(), "{path:?} gave {dir:?}");
                let host = dir.host().unwrap().to_str().unwrap();
                assert_eq!(host.strip_prefix('h'), dir.guest().strip_prefix("/g"), "{path:?}");
                learned_something += 1;
            }
        }
        assert!(learned_something > 1000, "{learned_something}");
    }
}
