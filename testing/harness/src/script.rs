//! What a child does: the same for the same seed, so that the parent can follow it.

use std::time::Duration;

use fastrand::Rng;
use shape_meta::{MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape, Receipt, Wait};
use shape_meta_core::conformance::{handle, key, relations, shape};

/// Longer than anything takes that works.
const WAIT: Wait = Wait::UpTo(Duration::from_secs(60));
/// Handles and keys of one thread.
const WORLD: u64 = 60;
/// Between the worlds of two threads.
const APART: u64 = 1_000;

/// One thing that a child does.
#[derive(Debug)]
pub enum Step {
    Mutate(Mutation),
    GetOrAdd(NewShape),
}

impl Step {
    /// Does it. The receipt of what was accepted; none for what was refused or found.
    pub fn play(&self, store: &impl MutateShapes) -> Option<Receipt> {
        let outcome = match self {
            Self::Mutate(mutation) => store.mutate(mutation, WAIT).map(Some),
            Self::GetOrAdd(shape) => {
                store.get_or_add(shape, WAIT).map(|got| got.added.then_some(got.receipt))
            }
        };
        match outcome {
            Ok(receipt) => receipt,
            Err(MutateError::Refused(_)) => None,
            Err(MutateError::Failed(error)) => panic!("nothing fails here: {error:?}"),
        }
    }
}

/// Steps without end, in a world of this thread's own.
pub struct Script {
    random: Rng,
    thread: u64,
    /// Whether everything may be removed at once, also what is not this thread's.
    resets: bool,
}

impl Script {
    pub fn alone(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), thread: 0, resets: true }
    }

    pub fn among_others(seed: u64, thread: u64) -> Self {
        Self { random: Rng::with_seed(seed ^ thread << 32), thread, resets: false }
    }

    /// The thread in whose world the shape with this key is.
    pub fn is_of(thread: u64, number_of: &shape_meta::Key) -> bool {
        (0..WORLD).any(|number| key(thread * APART + number) == *number_of)
    }

    fn number(&mut self) -> u64 {
        self.thread * APART + self.random.u64(..WORLD)
    }

    /// Any handle with any key: so they are taken often, together or one of them.
    fn shape(&mut self) -> NewShape {
        let relation = self.random.u32(..5);
        let size = self.random.usize(..2_000);
        NewShape {
            handle: handle(self.number()),
            relations: relations(&[relation, 100 + self.random.u32(..3)]),
            dependencies: [key(self.number())].into(),
            definition: vec![self.random.u8(..); size].into(),
            ..shape(self.number())
        }
    }
}

impl Iterator for Script {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let handle = handle(self.number()).to_string();
        Some(match self.random.u16(..1_000) {
            0..300 => Step::Mutate(Mutation::Add(self.shape())),
            300..500 => Step::GetOrAdd(self.shape()),
            500..700 => Step::Mutate(Mutation::Remove(handle)),
            700..800 => Step::Mutate(Mutation::snapshot_started(handle)),
            800 if self.resets => Step::Mutate(Mutation::Reset),
            _ => Step::Mutate(Mutation::snapshot_complete(handle)),
        })
    }
}
