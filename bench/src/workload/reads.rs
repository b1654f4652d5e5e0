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
        let at = at % self.handles.len();
        let found = match read {
            Read::Metadata => black_box(client.facts(&self.handles[at])?).is_some(),
            Read::Key => black_box(client.handle_for(&self.keys[at])?).is_some(),
            Read::Definition => black_box(client.definition(&self.handles[at])?).is_some(),
        };
        if found { Ok(()) } else { Err("a shape that is there was not found".into()) }
    }

    /// Nanoseconds for each of many, one right after the other (closed loop), for at most so long.
    pub(super) fn each(&self, client: &mut dyn Client, read: Read, longest: Duration) -> Result<f64> {
        const STEP: usize = 256;
        let begun = Instant::now();
        let mut done = 0;
        while done < self.handles.len() && begun.elapsed() < longest {
            for at in done..(done + STEP).min(self.handles.len()) {
                self.read(client, read, at)?;
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
