use std::{fmt, str::FromStr};

use crate::DefinitionHash;

/// The 32-byte identity of a definition. Equal definitions have equal keys, in every run and on every
/// machine.
///
/// A key must be as evenly distributed as the output of a cryptographic hash: its first bytes are used as an
/// index without further hashing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Returns the key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first eight bytes as a little-endian number. Memory and disk index keys by it. Two keys
    /// may share a prefix, so a hit is always compared with the whole key.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns the hash of a definition with this key: its second eight bytes, which are independent of
    /// [`prefix`](Self::prefix).
    pub fn definition_hash(&self) -> DefinitionHash {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, ..] = self.0;
        DefinitionHash::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidKey);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(InvalidKey);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(Self(bytes))
    }
}

/// The error of parsing a [`Key`] from a text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid key: expected 64 hexadecimal digits")
    }
}

impl std::error::Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        let key = Key::new(std::array::from_fn(|at| at as u8 * 7));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("00".parse::<Key>(), Err(InvalidKey));
        assert_eq!("é".repeat(32).parse::<Key>(), Err(InvalidKey));
    }

    /// Both are stored on disk.
    #[test]
    fn its_parts_are_the_same_on_every_machine() {
        let key = Key::new(std::array::from_fn(|at| at as u8));
        assert_eq!(key.prefix(), 0x0706_0504_0302_0100);
        assert_eq!(key.definition_hash().get(), 0x0f0e_0d0c_0b0a_0908);
    }
}
