//! The identity of a database and of its openings (C13).

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// The number of bytes of an identity.
const BYTES: usize = 16;

/// A random number of 128 bits that names one database, or one opening of it. It is never assigned twice,
/// unlike an epoch, which copies of a database count on independently.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity([u8; BYTES]);

impl Identity {
    /// Makes a new identity. The bytes come from the operating system: a generator in this process would
    /// repeat itself after a fork.
    ///
    /// # Errors
    ///
    /// `Io` if the operating system has no random bytes.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| {
            let message = "the operating system returned no random bytes for the identity of this opening; nothing has \
                           changed, and it can be tried again";
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        Ok(Self(bytes))
    }

    /// Decodes what [`as_bytes`](Self::as_bytes) returns; `None` if the length is wrong.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Decodes what `Display` has written; `None` if it is anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        let identity = Self(number.to_be_bytes());
        (identity.to_string() == text).then_some(identity)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
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
        assert_eq!(Identity::from_bytes(a.as_bytes()), Some(a));
        assert_eq!([&a.to_string(), "-"].map(Identity::from_hex), [Some(a), None]);
        assert_eq!(Identity::from_bytes(&a.as_bytes()[1..]), None);
    }
}
