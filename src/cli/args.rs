//! What can be typed.

use argh::FromArgs;

/// A small WASI host: runs WebAssembly programs, with the network as files in /dev.
#[derive(FromArgs, Debug)]
pub struct Args {
    #[argh(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
pub enum Command {
    /// `tinyhost run`
    Run(Run),
    /// `tinyhost serve`
    Serve(Serve),
}

/// Run a program: tinyhost run [OPTIONS] PROGRAM.wasm [ARGS...]. Everything behind the program is its own.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "run",
    example = "{command_name} --dir .::/data hello.wasm /data/file.txt",
    example = "{command_name} --net example.com:80 client.wasm",
    example = "{command_name} --mount /work=mem,quota=10M --timeout 5s job.wasm",
    note = "Network: /dev/HOST:PORT and /dev/tcp/HOST/PORT dial when they are opened. Without --net only localhost:1997 can be reached."
)]
pub struct Run {
    /// a directory of the host the guest may use: HOST[::GUEST][::ro]
    #[argh(option, arg_name = "dir")]
    pub dir: Vec<String>,
    /// anything mounted: GUEST=KIND[:ARG][,ro][,quota=SIZE], KIND being host, mem, tar or unix
    #[argh(option, arg_name = "mount")]
    pub mount: Vec<String>,
    /// leave out /dev
    #[argh(switch)]
    pub no_dev: bool,
    /// a variable for the guest: NAME=VALUE, or NAME to pass one on
    #[argh(option, arg_name = "var")]
    pub env: Vec<String>,
    /// what may be dialled: HOST:PORT, *.example.org:443, 10.0.0.0/8:5432, *:80, none
    #[argh(option, arg_name = "rule")]
    pub net: Vec<String>,
    /// where /dev/accept may listen: ADDR:PORT
    #[argh(option, arg_name = "rule")]
    pub net_listen: Vec<String>,
    /// a listening socket given to the guest as a descriptor: ADDR:PORT
    #[argh(option, arg_name = "addr")]
    pub listen: Vec<String>,
    /// end the guest after this time: 500ms, 5s, 2m
    #[argh(option, arg_name = "time")]
    pub timeout: Option<String>,
    /// end the guest after so many units of fuel, about one an instruction
    #[argh(option, arg_name = "count")]
    pub fuel: Option<String>,
    /// memory the guest can have: 64M
    #[argh(option, arg_name = "size")]
    pub memory: Option<String>,
    /// files the guest can have open (1024)
    #[argh(option, arg_name = "count")]
    pub max_fds: Option<String>,
    /// stack the guest can use (32M)
    #[argh(option, arg_name = "size")]
    pub stack: Option<String>,
    /// the program, and its arguments
    #[argh(positional, greedy)]
    pub command: Vec<String>,
}

/// Answer lines on TCP port 1997: each line a client sends is the input of a guest, and what the guest prints is the reply. Without a program it echoes.
#[derive(FromArgs, Debug)]
#[argh(
    subcommand,
    name = "serve",
    example = "{command_name} --keep-open filter.wasm",
    example = "{command_name} --per connection --bind 0.0.0.0:7000 chat.wasm"
)]
pub struct Serve {
    /// where to listen (127.0.0.1:1997 and [::1]:1997); port 0 takes a free one and prints it
    #[argh(option, arg_name = "addr")]
    pub bind: Vec<String>,
    /// answer line after line until the client closes, instead of closing after the first
    #[argh(switch)]
    pub keep_open: bool,
    /// a directory of the host the guests may use: HOST[::GUEST][::ro]
    #[argh(option, arg_name = "dir")]
    pub dir: Vec<String>,
    /// anything mounted: GUEST=KIND[:ARG][,ro][,quota=SIZE]
    #[argh(option, arg_name = "mount")]
    pub mount: Vec<String>,
    /// leave out /dev
    #[argh(switch)]
    pub no_dev: bool,
    /// a variable for the guests: NAME=VALUE, or NAME to pass one on
    #[argh(option, arg_name = "var")]
    pub env: Vec<String>,
    /// what may be dialled: HOST:PORT, *.example.org:443, 10.0.0.0/8:5432, *:80, none
    #[argh(option, arg_name = "rule")]
    pub net: Vec<String>,
    /// where /dev/accept may listen: ADDR:PORT
    #[argh(option, arg_name = "rule")]
    pub net_listen: Vec<String>,
    /// what one guest serves: line (default), or connection: its stdin and stdout
    #[argh(option, arg_name = "unit")]
    pub per: Option<String>,
    /// event loops (as many as processors)
    #[argh(option, arg_name = "count")]
    pub workers: Option<String>,
    /// load the program anew when its file changes (SIGHUP does at any time)
    #[argh(switch)]
    pub watch: bool,
    /// connections at once (1024)
    #[argh(option, arg_name = "count")]
    pub max_conns: Option<String>,
    /// connections at once from one address (64)
    #[argh(option, arg_name = "count")]
    pub max_conns_per_addr: Option<String>,
    /// length of a line (64K)
    #[argh(option, arg_name = "size")]
    pub max_line: Option<String>,
    /// length of a reply (8M)
    #[argh(option, arg_name = "size")]
    pub max_reply: Option<String>,
    /// time for a line, from its first byte to its reply's last (5s)
    #[argh(option, arg_name = "time")]
    pub timeout: Option<String>,
    /// time a connection may be silent (60s)
    #[argh(option, arg_name = "time")]
    pub idle: Option<String>,
    /// memory of a guest (64M)
    #[argh(option, arg_name = "size")]
    pub memory: Option<String>,
    /// fuel of a guest, about one an instruction (no limit but its time)
    #[argh(option, arg_name = "count")]
    pub fuel: Option<String>,
    /// files a guest can have open (64)
    #[argh(option, arg_name = "count")]
    pub max_fds: Option<String>,
    /// where to answer GET /metrics and /healthz: ADDR:PORT
    #[argh(option, arg_name = "addr")]
    pub metrics: Option<String>,
    /// error, warn, info, debug (a record for each line) or trace (info)
    #[argh(option, arg_name = "level")]
    pub log_level: Option<String>,
    /// text or json (text)
    #[argh(option, arg_name = "format")]
    pub log_format: Option<String>,
    /// the program, and its arguments
    #[argh(positional, greedy)]
    pub command: Vec<String>,
}
