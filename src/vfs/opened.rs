//! The result of opening a node: a file, or an open under way.

use std::task::Waker;
use std::time::Instant;

use super::{Errno, File, Result, Wait};

/// The result of [`Node::open`](super::Node::open).
pub enum Opened {
    /// The open file.
    File(Box<dyn File>),
    /// An open that takes time: a dial without an answer yet, a server's wait for a client.
    Pending(Box<dyn Pending>),
}

impl Opened {
    /// A file that is open.
    pub fn file(file: impl File + 'static) -> Opened {
        Opened::File(Box::new(file))
    }

    /// Starts an open: the file if `pending` completes at once, else `pending`.
    ///
    /// # Errors
    ///
    /// The error of the open, if it has failed already.
    pub fn begin(mut pending: impl Pending + 'static) -> Result<Opened> {
        match pending.proceed() {
            Ok(file) => Ok(Opened::File(file)),
            Err(Errno::Again) => Ok(Opened::Pending(Box::new(pending))),
            Err(error) => Err(error),
        }
    }

    /// Wraps the file with `around`, now or once it is open.
    pub fn map<F>(self, around: F) -> Opened
    where
        F: FnOnce(Box<dyn File>) -> Box<dyn File> + Send + 'static,
    {
        match self {
            Opened::File(file) => Opened::File(around(file)),
            Opened::Pending(pending) => {
                Opened::Pending(Box::new(Mapped { pending, around: Some(around) }))
            }
        }
    }

    /// The file, for a backend whose opens take no time.
    ///
    /// # Errors
    ///
    /// EAGAIN if the open takes time. It is then given up.
    pub fn at_once(self) -> Result<Box<dyn File>> {
        match self {
            Opened::File(file) => Ok(file),
            Opened::Pending(_) => Err(Errno::Again),
        }
    }
}

/// An open under way. Dropping it cancels the open.
///
/// The frame of the call that waits keeps it, and calls [`proceed`](Pending::proceed) after each
/// wake.
pub trait Pending: Send {
    /// Advances the open as far as possible.
    ///
    /// # Errors
    ///
    /// EAGAIN if it has to wait; then [`Pending::wait`] says for what. Anything else is the
    /// error of the open, and ends it.
    fn proceed(&mut self) -> Result<Box<dyn File>>;

    /// How to learn that it may proceed. One-shot, as [`File::wait`].
    fn wait(&mut self, waker: &Waker) -> Wait<'_>;

    /// When it must proceed even if nothing woke its waiter: a connect has a time limit of its
    /// own. Asked together with `wait`, it goes along with whatever that answers,
    /// [`Wait::Never`] included.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether it can be given up and begun again later with nothing lost. The wait for a
    /// client can; a dial can't, since it would never get anywhere. With NONBLOCK such an open
    /// is answered with EAGAIN instead of being waited for.
    fn restarts(&self) -> bool {
        false
    }
}

/// An open whose file will have something around it.
struct Mapped<F> {
    pending: Box<dyn Pending>,
    around: Option<F>,
}

impl<F> Pending for Mapped<F>
where
    F: FnOnce(Box<dyn File>) -> Box<dyn File> + Send,
{
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        let file = self.pending.proceed()?;
        let around = self.around.take().ok_or(Errno::Badf)?;
        Ok(around(file))
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        self.pending.wait(waker)
    }

    fn deadline(&self) -> Option<Instant> {
        self.pending.deadline()
    }

    fn restarts(&self) -> bool {
        self.pending.restarts()
    }
}
