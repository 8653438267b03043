//! Commands about this program itself.

use argh::{ArgsInfo, FromArgs};

/// Check what run (or serve) would be started with, and start nothing: options, program, mounts and certificates. It shows what the program needs, and the files and rules it has.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "check",
    example = "tinyhost check serve --policy filter.policy --bind unix:/run/filter.sock filter.wasm",
    example = "tinyhost check --dir .::/data::ro hello.wasm",
    note = "The exit status is 0, 2 for a wrong command line, and 125 for what can't be started."
)]
pub struct CheckArgs {
    /// the command, as it would be started
    #[argh(positional, greedy)]
    pub command: Vec<String>,
}

/// Show what a program is: imports, exports, memory, what built it, and whether it can be run, recycled and warmed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "inspect", example = "tinyhost inspect filter.wasm")]
pub struct InspectArgs {
    /// the program
    #[argh(positional)]
    pub program: String,
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
pub struct CompletionsArgs {
    /// the shell
    #[argh(positional)]
    pub shell: String,
}

/// Print the manual page.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "man", example = "tinyhost man | man -l -")]
pub struct ManArgs {}
