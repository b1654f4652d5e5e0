//! The identity of a stack and of its openings (C13).

use std::fmt;

use shape_meta_core::{Error, ErrorKind, Result};

/// The number of bytes of an identity.
const BYTES: usize = 16;

/// A random number of 128 bits that names one stack, or one opening of it. It is never assigned twice, unlike
/// an epoch, which a restored copy counts on independently.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity([u8; BYTES]);

impl Identity {
    /// Makes a new identity. The bytes come from the operating system: a generator in this process would
    /// repeat itself after a fork.
    ///
    /// # Errors
    ///
    /// `Io` if the operating system has no random bytes.
    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| {
            let message = "the operating system returned no random bytes for the identity of this opening; nothing has \
                           changed, and it can be tried again";
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        Ok(Self(bytes))
    }

    /// Decodes a column.
    pub(crate) fn of(column: &[u8]) -> Result<Self, &'static str> {
        column.try_into().map(Self).map_err(|_| "an identity has a wrong length")
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_identities_differ_and_are_decoded_as_encoded() {
        let [a, b] = [(); 2].map(|()| Identity::random().expect("random bytes"));
        assert_ne!(a, b);
        assert_eq!(Identity::of(a.as_bytes()), Ok(a));
        assert!(Identity::of(&a.as_bytes()[1..]).is_err());
    }
}
