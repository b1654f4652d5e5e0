use std::collections::VecDeque;

use crate::Seq;

/// The number of sequence numbers that are remembered. The layer above asks with the latest one, or with the
/// one before if it could not use that.
const REMEMBERED: usize = 16;

/// The sequence numbers up to which a layer above a standby knows the database (C13).
#[derive(Debug, Default)]
pub struct ShownSeqs {
    /// Whether the database has changed to another line of history since the standby was opened.
    other_line: bool,
    /// The latest numbers that were returned on the present line. On the first one all numbers are of it.
    returned: VecDeque<Seq>,
}

impl ShownSeqs {
    /// Begins another line: what was returned before is not of it.
    pub fn begin_line(&mut self) {
        self.other_line = true;
        self.returned.clear();
    }

    /// Records that everything up to this number was returned.
    pub fn returned(&mut self, seq: Seq) {
        if self.returned.back() != Some(&seq) {
            self.returned.push_back(seq);
        }
        if self.returned.len() > REMEMBERED {
            self.returned.pop_front();
        }
    }

    /// Returns whether this number stands for mutations of the present line.
    pub fn has(&self, seq: Seq) -> bool {
        !self.other_line || self.returned.contains(&seq)
    }
}
