//! What can be typed. Help, completions, the manual page and the check of what was typed
//! are all derived from here.
//!
//! The first word of an option's description, up to the bar, is its group in the help. A
//! value in brackets is optional, and has to be written with `=`.

pub mod suggest;
pub mod table;
pub mod units;

use argh::{ArgsInfo, FromArgs};

/// A small WASI host: runs WebAssembly programs, with the network as files in /dev.
#[derive(FromArgs, ArgsInfo, Debug)]
pub struct Args {
    #[argh(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
pub enum Command {
    /// `tinyhost run`
    Run(Run),
    /// `tinyhost serve`
    #[cfg(feature = "serve")]
    Serve(Serve),
    /// `tinyhost completions`
    Completions(Completions),
    /// `tinyhost man`
    Man(Man),
}

/// What a guest is given, as typed.
#[derive(Debug, Default)]
pub struct Given {
    pub dir: Vec<String>,
    pub mount: Vec<String>,
    pub no_dev: bool,
    pub env: Vec<String>,
    pub net: Vec<String>,
    pub net_listen: Vec<String>,
    pub listen: Vec<String>,
    pub policy: Option<String>,
}

/// The options of a trace, as typed.
#[derive(Debug, Default)]
pub struct Traced {
    pub filter: Option<String>,
    pub format: Option<String>,
    pub file: Option<String>,
    pub bytes: Option<String>,
}

/// A command that runs guests: its own options around those that all such commands share.
macro_rules! runs_guests {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($first:tt)*
        }
        given {
            $($middle:tt)*
        }
        traced {
            $($last:tt)*
        }
    ) => {
        #[derive(FromArgs, ArgsInfo, Debug)]
        $(#[$meta])*
        pub struct $name {
            $($first)*
            /// allowed | a directory: HOST[::GUEST][::ro]
            #[argh(option, arg_name = "dir")]
            pub dir: Vec<String>,
            /// allowed | GUEST=KIND[:ARG][,ro][,quota=SIZE]; host mem tar unix
            #[argh(option, arg_name = "mount")]
            pub mount: Vec<String>,
            /// allowed | leave out /dev
            #[argh(switch)]
            pub no_dev: bool,
            /// allowed | a variable: NAME=VALUE, or NAME to pass one on
            #[argh(option, arg_name = "var")]
            pub env: Vec<String>,
            /// allowed | HOST:PORT, *.a.org:443, 10.0.0.0/8:*, none
            #[argh(option, arg_name = "rule")]
            pub net: Vec<String>,
            /// allowed | where /dev/accept may listen: ADDR:PORT
            #[argh(option, arg_name = "rule")]
            pub net_listen: Vec<String>,
            /// allowed | all of these, as a file
            #[argh(option, arg_name = "file")]
            pub policy: Option<String>,
            $($middle)*
            /// look inside | its calls: fd,path,net,poll,clock,proc,errors
            #[argh(option, arg_name = "[filter]")]
            pub trace: Option<String>,
            /// look inside | text, json, or chrome for Perfetto
            #[argh(option, arg_name = "format")]
            pub trace_format: Option<String>,
            /// look inside | write the trace there, not to stderr
            #[argh(option, arg_name = "file")]
            pub trace_file: Option<String>,
            /// look inside | bytes shown of each buffer (32)
            #[argh(option, arg_name = "count")]
            pub trace_bytes: Option<String>,
            /// look inside | write a report there if it is ended
            #[argh(option, arg_name = "dir")]
            pub crash_dir: Option<String>,
            $($last)*
            /// the program, and its arguments
            #[argh(positional, greedy)]
            pub program: Vec<String>,
        }

        impl $name {
            /// Takes what says what a guest is given.
            pub fn take_given(&mut self) -> Given {
                Given {
                    dir: std::mem::take(&mut self.dir),
                    mount: std::mem::take(&mut self.mount),
                    no_dev: self.no_dev,
                    env: std::mem::take(&mut self.env),
                    net: std::mem::take(&mut self.net),
                    net_listen: std::mem::take(&mut self.net_listen),
                    listen: Vec::new(),
                    policy: self.policy.take(),
                }
            }

            /// Takes the options of a trace.
            pub fn take_traced(&mut self) -> Traced {
                Traced {
                    filter: self.trace.take(),
                    format: self.trace_format.take(),
                    file: self.trace_file.take(),
                    bytes: self.trace_bytes.take(),
                }
            }
        }
    };
}

