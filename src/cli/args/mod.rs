//! What can be typed. Help, completions, the manual page and the check of what was typed
//! are all derived from here.
//!
//! The first word of an option's description, up to the bar, is its group in the help. A
//! value in brackets is optional, and has to be written with `=`.

mod about;
mod one;
pub mod suggest;
pub mod table;
pub mod units;

use argh::{ArgsInfo, FromArgs};

pub use about::{CheckArgs, CompletionsArgs, InspectArgs, ManArgs};
pub use one::{GuestLimits, OneGuest};

/// A small WASI host: runs WebAssembly programs, with the network as files in /dev.
#[derive(FromArgs, ArgsInfo, Debug)]
pub struct CliArgs {
    #[argh(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once")]
pub enum Command {
    /// `tinyhost run`
    Run(RunArgs),
    /// `tinyhost serve`
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// `tinyhost pipe`
    #[cfg(feature = "serve")]
    Pipe(PipeArgs),
    /// `tinyhost warm`
    Warm(WarmArgs),
    /// `tinyhost check`
    Check(CheckArgs),
    /// `tinyhost inspect`
    Inspect(InspectArgs),
    /// `tinyhost completions`
    Completions(CompletionsArgs),
    /// `tinyhost man`
    Man(ManArgs),
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
    /// Options of TLS by name, without their dashes.
    #[cfg(feature = "tls")]
    pub tls: [(&'static str, Vec<String>); 3],
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
            /// access | mount a directory: HOST[::GUEST][::ro]
            #[argh(option, arg_name = "dir")]
            pub dir: Vec<String>,
            /// access | GUEST=KIND[:ARG][,ro][,quota=SIZE]; host mem tar unix
            #[argh(option, arg_name = "mount")]
            pub mount: Vec<String>,
            /// access | do not mount /dev
            #[argh(switch)]
            pub no_dev: bool,
            /// access | set a variable: NAME=VALUE, or NAME to pass it on
            #[argh(option, arg_name = "var")]
            pub env: Vec<String>,
            /// access | may dial HOST:PORT, *.a.org:443, 10.0.0.0/8:*, none
            #[argh(option, arg_name = "rule")]
            pub net: Vec<String>,
            /// access | /dev/accept may listen at ADDR:PORT
            #[argh(option, arg_name = "rule")]
            pub net_listen: Vec<String>,
            #[cfg(feature = "tls")]
            /// access | authorities that /dev/tls trusts (those of browsers)
            #[argh(option, arg_name = "file")]
            pub tls_ca: Vec<String>,
            #[cfg(feature = "tls")]
            /// access | key a TLS peer must have: [HOST:PORT=]sha256/BASE64
            #[argh(option, arg_name = "pin")]
            pub tls_pin: Vec<String>,
            #[cfg(feature = "tls")]
            /// access | add to /dev/https: HOST:PORT HEADER=[TEXT]@env:NAME
            #[argh(option, arg_name = "secret")]
            pub secret: Vec<String>,
            /// access | read these options from a policy file
            #[argh(option, arg_name = "file")]
            pub policy: Option<String>,
            $($middle)*
            /// tracing | show calls: fd,path,net,poll,clock,proc,errors
            #[argh(option, arg_name = "[filter]")]
            pub trace: Option<String>,
            /// tracing | text, json, or chrome for Perfetto
            #[argh(option, arg_name = "format")]
            pub trace_format: Option<String>,
            /// tracing | write the trace to a file instead of stderr
            #[argh(option, arg_name = "file")]
            pub trace_file: Option<String>,
            /// tracing | bytes shown of each buffer (32)
            #[argh(option, arg_name = "count")]
            pub trace_bytes: Option<String>,
            /// tracing | write a report when the host stops a guest
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
                    #[cfg(feature = "tls")]
                    tls: [
                        ("tls-ca", std::mem::take(&mut self.tls_ca)),
                        ("tls-pin", std::mem::take(&mut self.tls_pin)),
                        ("secret", std::mem::take(&mut self.secret)),
                    ],
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

/// A command that runs one guest: its own options beside those that all such commands share.
macro_rules! runs_a_guest {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($own:tt)*
        }
    ) => {
        runs_guests! {
            $(#[$meta])*
            pub struct $name {}
            given {
                /// access | listen at ADDR:PORT for the guest (sock_accept)
                #[argh(option, arg_name = "addr")]
                pub listen: Vec<String>,
                /// limits | stop after this time, such as 500ms or 2m (no limit)
                #[argh(option, arg_name = "time")]
                pub timeout: Option<String>,
                /// limits | stop after this CPU time, such as 5s (no limit)
                #[argh(option, arg_name = "time")]
                pub cpu: Option<String>,
                /// limits | fuel, at least 1 per instruction (no limit)
                #[argh(option, arg_name = "count")]
                pub fuel: Option<String>,
                /// limits | memory, such as 64M (no limit)
                #[argh(option, arg_name = "size")]
                pub memory: Option<String>,
                /// limits | open files, including streams and preopens (1024)
                #[argh(option, arg_name = "count")]
                pub max_fds: Option<String>,
                /// limits | stack (32M)
                #[argh(option, arg_name = "size")]
                pub stack: Option<String>,
                $($own)*
            }
            traced {
                /// tracing | print calls, times and bytes at the end
                #[argh(switch)]
                pub stats: bool,
                /// tracing | write the access it used to a policy file
                #[argh(option, arg_name = "file")]
                pub learn: Option<String>,
                /// tracing | print no hints when it fails
                #[argh(switch)]
                pub quiet: bool,
            }
        }

        impl $name {
            /// Takes what says how the guest is run.
            pub fn take(&mut self) -> OneGuest {
                OneGuest {
                    given: Given { listen: std::mem::take(&mut self.listen), ..self.take_given() },
                    traced: self.take_traced(),
                    limits: GuestLimits {
                        timeout: self.timeout.take(),
                        cpu: self.cpu.take(),
                        fuel: self.fuel.take(),
                        memory: self.memory.take(),
                        max_fds: self.max_fds.take(),
                        stack: self.stack.take(),
                    },
                    crash_dir: self.crash_dir.take(),
                    stats: self.stats,
                    learn: self.learn.take(),
                    quiet: self.quiet,
                    program: std::mem::take(&mut self.program),
                }
            }
        }
    };
}

runs_a_guest! {
    /// Run a program. Put options before the program name. Everything after it is passed to the program.
    #[argh(
        subcommand,
        name = "run",
        example = "tinyhost run --dir .::/data hello.wasm /data/file.txt",
        example = "tinyhost run --net example.com:80 --trace=net,errors client.wasm",
        note = "A program dials /dev/HOST:PORT. Without --net, only localhost:1997.",
        note = "PROGRAM can be - to read it from standard input."
    )]
    pub struct RunArgs {
        /// image | on SIGUSR1 write the guest to this file, at its next read
        #[argh(option, arg_name = "file")]
        pub checkpoint: Option<String>,
    }
}

runs_a_guest! {
    /// Run a program to its first read of standard input, and write what it has become as a module. That module begins with the read, on any WASI preview1 host. Put options before the program name.
    #[argh(
        subcommand,
        name = "warm",
        example = "tinyhost warm -o filter.wasm python.wasm -u -c 'import json, sys; ...'",
        note = "The module needs the same directories as the program, in the same order. Arguments and environment are part of it."
    )]
    pub struct WarmArgs {
        /// image | write the module to this file
        #[argh(option, short = 'o', arg_name = "file")]
        pub output: Option<String>,
    }
}

