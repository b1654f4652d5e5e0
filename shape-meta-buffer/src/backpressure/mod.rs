//! Backpressure (C7): the bound on pending changes, and the estimate of how long a caller waits at it.

mod drain_rate;

pub(crate) use drain_rate::DrainRate;

use std::sync::Arc;

use shape_meta_core::{Refusal, Signal};

use crate::{BufferOptions, memtable::State};

/// The capacity that a change needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needs {
    /// A negligible amount: it marks or removes a shape that is pending already, or replaces pending changes.
    Nothing,
    /// These bytes, for an add with a handle that is pending already.
    Bytes(usize),
    /// One more pending shape, and these bytes.
    Shape(usize),
}

/// The bound on pending changes (C7).
pub(crate) struct Backpressure {
    max_shapes: usize,
    max_bytes: usize,
    /// Raised when pending changes became fewer, or when mutations will be refused for another reason.
    /// Also when reserved handles are released: callers wait for both with one signal.
    pub(crate) capacity: Arc<Signal>,
    pub(crate) drain_rate: DrainRate,
}

impl Backpressure {
    pub(crate) fn new(options: &BufferOptions) -> Self {
        Self {
            max_shapes: options.max_pending_shapes,
            max_bytes: options.max_pending_bytes,
            capacity: Arc::new(Signal::new()),
            drain_rate: DrainRate::default(),
        }
    }

    /// Checks that one more change stays within the bound. A change that is larger than the bound in bytes is
    /// accepted when nothing else is pending.
    ///
    /// # Errors
    ///
    /// [`Refusal::Overloaded`], with an estimate of when a retry will succeed.
    pub(crate) fn check(&self, state: &State, needs: Needs) -> Result<(), Refusal> {
        let (pending, pending_bytes) = (state.pending_shapes(), state.pending_bytes() + state.kept_bytes());
        let (has_shape, bytes) = match needs {
            // A shape has at most three such changes until its handle is added again, so this stays bounded.
            Needs::Nothing => return Ok(()),
            Needs::Bytes(bytes) => (true, bytes),
            Needs::Shape(bytes) => (false, bytes),
        };
        let is_full = (!has_shape && pending >= self.max_shapes)
            || (pending_bytes > 0 && pending_bytes + bytes > self.max_bytes);
        if is_full {
            return Err(Refusal::Overloaded { retry_after: self.drain_rate.time_for(pending) });
        }
        Ok(())
    }
}
