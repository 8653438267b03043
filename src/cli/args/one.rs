//! What is typed to run one guest, whatever the command.

use super::{Given, Traced};

/// The limits of one guest, as typed.
#[derive(Debug, Default)]
pub struct GuestLimits {
    pub timeout: Option<String>,
    pub cpu: Option<String>,
    pub fuel: Option<String>,
    pub memory: Option<String>,
    pub max_fds: Option<String>,
    pub stack: Option<String>,
}

/// All that is typed to run one guest.
#[derive(Debug, Default)]
pub struct OneGuest {
    pub given: Given,
    pub limits: GuestLimits,
    pub traced: Traced,
    pub crash_dir: Option<String>,
    pub stats: bool,
    pub learn: Option<String>,
    pub quiet: bool,
    pub program: Vec<String>,
}
