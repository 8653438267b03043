//! Items and replies on their way, several at once: to hand over each one alone would cost as much
//! as its guest.

use super::writer::FailedItem;

/// Items for a worker. They have consecutive numbers.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The place of its first item in the order of the output.
    pub first: u64,
    /// The number of its first item, for people: an item can take several places.
    pub number: u64,
    bytes: Vec<u8>,
    /// Where each item ends.
    ends: Vec<usize>,
    /// Items and bytes before these were taken.
    taken: usize,
    start: usize,
}

impl Batch {
    pub fn new(first: u64, number: u64) -> Batch {
        Batch { first, number, ..Batch::default() }
    }

    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len());
    }

    /// Items that were not taken.
    pub fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// Bytes that were not taken.
    pub fn size(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Takes the first item: its place, its number, and what it is.
    pub fn next(&mut self) -> Option<(u64, u64, &[u8])> {
        let end = *self.ends.get(self.taken)?;
        let start = std::mem::replace(&mut self.start, end);
        self.taken += 1;
        self.first += 1;
        self.number += 1;
        Some((self.first - 1, self.number - 1, &self.bytes[start..end]))
    }
}

/// Replies to consecutive items.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The place of the first of them.
    pub first: u64,
    /// How many places.
    pub places: u64,
    /// How many items end in it.
    pub items: u64,
    /// Bytes of the items.
    pub input: usize,
    /// The replies.
    pub output: Vec<u8>,
    /// What is to be said, each after so many bytes of the output.
    pub notes: Vec<(usize, Saying)>,
}

/// What is to be said of an item.
#[derive(Debug)]
pub(super) enum Saying {
    /// What its guest wrote to its standard error.
    Errors(u64, Vec<u8>),
    /// It has failed.
    Failed(FailedItem),
}

impl Chunk {
    pub fn new(first: u64) -> Chunk {
        Chunk { first, ..Chunk::default() }
    }

    /// Takes the next place, which an item of so many bytes ends in.
    pub fn count(&mut self, input: usize) {
        self.places += 1;
        self.items += 1;
        self.input += input;
    }

    /// Adds what is to be said after the replies so far.
    pub fn note(&mut self, saying: Saying) {
        self.notes.push((self.output.len(), saying));
    }

    /// Bytes it holds.
    pub fn size(&self) -> usize {
        let notes = self.notes.iter().map(|(_, saying)| match saying {
            Saying::Errors(_, text) => text.len(),
            Saying::Failed(failure) => failure.why.len(),
        });
        self.output.len() + notes.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_taken_in_order_with_their_numbers() {
        let mut batch = Batch::new(7, 5);
        batch.push(b"one\n");
        batch.push(b"");
        batch.push(b"three");
        assert_eq!((batch.len(), batch.size()), (3, 9));
        assert_eq!(batch.next(), Some((7, 5, &b"one\n"[..])));
        assert_eq!(batch.next(), Some((8, 6, &b""[..])));
        assert_eq!((batch.len(), batch.size(), batch.first), (1, 5, 9));
        assert_eq!(batch.next(), Some((9, 7, &b"three"[..])));
        assert_eq!(batch.next(), None);
        assert_eq!((batch.len(), batch.size()), (0, 0));
    }
}
