//! Reads of single random shapes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use shape_meta::{Handle, Key};

use crate::{
    Client, Result,
    data::sample,
    probe::{OpenLoop, open_loop},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Metadata,
    Key,
    Definition,
}

impl Read {
    pub(super) const ALL: [Self; 3] = [Self::Metadata, Self::Key, Self::Definition];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata by handle",
            Self::Key => "handle by key",
            Self::Definition => "definition by handle",
        }
    }
}

/// Random shapes to read, in an order that no cache can predict.
pub(super) struct RandomReads {
    handles: Vec<Handle>,
    keys: Vec<Key>,
}

impl RandomReads {
    pub(super) fn new(shapes: u64, count: u64) -> Self {
        let numbers: Vec<_> = (0..count).map(|at| sample::mix(at) % shapes).collect();
        Self {
            handles: numbers.iter().copied().map(sample::handle).collect(),
            keys: numbers.iter().copied().map(sample::key).collect(),
        }
    }

    pub(super) fn read(&self, client: &mut dyn Client, read: Read, at: usize) -> Result {
        self.answer(client, read, at).map(|_| ())
    }

    /// Reads one shape, and returns a number from the answer.
    fn answer(&self, client: &mut dyn Client, read: Read, at: usize) -> Result<usize> {
        let at = at % self.handles.len();
        let answer = match read {
            Read::Metadata => black_box(client.facts(&self.handles[at])?).map(|facts| facts.hash as usize),
            Read::Key => black_box(client.handle_for(&self.keys[at])?).map(|handle| handle.as_bytes().len()),
            Read::Definition => black_box(client.definition(&self.handles[at])?),
        };
        answer.ok_or_else(|| "a live shape was not found".into())
    }

    /// Returns the nanoseconds of one read, with each read after the answer to the previous one (closed
    /// loop), for at most `max_time`.
    ///
    /// The index of each read depends on the previous answer. Otherwise the processor begins later look-ups
    /// while earlier ones wait for memory, and to a different degree for each kind: in the same bare map, a
    /// look-up by key then took a third of the time of one by handle, only because the handle was copied
    /// before the look-up.
    pub(super) fn closed_loop(&self, client: &mut dyn Client, read: Read, max_time: Duration) -> Result<f64> {
        const STEP: usize = 256;
        // The compiler does not know that this is zero.
        let zero = black_box(0);
        let start = Instant::now();
        let (mut done, mut last) = (0, 0);
        while done < self.handles.len() && start.elapsed() < max_time {
            for at in done..(done + STEP).min(self.handles.len()) {
                last = self.answer(client, read, at + (last & zero))?;
            }
            done = (done + STEP).min(self.handles.len());
        }
        Ok(start.elapsed().as_nanos() as f64 / done as f64)
    }

    /// Reads at a fixed rate (open loop).
    pub(super) fn open_loop(
        &self,
        client: &mut dyn Client,
        read: Read,
        rate: u64,
        duration: Duration,
    ) -> Result<OpenLoop> {
        open_loop(rate, duration, |time| self.read(client, read, time as usize))
    }
}
