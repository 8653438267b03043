//! What a guest has said on its standard error, of a file it could not do without.

use crate::vfs::path::trimmed;

/// How languages say that a file is not there: strerror(3), Rust, Python, Go, Node, and tools.
const NOT_THERE: [&str; 17] = [
    "no such file",
    "not found",
    "does not exist",
    "doesn't exist",
    "os error 44",
    "errno 44",
    "os error 76",
    "enoent",
    "capabilities insufficient",
    "pre-opened",
    "bad file number",
    "can't open",
    "cannot open",
    "could not open",
    "couldn't open",
    "unable to open",
    "failed to open",
];

/// Whether a line says that `path` is not there. To name it is not enough: an argument is repeated
/// in many a message, and the source of a program in each of its errors.
pub(super) fn says_missing(said: &str, path: &str) -> bool {
    let path = trimmed(path);
    !path.is_empty()
        && said.lines().any(|line| {
            let lower = line.to_lowercase();
            NOT_THERE.iter().any(|words| lower.contains(words)) && names(line, path)
        })
}

/// Whether `path` stands in a line as a path of its own, not as a part of another; however many
/// slashes it begins with.
fn names(line: &str, path: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || "_-.~/+@".contains(c);
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].trim_end_matches("./").trim_end_matches('/');
        let behind = &line[at + path.len()..];
        // A sentence may end there.
        let behind = behind.trim_start_matches(['.', '/']).chars().next().map_or(' ', |next| {
            if behind.starts_with(['.', '/']) && next.is_whitespace() { ' ' } else { next }
        });
        let whole = |c: char| !part(c);
        before.chars().next_back().is_none_or(whole) && whole(behind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_as_itself_and_as_missing() {
        for (said, path) in [
            ("cat: data/a: No such file or directory (os error 44)", "data/a"),
            ("error: /d/a.txt: not found.", "/d/a.txt"),
            ("FileNotFoundError: [Errno 44] No such file or directory: '/d/a b'", "/d/a b"),
            ("python3: can't open file '//x.py': [Errno 44] No such file", "/x.py"),
            ("open ./a: Bad file number", "a"),
            ("x.c:1:10: fatal error: 'my.h' file not found", "my.h"),
            ("stat /tmp/: no such file or directory", "/tmp"),
        ] {
            assert!(says_missing(said, path), "{said}");
        }
        for (said, path) in [
            ("ZeroDivisionError: division by zero in 1/0", "1/0"),
            ("File \"/app/main.py\", line 3", "/app/main.py"),
            ("cat: data/ab: No such file or directory", "data/a"),
            ("cat: x/data/a: No such file or directory", "data/a"),
            ("cat: data/a.txt: No such file or directory", "data/a"),
            ("cat: data/a/b: No such file or directory", "data/a"),
            ("No such file\ndata/a", "data/a"),
            ("No such file: ''", "/"),
        ] {
            assert!(!says_missing(said, path), "{said}");
        }
    }
}
