use std::fmt;

/// A 64-bit hash of a definition. Memory keeps it with the handle, so that the handle of a request can be
/// validated against the definition of the request without reading the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionHash(u64);

impl DefinitionHash {
    /// Returns the hash with this value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Returns the value.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
