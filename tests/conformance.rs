//! The table in docs/conformance.md: that it says what is, and that the tests it names are
//! there.
#![cfg(all(unix, feature = "host-fs", feature = "net", feature = "tar"))]

mod calls;

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use calls::baseline::{Arg, DIR_FD, FILE_FD, ROOT, SOCKET, arguments, lay_out};
use calls::libc::*;
use calls::trees::{self, dir, file, link};
use calls::{Calls, OUT, mounted};
use tinyhost::vfs::net::{Listener, Net, NetConfig};
use tinyhost::vfs::{Node, dev::Dev, pipe, tar};
use tinyhost::wasi::{Kind, Row, TABLE};
use tinyhost::{Errno, WasiCtx};

/// A guest, and what on its backend stands for the things the arguments speak of.
struct Backend {
    calls: Calls,
    root: u32,
    file: u32,
    dir: u32,
    socket: u32,
    listener: u32,
    /// Names for `file`, `dir` and `link`.
    names: [&'static str; 3],
    _held: Box<dyn std::any::Any>,
}

const NAMES: [&str; 3] = ["file", "dir", "link"];

fn tree(root: &Arc<dyn Node>, rights: u64, held: impl std::any::Any) -> Backend {
    let builder = WasiCtx::builder().namespace(mounted(&[("/", root)]));
    let mut calls = Calls::new(builder.build());
    let file = calls.open(3, "file", 0, rights).expect("open");
    let dir = calls.open(3, "dir", DIRECTORY, READ).expect("open");
    let held = Box::new(held);
    Backend { calls, root: 3, file, dir, socket: file, listener: file, names: NAMES, _held: held }
}

fn planted(tree_of: trees::Tree) -> Backend {
    file(&tree_of.mount, "file", b"0123456789");
    dir(&tree_of.mount, "dir");
    link(&tree_of.mount, "link", "file");
    tree(&tree_of.mount.clone(), ALL, tree_of)
}

/// An image with the same in it.
fn image() -> Vec<u8> {
    let mut image = Vec::new();
    for (name, kind, link, data) in
        [("file", b'0', "", "0123456789"), ("dir/", b'5', "", ""), ("link", b'2', "file", "")]
    {
        let mut block = [0; 512];
        let mut field = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        field(0, name.as_bytes());
        field(100, b"0000644\0");
        field(124, format!("{:011o}\0", data.len()).as_bytes());
        field(136, b"00000001750\0        ");
        field(156, &[kind]);
        field(157, link.as_bytes());
        field(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        image.extend(block);
        image.extend(data.as_bytes());
        image.resize(image.len().next_multiple_of(512), 0);
    }
    image.resize(image.len() + 1024, 0);
    image
}

fn devices() -> Backend {
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let mut calls = Calls::new(WasiCtx::builder().namespace(mounted(&[("/", &dev)])).build());
    let file = calls.open(3, "zero", 0, ALL).expect("open");
    let dir = calls.open(3, "fd", DIRECTORY, READ).expect("open");
    let names = ["zero", "fd", "null"];
    Backend { calls, root: 3, file, dir, socket: file, listener: file, names, _held: Box::new(()) }
}

/// Standard input for a call that reads, standard output for one that writes.
fn pipes(name: &str) -> Backend {
    let (stdin, mut writer) = pipe::pipe(100);
    writer.write(b"0123456789").expect("room");
    let (reader, stdout) = pipe::pipe(100);
    let fd = u32::from(name.contains("write") || name == "sock_send");
    let calls = Calls::new(WasiCtx::builder().stdin(stdin).stdout(stdout).build());
    let held = Box::new((writer, reader));
    Backend {
        calls,
        root: fd,
        file: fd,
        dir: 2,
        socket: fd,
        listener: fd,
        names: NAMES,
        _held: held,
    }
}

fn sockets() -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = Listener::new(listener, &Net::new(NetConfig::default())).expect("a listener");
    let mut calls = Calls::new(WasiCtx::builder().socket("s", Box::new(listener)).build());
    let clients = [0; 2].map(|_| TcpStream::connect(address).expect("connect"));
    for mut client in &clients {
        std::io::Write::write_all(&mut client, b"0123456789").expect("write");
    }
    calls.call("sock_accept", &[3, 0, OUT.into()]).expect("a client");
    let fd = calls.u32_at(OUT);
    let held = Box::new(clients);
    Backend {
        calls,
        root: fd,
        file: fd,
        dir: 3,
        socket: fd,
        listener: 3,
        names: NAMES,
        _held: held,
    }
}

const BACKENDS: [&str; 6] = ["host", "mem", "tar", "/dev", "pipe", "socket"];

fn backend(kind: &str, name: &str) -> Backend {
    match kind {
        "host" => planted(trees::host()),
        "mem" => planted(trees::mem()),
        "tar" => tree(&tar::open(image()).expect("an image"), READ, ()),
        "/dev" => devices(),
        "pipe" => pipes(name),
        _ => sockets(),
    }
}

/// What the function answers with good arguments on that backend.
fn answer(kind: &str, name: &str) -> String {
    let mut backend = backend(kind, name);
    let mut args = arguments(name).expect("arguments");
    for index in 0..args.len() {
        let renamed = match &args[index] {
            Arg::In(bytes) => NAMES.iter().position(|name| name.as_bytes() == bytes),
            _ => None,
        };
        if let Some(renamed) = renamed.map(|position| backend.names[position]) {
            args[index] = Arg::In(renamed.into());
            args[index + 1] = Arg::N(renamed.len() as u64);
        }
        // Numbers of descriptors are those of the backend.
        let fd = match (calls::row(name).params[index].kind, &args[index]) {
            (Kind::Fd, Arg::N(ROOT)) => backend.root,
            (Kind::Fd, Arg::N(FILE_FD)) => backend.file,
            (Kind::Fd, Arg::N(DIR_FD)) => backend.dir,
            (Kind::Fd, Arg::N(SOCKET)) if name == "sock_accept" => backend.listener,
            (Kind::Fd, Arg::N(SOCKET)) => backend.socket,
            _ => continue,
        };
        args[index] = Arg::N(fd.into());
    }
    if let ("poll_oneoff", Arg::In(subscriptions)) = (name, &mut args[0]) {
        subscriptions[48 + 16] = backend.file as u8;
    }
    let raw = lay_out(&mut backend.calls, &args, |_, _| None);
    match backend.calls.call(name, &raw) {
        Ok(()) if name == "poll_oneoff" => {
            let errors = [0, 32].map(|event| backend.calls.bytes(raw[1] as u32 + event + 8, 2));
            assert_eq!(errors, [[0, 0], [0, 0]], "{kind}");
            "ok".into()
        }
        Ok(()) => "ok".into(),
        Err(errno) => format!("E{}", errno.name().to_uppercase()),
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(repository().join("docs/conformance.md")).expect("the document")
}

/// The rows of the table: function, what it answers on each backend, the tests.
fn rows(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let row = |line| {
        let mut cells = str::trim_matches(line, '|').split('|').map(str::trim);
        (cells.next().unwrap_or_default().trim_matches('`'), cells.collect::<Vec<_>>())
    };
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(row);
    rows.filter(|(_, cells)| cells.len() == BACKENDS.len() + 1).collect()
}

fn has_descriptor(row: &Row) -> bool {
    row.params.iter().any(|param| param.kind == Kind::Fd)
}

#[test]
fn the_table_says_what_is() {
    let text = document();
    let rows = rows(&text);
    let mut wrong = String::new();
    for row in TABLE {
        let expected: Vec<String> = match arguments(row.name) {
            Some(_) if row.name == "poll_oneoff" || has_descriptor(row) => {
                BACKENDS.iter().map(|kind| answer(kind, row.name)).collect()
            }
            // What has no descriptor has nothing to do with a backend.
            _ => vec!["ok".into(); BACKENDS.len()],
        };
        let there = rows.get(row.name).map(|cells| cells[..BACKENDS.len()].to_vec());
        if there.as_ref().is_none_or(|there| *there != expected) {
            wrong += &format!("| `{}` | {} |\n", row.name, expected.join(" | "));
        }
    }
    assert!(wrong.is_empty(), "docs/conformance.md should say:\n{wrong}");
    assert_eq!(rows.len(), TABLE.len(), "and nothing else");
    assert!(!text.contains("| ENOSYS"), "nothing is left out");
}

#[test]
fn each_row_names_its_test() {
    let text = document();
    let is_part = |c: char| c.is_alphanumeric() || "_/.:".contains(c);
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("tests/"));
    for path in words.filter(|word| !word.contains("::")) {
        assert!(repository().join(path).exists(), "{path} is there");
    }
    for (name, cells) in rows(&text) {
        assert!(cells[BACKENDS.len()].contains("tests/"), "a test pins {name}");
    }
}

#[test]
fn no_errno_is_named_that_is_none() {
    let known = |word: &str| (0..77).filter_map(Errno::from_code).any(|e| is_named(e, word));
    for word in document().split(|c: char| !c.is_ascii_alphanumeric()) {
        if word.len() > 3 && word.starts_with('E') && word.chars().all(|c| c.is_ascii_uppercase()) {
            assert!(known(word), "{word} is an errno");
        }
    }
}

fn is_named(errno: Errno, word: &str) -> bool {
    word.strip_prefix('E').is_some_and(|word| word.eq_ignore_ascii_case(errno.name()))
}
