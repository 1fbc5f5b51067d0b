//! Lines of a JSONL file, none longer than a limit.

use std::io::{BufRead, BufReader, Read};

use crate::Code;
use crate::fault::{Fault, LimitPassed};

pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    limit: u64,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, limit: u64) -> Self {
        let input = BufReader::with_capacity(64 << 10, input);
        Self { input, line: Vec::new(), limit, number: 0 }
    }

    /// The next line without its line feed, and its index; nothing at the end. Only the last may
    /// lack the line feed.
    pub(crate) fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, Fault> {
        self.line.clear();
        let read = self
            .input
            .by_ref()
            .take(self.limit.saturating_add(1))
            .read_until(b'\n', &mut self.line)
            .map_err(|_| Fault::new(Code::LogUnreadable, "the file can't be read"))?;
        if read == 0 {
            return Ok(None);
        }
        let index = self.number;
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.line.len() as u64 > self.limit {
            return Err(LimitPassed::Line(self.limit).into());
        }
        Ok(Some((index, &self.line)))
    }
}
