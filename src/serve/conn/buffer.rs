//! Cutting what a client sends into lines.

/// Bytes kept allocated by an empty buffer: a connection that waits costs next to nothing.
pub(crate) const KEEP: usize = 4096;

/// What was received and not yet taken, line by line.
#[derive(Default)]
pub(crate) struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    /// No newline before here.
    scanned: usize,
}

/// What is at the front of a [`ReceiveBuffer`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LineStatus<'a> {
    /// A whole line, with its newline; it is taken.
    Line(&'a [u8]),
    /// The beginning of a line.
    Partial,
    /// Nothing.
    Empty,
    /// More than a line may have.
    TooLong,
}

impl ReceiveBuffer {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that have not been taken.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Takes the next line, of at most `max` bytes before its newline.
    pub fn line(&mut self, max: usize) -> LineStatus<'_> {
        let newline = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n');
        let Some(newline) = newline.map(|at| self.scanned + at) else {
            self.scanned = self.bytes.len();
            return match self.len() {
                0 => {
                    self.reset();
                    LineStatus::Empty
                }
                len if len > max => LineStatus::TooLong,
                _ => LineStatus::Partial,
            };
        };
        let start = self.start;
        if newline - start > max {
            return LineStatus::TooLong;
        }
        self.start = newline + 1;
        self.scanned = newline + 1;
        LineStatus::Line(&self.bytes[start..=newline])
    }

    /// What has not been taken.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Takes so many bytes, or as many as there are.
    pub fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start += count.min(self.len());
        self.scanned = self.scanned.max(self.start);
        &self.bytes[start..self.start]
    }

    /// Takes all there is, such as the last line, which has no newline.
    pub fn rest(&mut self) -> &[u8] {
        self.take(usize::MAX)
    }

    fn reset(&mut self) {
        self.start = 0;
        self.scanned = 0;
        recycle(&mut self.bytes);
    }
}

/// Empties a buffer, and gives back its memory if it is much.
pub(crate) fn recycle(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > KEEP {
        *bytes = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_however_they_came_in() {
        let text = b"one\n\nthree\nlast";
        for chunk in 1..text.len() {
            let mut buffer = ReceiveBuffer::default();
            let mut lines = Vec::new();
            for part in text.chunks(chunk) {
                buffer.push(part);
                while let LineStatus::Line(line) = buffer.line(5) {
                    lines.push(line.to_vec());
                }
            }
            assert_eq!(lines, [&b"one\n"[..], b"\n", b"three\n"], "in chunks of {chunk}");
            assert_eq!(buffer.line(5), LineStatus::Partial);
            assert_eq!(buffer.rest(), b"last");
            assert_eq!(buffer.line(5), LineStatus::Empty);
        }
    }

    #[test]
    fn a_line_may_have_max_bytes_and_no_more() {
        let mut buffer = ReceiveBuffer::default();
        buffer.push(b"12345");
        assert_eq!(buffer.line(5), LineStatus::Partial);
        buffer.push(b"\n123456\n");
        assert_eq!(buffer.line(5), LineStatus::Line(b"12345\n"));
        assert_eq!(buffer.line(5), LineStatus::TooLong);
        let mut buffer = ReceiveBuffer::default();
        buffer.push(b"123456");
        assert_eq!(buffer.line(5), LineStatus::TooLong, "whole or not");
    }
}
