//! Paths as text, without a look at what is there: for names that people wrote or read.
//!
//! What a guest may reach is decided by [`walk`](super::walk), never here: a symbolic link or `..`
//! leads elsewhere than its text says.

/// The components of a path. `/data`, `data`, `./data/` and `.//data` have the same ones, `..` is
/// one.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !matches!(*part, "" | "."))
}

/// The components of a path with one slash between them; empty for the root.
pub fn normal(path: &str) -> String {
    parts(path).collect::<Vec<_>>().join("/")
}

/// A path without what can stand before and after it: `/`, `./`.
pub fn trimmed(path: &str) -> &str {
    let mut path = path;
    while let Some(shorter) = path.strip_prefix('/').or_else(|| path.strip_prefix("./")) {
        path = shorter;
    }
    if path == "." { "" } else { path.trim_end_matches('/') }
}

/// The path below `dir`, in its normal form: empty for `dir` itself, `None` outside of it.
pub fn below(path: &str, dir: &str) -> Option<String> {
    let mut rest = parts(path);
    let inside = parts(dir).all(|part| rest.next() == Some(part));
    inside.then(|| rest.collect::<Vec<_>>().join("/"))
}

/// `path`, which is relative to `dir`, in one piece.
pub fn join(dir: &str, path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    match dir {
        _ if path == "." || path.is_empty() => dir.to_owned(),
        "." => path.to_owned(),
        _ if dir.ends_with('/') => [dir, path].concat(),
        _ => [dir, "/", path].concat(),
    }
}

/// The directory that a path names something in.
pub fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => ".",
    }
}

/// Whether a path has a `..` in it, so that its text doesn't say where it leads.
pub fn goes_up(path: &str) -> bool {
    parts(path).any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_normal_form() {
        for path in ["/a/b", "a/b", "./a//b/", ".//a/./b", "/./a/b/."] {
            assert_eq!(normal(path), "a/b", "{path}");
        }
        for root in ["", "/", ".", "./", "//."] {
            assert_eq!(normal(root), "", "{root}");
        }
        assert_eq!(normal("../a/..b"), "../a/..b");
    }

    #[test]
    fn a_path_is_trimmed_at_its_ends_only() {
        assert_eq!(trimmed("//./a//b//"), "a//b");
        assert_eq!((trimmed("."), trimmed("/"), trimmed("./")), ("", "", ""));
        assert_eq!((trimmed(".a"), trimmed("../a")), (".a", "../a"));
    }

    #[test]
    fn below_ends_at_components() {
        let of = |path, dir| below(path, dir);
        assert_eq!(of("/data/x/y", "data").as_deref(), Some("x/y"));
        assert_eq!(of("./data//x", "/data/").as_deref(), Some("x"));
        assert_eq!(of("/data", "/data").as_deref(), Some(""));
        assert_eq!(of("etc", "/").as_deref(), Some("etc"));
        assert_eq!(of("/database", "/data"), None);
        assert_eq!(of("/", "/data"), None);
    }

    #[test]
    fn joined_paths_read_as_one() {
        assert_eq!(join("/", "a/b"), "/a/b");
        assert_eq!(join("/data", "./a"), "/data/a");
        assert_eq!(join("/data", "."), "/data");
        assert_eq!(join("/data", ""), "/data");
        assert_eq!(join(".", "a"), "a");
    }

    #[test]
    fn parents_and_paths_that_go_up() {
        assert_eq!(
            (parent("/a/b"), parent("/a/"), parent("a"), parent("/")),
            ("/a", "/", ".", ".")
        );
        assert!(goes_up("a/../b") && goes_up("..") && !goes_up("a..b/...") && !goes_up(""));
    }
}