/// The limits of a command that gives each line a guest, as typed.
#[cfg(feature = "serve")]
#[derive(Debug, Default)]
pub struct Limited {
    pub max_line: Option<String>,
    pub max_reply: Option<String>,
    pub timeout: Option<String>,
    pub memory: Option<String>,
    pub memory_total: Option<String>,
    pub stack: Option<String>,
    pub cpu: Option<String>,
    pub fuel: Option<String>,
    pub max_fds: Option<String>,
}

/// A command that gives each line a guest: its own options around the limits that all such
/// commands share.
#[cfg(feature = "serve")]
macro_rules! answers_lines {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($first:tt)*
        }
    ) => {
        runs_guests! {
            $(#[$meta])*
            pub struct $name {
                $($first)*
                /// limits | bytes in a line (64K)
                #[argh(option, arg_name = "size")]
                pub max_line: Option<String>,
                /// limits | bytes in a reply (8M)
                #[argh(option, arg_name = "size")]
                pub max_reply: Option<String>,
                /// limits | time a line may take until its reply ends (5s)
                #[argh(option, arg_name = "time")]
                pub timeout: Option<String>,
                /// limits | memory of each guest (64M)
                #[argh(option, arg_name = "size")]
                pub memory: Option<String>,
                /// limits | memory and stacks of all guests, beyond 7 MiB of each (2G)
                #[argh(option, arg_name = "size")]
                pub memory_total: Option<String>,
                /// limits | stack of each guest (2M)
                #[argh(option, arg_name = "size")]
                pub stack: Option<String>,
                /// limits | CPU time of each guest (no limit)
                #[argh(option, arg_name = "time")]
                pub cpu: Option<String>,
                /// limits | fuel of each guest (no limit)
                #[argh(option, arg_name = "count")]
                pub fuel: Option<String>,
                /// limits | open files of each guest, including streams (64)
                #[argh(option, arg_name = "count")]
                pub max_fds: Option<String>,
            }
            given {}
            traced {}
        }

        impl $name {
            /// Takes the limits.
            pub fn take_limited(&mut self) -> Limited {
                Limited {
                    max_line: self.max_line.take(),
                    max_reply: self.max_reply.take(),
                    timeout: self.timeout.take(),
                    memory: self.memory.take(),
                    memory_total: self.memory_total.take(),
                    stack: self.stack.take(),
                    cpu: self.cpu.take(),
                    fuel: self.fuel.take(),
                    max_fds: self.max_fds.take(),
                }
            }
        }
    };
}

