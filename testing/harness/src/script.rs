//! The mutations of a child process. The same seed gives the same mutations, so that the parent can follow
//! them.

use std::time::Duration;

use fastrand::Rng;
use shape_meta::{MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape, Receipt, Wait};
use shape_meta_core::conformance::{handle, key, relations, shape};

/// Longer than any step takes on a working machine.
const WAIT: Wait = Wait::UpTo(Duration::from_secs(60));
/// The number of handles, and of keys, of one thread.
const SHAPES_PER_THREAD: u64 = 60;
/// The distance between the numbers of two threads.
const THREAD_STRIDE: u64 = 1_000;

/// One call of a child.
#[derive(Debug)]
pub enum Step {
    Mutate(Mutation),
    GetOrAdd(NewShape),
}

impl Step {
    /// Returns the shape that the step adds if it is accepted.
    pub fn added(&self) -> Option<&NewShape> {
        match self {
            Self::Mutate(Mutation::Add(shape)) | Self::GetOrAdd(shape) => Some(shape),
            Self::Mutate(_) => None,
        }
    }

    /// Calls the store. Returns the receipt of an accepted mutation, and `None` if the mutation was refused
    /// or the shape was found.
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
            Err(MutateError::Failed(error)) => panic!("no fault is injected: {error:?}"),
        }
    }
}

/// An endless sequence of steps on the handles and keys of one thread.
pub struct Script {
    random: Rng,
    thread: u64,
    /// Whether the steps include resets, which remove the shapes of all threads.
    resets: bool,
}

impl Script {
    /// Returns the script of a child with one thread.
    pub fn single_threaded(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), thread: 0, resets: true }
    }

    /// Returns the script of one thread of several.
    pub fn for_thread(seed: u64, thread: u64) -> Self {
        Self { random: Rng::with_seed(seed ^ thread << 32), thread, resets: false }
    }

    /// Whether the key belongs to this thread.
    pub fn owns_key(thread: u64, owned: &shape_meta::Key) -> bool {
        (0..SHAPES_PER_THREAD).any(|number| key(thread * THREAD_STRIDE + number) == *owned)
    }

    fn number(&mut self) -> u64 {
        self.thread * THREAD_STRIDE + self.random.u64(..SHAPES_PER_THREAD)
    }

    /// Returns a shape with a random handle and a random key, so that both, or one of them, are often live.
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
