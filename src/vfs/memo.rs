//! What one call has asked of others, and what they answered.
//!
//! A call that has to wait is run again from its beginning. So a node that asks a server for
//! what it is to answer must not ask again what it has asked before: a `mkdir` would be made
//! twice. A [`Memo`] keeps the answers of one call in the order of the questions. The walk is
//! the same each time, given the same answers, so the n-th question finds the n-th answer, and
//! the call comes a question further with each run.
//!
//! The memo lives in the frame of a call, and goes with it: when the call ends or is
//! cancelled, the question under way is dropped, which withdraws it.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::{Errno, Result, Wait};

/// The questions and answers of one call.
///
/// Costs nothing until a node asks.
#[derive(Default)]
pub struct Memo(OnceLock<Asker>);

/// A node's access to the memo of a call.
#[derive(Clone, Default)]
pub struct Asker(Arc<Mutex<Questions>>);

/// A question that was sent. Dropping it withdraws it: its answer is not wanted any more.
pub trait Question: Send {
    /// What comes back.
    type Answer: Clone + Send + 'static;

    /// The answer.
    ///
    /// # Errors
    ///
    /// EAGAIN while there is none; any other error is the answer.
    fn answer(&mut self) -> Result<Self::Answer>;

    /// How to learn that there is one. One-shot, as [`File::wait`](super::File::wait).
    fn wait(&mut self, waker: &Waker) -> Wait<'_>;

    /// When to ask for it in any case.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

#[derive(Default)]
struct Questions {
    /// The answers so far, each with what was asked.
    answers: Vec<(u64, Box<dyn Any + Send>)>,
    /// How many of them this run has used.
    had: usize,
    /// The question that has no answer yet.
    under_way: Option<(u64, Box<dyn Asked>)>,
}

/// A [`Question`] of whatever type.
trait Asked: Send {
    fn answer(&mut self) -> Option<Box<dyn Any + Send>>;
    fn wait(&mut self, waker: &Waker) -> Wait<'_>;
    fn deadline(&self) -> Option<Instant>;
}

impl<Q: Question> Asked for Q {
    fn answer(&mut self) -> Option<Box<dyn Any + Send>> {
        match Question::answer(self) {
            Err(Errno::Again) => None,
            answer => Some(Box::new(answer)),
        }
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        Question::wait(self, waker)
    }

    fn deadline(&self) -> Option<Instant> {
        Question::deadline(self)
    }
}

impl Asker {
    fn lock(&self) -> MutexGuard<'_, Questions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers from the memo, or sends the question.
    ///
    /// `what` identifies what is asked: a hash of node, verb and names. It is compared with
    /// what was asked at this place before. If that differs, something else has changed the
    /// tree meanwhile, and what was answered from there on is forgotten.
    ///
    /// # Errors
    ///
    /// EAGAIN while there is no answer; the caller answers it, too. Otherwise the error that
    /// was the answer, or that `send` failed with.
    pub fn ask<Q: Question + 'static>(
        &self,
        what: u64,
        send: impl FnOnce() -> Result<Q>,
    ) -> Result<Q::Answer> {
        let mut questions = self.lock();
        let at = questions.had;
        if let Some((asked, answer)) = questions.answers.get(at)
            && *asked == what
            && let Some(answer) = answer.downcast_ref::<Result<Q::Answer>>()
        {
            let answer = answer.clone();
            questions.had += 1;
            return answer;
        }
        questions.answers.truncate(at);
        let mut question: Box<dyn Asked> = match questions.under_way.take() {
            Some((asked, question)) if asked == what => question,
            _ => Box::new(send()?),
        };
        let Some(answer) = question.answer() else {
            questions.under_way = Some((what, question));
            return Err(Errno::Again);
        };
        // The same place, but a question of another type: only a collision of `what` can do it.
        let known = answer.downcast_ref::<Result<Q::Answer>>().cloned();
        questions.answers.push((what, answer));
        questions.had += 1;
        known.unwrap_or(Err(Errno::Io))
    }
}

impl Memo {
    /// Access to it, for a node that asks.
    pub fn asker(&self) -> Asker {
        self.0.get_or_init(Asker::default).clone()
    }

