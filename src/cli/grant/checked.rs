//! What is known of a command before anything of it is started.

use super::policy::Grant;

/// What a command would be started with: what guests may have, and the program.
pub struct Checked {
    pub grant: Grant,
    /// `None` for the one that is built in.
    pub program: Option<String>,
    /// Where it listens, and the like: a name and a text each.
    pub facts: Vec<(&'static str, String)>,
    /// Its network begins with the rule of `run`.
    pub is_run: bool,
}
