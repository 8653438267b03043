//! What opening a node comes to: a file, or something that becomes one.

use std::task::Waker;
use std::time::Instant;

use super::{Errno, File, Result, Wait};

/// What [`Node::open`](super::Node::open) answers.
pub enum Opened {
    /// It is open.
    File(Box<dyn File>),
    /// It takes time: a dial that has no answer yet, a server's wait for a client.
    Pending(Box<dyn Pending>),
}

impl Opened {
    /// A file that is open.
    pub fn file(file: impl File + 'static) -> Opened {
        Opened::File(Box::new(file))
    }

    /// Begins: the file if it is there at once, else `pending`, to be asked again.
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

    /// The same with `around` put around the file, once there is one.
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

    /// The file of a backend whose opens take no time.
    ///
    /// # Errors
    ///
    /// EAGAIN if this one does; what was begun is given up.
    pub fn at_once(self) -> Result<Box<dyn File>> {
        match self {
            Opened::File(file) => Ok(file),
            Opened::Pending(_) => Err(Errno::Again),
        }
    }
}

/// An open under way. Dropping it gives it up.
///
/// A call that waits for one keeps it in its frame, and asks it again after each wake.
pub trait Pending: Send {
    /// Goes on as far as it can.
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
