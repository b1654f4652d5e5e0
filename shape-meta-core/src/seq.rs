use std::fmt;

/// A place in the order of accepted mutations of one database: 1, 2, 3..., for as long as the database
/// lives, through restarts. Zero means that there was none yet.
///
/// The place of a shape's add is also its id for life. Handles and keys can be used again after a remove;
/// a `Seq` never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before every mutation.
    pub const ZERO: Self = Self(0);

    /// The place with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
