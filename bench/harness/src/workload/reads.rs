//! Reads of one shape, at random.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use shape_meta::{Handle, Key};

use crate::{
    Client, Result,
    pace::{Paced, paced},
    sample,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Metadata,
    Key,
    Definition,
}

impl Read {
    pub(super) const ALL: [Self; 3] = [Self::Metadata, Self::Key, Self::Definition];

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Metadata => "metadata by handle",
            Self::Key => "handle by key",
            Self::Definition => "definition by handle",
        }
    }
}

/// Which shapes are asked for: in an order that no cache can foresee.
pub(super) struct Picks {
    handles: Vec<Handle>,
    keys: Vec<Key>,
}

impl Picks {
    pub(super) fn of(shapes: u64, picks: u64) -> Self {
        let numbers: Vec<_> = (0..picks).map(|at| sample::mix(at) % shapes).collect();
        Self {
            handles: numbers.iter().copied().map(sample::handle).collect(),
            keys: numbers.iter().copied().map(sample::key).collect(),
        }
    }

    pub(super) fn read(&self, client: &mut dyn Client, read: Read, at: usize) -> Result {
        self.answer(client, read, at).map(|_| ())
    }

    /// Something of the answer.
    fn answer(&self, client: &mut dyn Client, read: Read, at: usize) -> Result<usize> {
        let at = at % self.handles.len();
        let something = match read {
            Read::Metadata => black_box(client.facts(&self.handles[at])?).map(|facts| facts.hash as usize),
            Read::Key => black_box(client.handle_for(&self.keys[at])?).map(|handle| handle.as_bytes().len()),
            Read::Definition => black_box(client.definition(&self.handles[at])?),
        };
        something.ok_or_else(|| "a shape that is there was not found".into())
    }

    /// Nanoseconds for each of many, one right after the other (closed loop), for at most so long.
    ///
    /// What is asked next takes something of the answer into account, and so is not known before that is there.
    /// Otherwise a processor begins with the next look-ups while the first still waits for memory, some more
    /// and some less: by the same bare map, a handle took a third of the time by key that it took by handle, for
    /// no other reason than that a handle was copied before it was looked up.
    pub(super) fn each(&self, client: &mut dyn Client, read: Read, longest: Duration) -> Result<f64> {
        const STEP: usize = 256;
        let nothing = black_box(0);
        let begun = Instant::now();
        let (mut done, mut last) = (0, 0);
        while done < self.handles.len() && begun.elapsed() < longest {
            for at in done..(done + STEP).min(self.handles.len()) {
                last = self.answer(client, read, at + (last & nothing))?;
            }
            done = (done + STEP).min(self.handles.len());
        }
        Ok(begun.elapsed().as_nanos() as f64 / done as f64)
    }

    /// At a rate (open loop).
    pub(super) fn paced(
        &self,
        client: &mut dyn Client,
        read: Read,
        rate: u64,
        duration: Duration,
    ) -> Result<Paced> {
        paced(rate, duration, |time| self.read(client, read, time as usize))
    }
}
