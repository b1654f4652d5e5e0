use std::fmt;

/// What a request costs, and so which limit it counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It asks for a shape without a handle, and may have to make it.
    Initial,
    /// It reads a shape that is there.
    Existing,
}

impl Kind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Initial, Self::Existing];

    /// Its name: the key of its limit, fit for a label of a metric.
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