runs_guests! {
    /// Run a program. Everything behind its name is its own.
    #[argh(
        subcommand,
        name = "run",
        example = "tinyhost run --dir .::/data hello.wasm /data/file.txt",
        example = "tinyhost run --net example.com:80 --trace=net,errors client.wasm",
        note = "A program opens /dev/HOST:PORT to dial. Without --net only localhost:1997 can be reached.",
        note = "PROGRAM can be - for standard input."
    )]
    pub struct Run {}
    given {
        /// allowed | a socket that listens, given to the guest
        #[argh(option, arg_name = "addr")]
        pub listen: Vec<String>,
        /// limits | end it after this time, as 500ms, 5s, 2m (no limit)
        #[argh(option, arg_name = "time")]
        pub timeout: Option<String>,
        /// limits | end it after so much CPU time, as 500ms, 5s (no limit)
        #[argh(option, arg_name = "time")]
        pub cpu: Option<String>,
        /// limits | end it after so much, 1 an instruction or more (no limit)
        #[argh(option, arg_name = "count")]
        pub fuel: Option<String>,
        /// limits | memory it can have, as 64M (no limit)
        #[argh(option, arg_name = "size")]
        pub memory: Option<String>,
        /// limits | files open at once, its streams and preopens too (1024)
        #[argh(option, arg_name = "count")]
        pub max_fds: Option<String>,
        /// limits | stack it can use (32M)
        #[argh(option, arg_name = "size")]
        pub stack: Option<String>,
    }
    traced {
        /// look inside | sums of its calls, when it has ended
        #[argh(switch)]
        pub stats: bool,
        /// look inside | write down what it used, as a policy
        #[argh(option, arg_name = "file")]
        pub learn: Option<String>,
        /// look inside | no hints when it fails
        #[argh(switch)]
        pub quiet: bool,
    }
}

#[cfg(feature = "serve")]
runs_guests! {
    /// Answer lines on TCP port 1997: each is the input of a guest, and what it prints is the reply. Without a program it echoes. Everything behind its name is the program's own.
    #[argh(
        subcommand,
        name = "serve",
        example = "tinyhost serve --keep-open filter.wasm",
        example = "tinyhost serve --per connection --bind 0.0.0.0:7000 chat.wasm"
    )]
    pub struct Serve {
        /// serving | where to listen (127.0.0.1:1997, [::1]:1997); port 0: any
        #[argh(option, arg_name = "addr")]
        pub bind: Vec<String>,
        /// serving | line after line, not closing after the first
        #[argh(switch)]
        pub keep_open: bool,
        /// serving | what a guest serves: line (default), connection
        #[argh(option, arg_name = "unit")]
        pub per: Option<String>,
        /// serving | event loops (as many as processors)
        #[argh(option, arg_name = "count")]
        pub workers: Option<String>,
        /// serving | guests of a loop that wait for their lines (0)
        #[argh(option, arg_name = "count")]
        pub ahead: Option<String>,
        /// serving | load the program anew when its file changes
        #[argh(switch)]
        pub watch: bool,
        /// serving | answer GET /metrics and /healthz at ADDR:PORT
        #[argh(option, arg_name = "addr")]
        pub metrics: Option<String>,
        /// serving | error, warn, info, debug, trace (info)
        #[argh(option, arg_name = "level")]
        pub log_level: Option<String>,
        /// serving | text or json (text)
        #[argh(option, arg_name = "format")]
        pub log_format: Option<String>,
        /// limits | connections at once (1024)
        #[argh(option, arg_name = "count")]
        pub max_conns: Option<String>,
        /// limits | connections at once of one address (64)
        #[argh(option, arg_name = "count")]
        pub max_conns_per_addr: Option<String>,
        /// limits | length of a line (64K)
        #[argh(option, arg_name = "size")]
        pub max_line: Option<String>,
        /// limits | length of a reply (8M)
        #[argh(option, arg_name = "size")]
        pub max_reply: Option<String>,
        /// limits | a line, first byte to end of reply (5s)
        #[argh(option, arg_name = "time")]
        pub timeout: Option<String>,
        /// limits | a connection may be silent (60s)
        #[argh(option, arg_name = "time")]
        pub idle: Option<String>,
        /// limits | memory of a guest (64M)
        #[argh(option, arg_name = "size")]
        pub memory: Option<String>,
        /// limits | memory of all, beyond 4 MiB of each (2G)
        #[argh(option, arg_name = "size")]
        pub memory_total: Option<String>,
        /// limits | stack of a guest, beside its memory (2M)
        #[argh(option, arg_name = "size")]
        pub stack: Option<String>,
        /// limits | CPU time of a guest (no limit but its time)
        #[argh(option, arg_name = "time")]
        pub cpu: Option<String>,
        /// limits | fuel of a guest (no limit but its time)
        #[argh(option, arg_name = "count")]
        pub fuel: Option<String>,
        /// limits | files of a guest open at once, streams too (64)
        #[argh(option, arg_name = "count")]
        pub max_fds: Option<String>,
    }
    given {}
    traced {}
}

/// Print completions for a shell: bash, zsh or fish.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "completions",
    example = "tinyhost completions bash > /etc/bash_completion.d/tinyhost",
    example = "tinyhost completions zsh > ~/.zfunc/_tinyhost",
    example = "tinyhost completions fish > ~/.config/fish/completions/tinyhost.fish"
)]
pub struct Completions {
    /// the shell
    #[argh(positional)]
    pub shell: String,
}

/// Print the manual page.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "man", example = "tinyhost man | man -l -")]
pub struct Man {}
