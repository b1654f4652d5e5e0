use std::fmt;

use crate::{Admission, Kind, Rejected};

/// The right to work on one request. Dropping it frees its place, once, also on a panic and when a future that
/// holds it is dropped. (A permit that is leaked with [`std::mem::forget`] is never freed.)
#[must_use = "the place is free again as soon as the permit is dropped"]
pub struct Permit {
    admission: Admission,
    kind: Kind,
}

impl Permit {
    /// The caller has counted it in.
    pub(crate) fn new(admission: Admission, kind: Kind) -> Self {
        Self { admission, kind }
    }

    /// What it counts as.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Lets it count as another kind from now on. In one step: nobody sees it in both or in neither. Where it
    /// is already, nothing happens and nothing is counted.
    ///
    /// # Errors
    ///
    /// If the limit of that kind is met. The permit is what it was then.
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
