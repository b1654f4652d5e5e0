use std::fmt;

/// A sequence number: the accepted mutations of a database are numbered 1, 2, 3..., across restarts. Zero
/// means that there was no mutation yet.
///
/// The sequence number of a shape's add is also the id of the shape. Handles and keys can be reused after a
/// removal; a sequence number never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// The sequence number before the first mutation.
    pub const ZERO: Self = Self(0);

    /// Returns the sequence number with this value.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next sequence number.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