#[cfg(feature = "serve")]
answers_lines! {
    /// Answer lines on TCP port 1997, each by a guest. By default it echoes. Put options before the program name. Everything after it is passed to the program.
    #[argh(
        subcommand,
        name = "serve",
        example = "tinyhost serve --keep-open --bind 0.0.0.0:7000 filter.wasm"
    )]
    pub struct ServeArgs {
        /// serving | listen at ADDR:PORT, unix:PATH[,mode=MODE], fd:NAME
        #[argh(option, arg_name = "addr")]
        pub bind: Vec<String>,
        /// serving | proxies say whose connections they pass on
        #[argh(option, arg_name = "[required]")]
        pub proxy_protocol: Option<String>,
        /// serving | trusted proxy: ADDR[/BITS] or unix (this machine's)
        #[argh(option, arg_name = "addr")]
        pub proxy_from: Vec<String>,
        #[cfg(feature = "nats")]
        /// serving | answer messages of nats://HOST:PORT/SUBJECT?queue=NAME
        #[argh(option, arg_name = "url")]
        pub from: Option<String>,
        #[cfg(feature = "nats")]
        /// serving | its USER:PASSWORD or token, or @env:NAME, @file:PATH
        #[argh(option, arg_name = "login")]
        pub from_auth: Option<String>,
        /// serving | keep a connection open for more lines
        #[argh(switch)]
        pub keep_open: bool,
        /// serving | what one guest serves: line or connection (line)
        #[argh(option, arg_name = "unit")]
        pub per: Option<String>,
        /// serving | answer requests of HTTP/1.1, each by a guest as in CGI
        #[argh(switch)]
        pub http: bool,
        /// serving | answer requests of SCGI, of nginx or Apache in front
        #[argh(switch)]
        pub scgi: bool,
        /// serving | event loops (one per processor)
        #[argh(option, arg_name = "count")]
        pub workers: Option<String>,
        /// serving | guests each loop starts before their lines come (0)
        #[argh(option, arg_name = "count")]
        pub ahead: Option<String>,
        /// serving | start guests from where the program first reads its input
        #[argh(switch)]
        pub warm: bool,
        /// serving | export of a library to call for each line, with --warm
        #[argh(option, arg_name = "export")]
        pub call: Option<String>,
        #[cfg(feature = "tls")]
        /// serving | speak TLS with this certificate (PEM); SIGHUP reloads
        #[argh(option, arg_name = "file")]
        pub tls_cert: Option<String>,
        #[cfg(feature = "tls")]
        /// serving | its private key (PEM)
        #[argh(option, arg_name = "file")]
        pub tls_key: Option<String>,
        #[cfg(feature = "tls")]
        /// serving | clients need a certificate of these authorities
        #[argh(option, arg_name = "file")]
        pub tls_client_ca: Option<String>,
        /// serving | on SIGTERM accept for this time, with /healthz at 503 (0s)
        #[argh(option, arg_name = "time")]
        pub drain: Option<String>,
        /// serving | reload the program when its file changes
        #[argh(switch)]
        pub watch: bool,
        /// serving | answer GET /metrics and /healthz there
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
        /// limits | the same of one address (64; of this machine no limit)
        #[argh(option, arg_name = "count")]
        pub max_conns_per_addr: Option<String>,
        /// limits | bytes in the head of a request, with --http (16K)
        #[argh(option, arg_name = "size")]
        pub max_head: Option<String>,
        /// limits | bytes in the body of a request, with --http (8M)
        #[argh(option, arg_name = "size")]
        pub max_body: Option<String>,
        /// limits | time a connection may be silent (60s)
        #[argh(option, arg_name = "time")]
        pub idle: Option<String>,
    }
}

#[cfg(feature = "serve")]
answers_lines! {
    /// Filter lines. Each line of standard input is the input of a guest, and what the guest prints takes its place on standard output, in the order of the lines. Put options before the program name. Everything after it is passed to the program.
    #[argh(
        subcommand,
        name = "pipe",
        example = "tinyhost pipe filter.wasm < lines.txt > replies.txt",
        example = "zcat log.gz | tinyhost pipe --exact --on-error pass redact.wasm | head",
        note = "The exit status is 1 if a line has failed."
    )]
    pub struct PipeArgs {
        /// filtering | lines, length32 or netstring (lines)
        #[argh(option, arg_name = "framing")]
        pub framing: Option<String>,
        /// filtering | a reply is one line; a line with another fails
        #[argh(switch)]
        pub exact: bool,
        /// filtering | of a line that fails: fail, pass, drop, stderr (fail)
        #[argh(option, arg_name = "what")]
        pub on_error: Option<String>,
        /// filtering | start guests from where the program first reads its input
        #[argh(switch)]
        pub warm: bool,
        /// filtering | export of a library to call for each line, with --warm
        #[argh(option, arg_name = "export")]
        pub call: Option<String>,
        /// filtering | threads that run guests (one per processor)
        #[argh(option, arg_name = "count")]
        pub workers: Option<String>,
        /// filtering | lines under way at once (256 for each worker)
        #[argh(option, arg_name = "count")]
        pub window: Option<String>,
        /// filtering | show no progress on a terminal
        #[argh(switch)]
        pub quiet: bool,
    }
}
