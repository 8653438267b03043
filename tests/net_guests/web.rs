//! A web server to talk to: nginx, or a stand-in where there is none.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use crate::net_util::LIMIT;
use crate::util::TempDir;

/// A running server of [`body`] at `/data.txt`, on a port and on a Unix socket.
pub struct Web {
    pub at: SocketAddr,
    pub socket: String,
    _folder: TempDir,
    nginx: Option<Child>,
}

/// Some 500 kB: more than one read gives.
pub fn body() -> String {
    (0..40_000).map(|number| format!("line {number}\n")).collect()
}

impl Web {
    pub fn start() -> Web {
        let lines = |at: SocketAddr, dir: &str| format!("listen {at}; listen unix:{dir}/web.sock;");
        Web::with(lines, stand_in)
    }

    /// One whose block `server` has these lines, at an address and with a folder of its own. The
    /// stand-in is given the path of a Unix socket.
    pub fn with(
        lines: impl Fn(SocketAddr, &str) -> String,
        stand_in: impl FnOnce(&str) -> SocketAddr,
    ) -> Web {
        let folder = TempDir::new();
        folder.file("data.txt", body().as_bytes());
        let socket = folder.path().join("web.sock").display().to_string();
        // Somebody else may take the port between our looking and nginx's binding.
        for _ in 0..8 {
            let _ = std::fs::remove_file(&socket); // of an nginx that failed
            let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            match nginx(&folder, &lines(at, folder.path().to_str().unwrap())) {
                Started::Running(child) => {
                    return Web { at, socket, _folder: folder, nginx: Some(child) };
                }
                Started::Failed(said) => eprintln!("nginx did not start: {said}"),
                Started::Missing => {
                    // Past the capture of the test harness: this is to be seen.
                    let mut stderr = std::io::stderr();
                    let loud = "\n*** nginx is not installed: the network clients are tested \
                                against a stand-in. Run .ci/install-nginx ***\n";
                    stderr.write_all(loud.as_bytes()).unwrap();
                    let at = stand_in(&socket);
                    return Web { at, socket, _folder: folder, nginx: None };
                }
            }
        }
        panic!("nginx can't be started");
    }
}

impl Web {
    /// Whether it is nginx, and no stand-in.
    pub fn is_nginx(&self) -> bool {
        self.nginx.is_some()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        if let Some(nginx) = &mut self.nginx {
            let _ = nginx.kill();
            let _ = nginx.wait();
        }
    }
}

enum Started {
    Running(Child),
    Failed(String),
    Missing,
}

fn nginx(folder: &TempDir, lines: &str) -> Started {
    let dir = folder.path().to_str().unwrap();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr notice;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; {temp}\n\
         server {{ {lines} root {dir}; }} }}\n"
    );
    let config = folder.file("nginx.conf", config.as_bytes());
    let sbin = "/usr/sbin/nginx";
    let program = if std::path::Path::new(sbin).exists() { sbin } else { "nginx" };
    let mut command = Command::new(program);
    command.args(["-p", dir, "-e", "stderr", "-c", &config]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return Started::Missing };

    // It says which events it uses once it has bound what it listens on.
    let (send, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
    let mut said = String::new();
    while let Ok(line) = lines.recv_timeout(LIMIT) {
        if line.contains("event method") {
            // What it says from now on is read and thrown away.
            thread::spawn(move || lines.into_iter().for_each(drop));
            return Started::Running(child);
        }
        said += &line;
    }
    let _ = child.kill();
    let _ = child.wait();
    Started::Failed(said)
}

fn stand_in(socket: &str) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(socket).unwrap();
    thread::spawn(move || tcp.incoming().for_each(|stream| answer(stream.unwrap())));
    thread::spawn(move || unix.incoming().for_each(|stream| answer(stream.unwrap())));
    at
}

/// Answers one request, as the stand-in does.
pub fn answer(mut stream: impl Read + Write) {
    let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let (status, body) = match request.split(' ').nth(1) {
        Some("/data.txt") => ("200 OK", body()),
        _ => ("404 Not Found", String::new()),
    };
    let _ = write!(stream, "HTTP/1.0 {status}\r\nServer: stand-in\r\n\r\n{body}");
}
