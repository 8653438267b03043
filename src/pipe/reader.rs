//! The reader: cuts the input into items and hands them over in batches.

use std::io::{self, Read};
use std::sync::Arc;

use super::batch::{Batch, Chunk, Saying};
use super::config::{OnError, PipeConfig};
use super::flow::{Flow, InputEnd};
use super::framing::{Framing, Piece, Splitter};
use super::writer::FailedItem;

/// Bytes read at once.
const READ: usize = 128 << 10;

/// Bytes of a batch at the most, unless one item has more.
const BATCH_BYTES: usize = 64 << 10;

/// See the [module](self).
pub(super) struct Reader<R> {
    flow: Arc<Flow>,
    input: R,
    splitter: Splitter,
    framing: Framing,
    /// The part of an item that is too long is passed on.
    pass: bool,
    max_item: usize,
    batch_items: usize,
    batch: Batch,
    /// The next place in the order, and the next item.
    place: u64,
    number: u64,
}

impl<R: Read> Reader<R> {
    pub fn new(config: &PipeConfig, flow: Arc<Flow>, input: R) -> Reader<R> {
        let max_item = config.limits.max_line;
        Reader {
            flow,
            input,
            splitter: Splitter::new(config.framing, max_item),
            framing: config.framing,
            pass: config.on_error == OnError::Pass,
            max_item,
            batch_items: config.batch_items(),
            batch: Batch::new(0, 1),
            place: 0,
            number: 1,
        }
    }

    /// The loop of the thread.
    pub fn run(mut self) {
        let end = self.read_all();
        self.submit();
        self.flow.input_ended(end);
    }

    fn read_all(&mut self) -> InputEnd {
        let mut ended = false;
        while !self.flow.stopped() {
            match self.splitter.next(ended) {
                Piece::Item(item) => {
                    self.batch.push(item);
                    self.place += 1;
                    self.number += 1;
                    if self.batch.len() >= self.batch_items || self.batch.size() >= BATCH_BYTES {
                        self.submit();
                    }
                }
                Piece::TooLong { bytes, last } => {
                    let output = if self.pass { bytes.to_vec() } else { Vec::new() };
                    self.too_long(output, last);
                }
                Piece::More => {
                    // What is there goes to the guests before more is waited for.
                    self.submit();
                    match read(&mut self.splitter, &mut self.input) {
                        Ok(count) => ended = count == 0,
                        Err(error) => return InputEnd::Failed(error),
                    }
                }
                Piece::End => break,
                Piece::Broken(why) => return InputEnd::Broken(self.number, why),
            }
        }
        InputEnd::Whole
    }

    /// Hands over the batch.
    fn submit(&mut self) {
        if self.batch.len() > 0 {
            let next = Batch::new(self.place, self.number);
            self.flow.submit(std::mem::replace(&mut self.batch, next));
        }
    }

    /// A part of an item that is too long, with what is passed on of it.
    fn too_long(&mut self, output: Vec<u8>, last: bool) {
        self.submit();
        let mut chunk = Chunk::new(self.place);
        chunk.output = output;
        chunk.places = 1;
        if last {
            chunk.items = 1;
            let unit = self.framing.unit();
            let max = self.max_item;
            let why =
                format!("the {unit} is longer than {max} bytes (raise the limit with --max-line)");
            let failure = FailedItem { number: self.number, why };
            chunk.note(Saying::Failed(failure));
            self.number += 1;
        }
        self.place += 1;
        self.batch = Batch::new(self.place, self.number);
        self.flow.submit_done(chunk);
    }
}

/// Reads once; 0 is the end.
fn read(splitter: &mut Splitter, input: &mut impl Read) -> io::Result<usize> {
    splitter.fill(READ, |room| {
        loop {
            match input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    })
}
