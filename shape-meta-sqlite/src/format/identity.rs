//! The identity of a database and of its openings (C13).

use std::fmt;

use shape_meta_core::{Error, ErrorKind, Result};

/// The number of bytes of an identity.
const BYTES: usize = 16;

/// A random number of 128 bits that names one database, or one opening of it. It is never assigned twice,
/// unlike an epoch, which copies of a database count on independently.
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

    /// Decodes a column; `None` if the database or the opening has no identity yet.
    pub(crate) fn of(column: &[u8]) -> Result<Option<Self>, &'static str> {
        match column {
            [] => Ok(None),
            bytes => {
                bytes.try_into().map(|bytes| Some(Self(bytes))).map_err(|_| "an identity has a wrong length")
            }
        }
    }

    /// Decodes what `Display` has written; `None` if it is anything else.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        let identity = Self(number.to_be_bytes());
        (identity.to_string() == text).then_some(identity)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the column of an identity.
pub(crate) fn column(identity: &Option<Identity>) -> &[u8] {
    identity.as_ref().map_or(&[], Identity::as_bytes)
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
        for identity in [Some(a), None] {
            assert_eq!(Identity::of(column(&identity)), Ok(identity));
        }
        assert_eq!([&a.to_string(), "-"].map(Identity::from_hex), [Some(a), None]);
        assert!(Identity::of(&a.as_bytes()[1..]).is_err());
    }
}
