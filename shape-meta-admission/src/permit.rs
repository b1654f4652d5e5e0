use std::fmt;

use crate::{Admission, Kind, Rejected};

/// The permission to process one request. Dropping it releases it, also on a panic and when a future that
/// holds it is dropped. (A permit that is leaked with [`std::mem::forget`] is never released.)
#[must_use = "a permit is released as soon as it is dropped"]
pub struct Permit {
    admission: Admission,
    kind: Kind,
}

impl Permit {
    /// A permit that the caller has counted already.
    pub(crate) fn new(admission: Admission, kind: Kind) -> Self {
        Self { admission, kind }
    }

    /// Returns the kind as which the permit is counted.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Moves the permit to another kind, in one step: it is never counted in both kinds or in neither. Does
    /// nothing if the permit has this kind already. Costs and panics like
    /// [`try_acquire`](Admission::try_acquire).
    ///
    /// # Errors
    ///
    /// If the limit of that kind is reached. The permit keeps its kind then.
    pub fn switch_to(&mut self, kind: Kind) -> Result<(), Rejected> {
        if kind != self.kind {
            self.admission.switch(self.kind, kind)?;
            self.kind = kind;
        }
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.release(self.kind);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("kind", &self.kind).finish_non_exhaustive()
    }
}
