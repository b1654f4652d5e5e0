use std::fmt;

/// The cost class of a request, and thereby its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request without a handle, which may create a shape.
    Initial,
    /// A request that reads an existing shape.
    Existing,
}

impl Kind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Initial, Self::Existing];

    /// Returns the name: the JSON key of its limit, and the value of the metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Existing => "existing",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
