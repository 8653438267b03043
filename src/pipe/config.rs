//! The configuration of a filter.

use std::fmt;
use std::sync::Arc;

use super::framing::Framing;
use crate::program::Program;
use crate::serve::Limits;
pub use crate::serve::{MakeNamespace, PostMortem};
use crate::vfs::Namespace;
use crate::wasi::CtxBuilder;

/// Items under way for each worker, unless the configuration says otherwise.
const WINDOW_PER_WORKER: usize = 256;

/// Changes the context of each guest before the guest is made: its trace, clocks, random bytes.
/// The number is the item's, from 1.
pub type PrepareItem = Arc<dyn Fn(u64, CtxBuilder) -> CtxBuilder + Send + Sync>;

/// What becomes of an item that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The filter ends with the first one. The replies before it are written.
    #[default]
    Fail,
    /// The item itself takes the place of the reply.
    Pass,
    /// It has no reply.
    Drop,
}

/// The configuration of a filter.
#[derive(Clone)]
pub struct PipeConfig {
    /// The program to run.
    pub program: Program,
    /// The program's name: the guest's `argv[0]`.
    pub name: String,
    /// Arguments after the name.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Makes the files that a guest sees.
    pub namespace: MakeNamespace,
    /// The number of worker threads. 0 is taken as 1.
    pub workers: usize,
    /// Items that may be under way at once: taken from the input, and not written yet. 0 is 256 for
    /// each worker.
    pub window: usize,
    /// Where an item ends and the next begins, in both directions.
    pub framing: Framing,
    /// With [`Framing::Lines`]: a reply is one line, and an item whose reply is none or several
    /// fails. Frames always have one reply.
    pub exact: bool,
    /// What becomes of an item that fails.
    pub on_error: OnError,
    /// Limits on guests and items. Those on connections, and `idle`, mean nothing here.
    pub limits: Limits,
    /// Changes each guest's context.
    pub prepare: Option<PrepareItem>,
    /// Called with each guest that trapped or that the host ended.
    pub post_mortem: Option<PostMortem>,
}

impl PipeConfig {
    /// A configuration of lines with one worker and the default limits.
    pub fn new(program: Program, name: impl Into<String>) -> PipeConfig {
        let namespace = Namespace::default();
        PipeConfig {
            program,
            name: name.into(),
            args: Vec::new(),
            env: Vec::new(),
            namespace: Arc::new(move || namespace.clone()),
            workers: 1,
            window: 0,
            framing: Framing::default(),
            exact: false,
            on_error: OnError::default(),
            limits: Limits::default(),
            prepare: None,
            post_mortem: None,
        }
    }

    pub(super) fn window_items(&self) -> usize {
        match self.window {
            0 => self.workers.max(1).saturating_mul(WINDOW_PER_WORKER),
            window => window,
        }
    }

    /// The most items of a batch: with fewer batches than workers some would have none.
    pub(super) fn batch_items(&self) -> usize {
        const MOST: usize = 64;
        (self.window_items() / (2 * self.workers.max(1))).clamp(1, MOST)
    }
}

impl fmt::Debug for PipeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).finish_non_exhaustive()
    }
}
