//! Commands about this program itself.

use argh::{ArgsInfo, FromArgs};

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