    /// Before the call is run again.
    pub fn rewind(&self) {
        if let Some(asker) = self.0.get() {
            asker.lock().had = 0;
        }
    }

    /// Whether any node has used it.
    pub fn is_used(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether a question has no answer yet: the call has to wait.
    pub fn is_waiting(&self) -> bool {
        self.0.get().is_some_and(|asker| asker.lock().under_way.is_some())
    }

    /// Gives `arm` how to learn that the call may be run again. (A descriptor that the system
    /// watches is lent only while the memo is locked.)
    pub(crate) fn wait(&self, waker: &Waker, mut arm: impl FnMut(Wait<'_>)) {
        let Some(asker) = self.0.get() else { return arm(Wait::Now) };
        match &mut asker.lock().under_way {
            Some((_, question)) => arm(question.wait(waker)),
            None => arm(Wait::Now),
        }
    }

    /// When it must be run again in any case.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let asker = self.0.get()?;
        let questions = asker.lock();
        let (_, question) = questions.under_way.as_ref()?;
        question.deadline()
    }
}

/// Nodes may outlive the call they were found in, but what was asked for it does not.
impl Drop for Memo {
    fn drop(&mut self) {
        if let Some(asker) = self.0.get() {
            let questions = std::mem::take(&mut *asker.lock());
            // Withdrawing may wake others: not while the memo is locked.
            drop(questions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with what it was sent with, once `ready`.
    struct Echo(u32, bool);

    impl Question for Echo {
        type Answer = u32;

        fn answer(&mut self) -> Result<u32> {
            let ready = std::mem::replace(&mut self.1, true);
            if ready { Ok(self.0) } else { Err(Errno::Again) }
        }

        fn wait(&mut self, _waker: &Waker) -> Wait<'_> {
            Wait::Now
        }
    }

    #[test]
    fn each_question_is_sent_once_and_answered_in_order() {
        let (memo, mut sent) = (Memo::default(), 0);
        let mut call = |memo: &Memo| {
            memo.rewind();
            let mut ask = |n: u32| {
                memo.asker().ask(u64::from(n), || {
                    sent += 1;
                    Ok(Echo(n, false))
                })
            };
            Ok::<_, Errno>((ask(1)?, ask(2)?))
        };
        assert_eq!(call(&memo), Err(Errno::Again));
        assert!(memo.is_waiting());
        assert_eq!(call(&memo), Err(Errno::Again), "the first is answered, the second sent");
        assert_eq!(call(&memo), Ok((1, 2)));
        assert_eq!(call(&memo), Ok((1, 2)), "from the memo alone");
        assert_eq!(sent, 2);
        assert!(!memo.is_waiting());
    }

    #[test]
    fn another_question_at_the_same_place_forgets_what_followed() {
        let memo = Memo::default();
        let ask = |what: u64, n: u32| memo.asker().ask(what, || Ok(Echo(n, true)));
        assert_eq!((ask(1, 10), ask(2, 20)), (Ok(10), Ok(20)));
        memo.rewind();
        assert_eq!(ask(7, 70), Ok(70));
        assert_eq!(ask(2, 21), Ok(21), "what was known of it belonged to another walk");
    }

    #[test]
    fn an_error_is_an_answer_and_the_end_of_the_call_withdraws() {
        struct Refuses(Arc<()>);
        impl Question for Refuses {
            type Answer = ();
            fn answer(&mut self) -> Result<()> {
                Err(if Arc::strong_count(&self.0) > 2 { Errno::Again } else { Errno::Noent })
            }
            fn wait(&mut self, _waker: &Waker) -> Wait<'_> {
                Wait::NEVER
            }
        }
        let (memo, sent) = (Memo::default(), Arc::new(()));
        let held = sent.clone();
        let node = memo.asker();
        let ask = || node.ask(1, || Ok(Refuses(sent.clone())));
        assert_eq!(ask(), Err(Errno::Again));
        drop(held);
        assert_eq!(ask(), Err(Errno::Noent));
        memo.rewind();
        assert_eq!(ask(), Err(Errno::Noent), "from the memo");
        drop(memo);
        assert_eq!(Arc::strong_count(&sent), 1, "though the node is still there");
    }
}
