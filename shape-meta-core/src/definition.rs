use crate::{DefinitionHash, Key, Relation};

/// A user's own definition type: how it is identified, what it reads, and how it is written down.
///
/// The stores keep the bytes of [`encode`](Self::encode) and never look into them. A ready-made
/// implementation is `Shape` (feature `shape`).
pub trait Definition: Sized {
    /// Why bytes could not be decoded.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The identity of this definition. Equal definitions must have equal keys in every run and on every
    /// machine, unequal ones unequal keys: hash a canonical encoding with a cryptographic hash.
    fn key(&self) -> Key;

    /// A 64-bit check of this definition. By default a part of the key.
    fn hash(&self) -> DefinitionHash {
        self.key().definition_hash()
    }

    /// The tables that the shape reads, in any order.
    fn relations(&self) -> Vec<Relation>;

    /// The keys of the definitions that this one builds on (a subquery in a filter, say). Listings show
    /// dependencies before their dependants. A dependency need not be live.
    fn dependencies(&self) -> Vec<Key> {
        Vec::new()
    }

    /// Whether the engine can answer the shape's filter from an index (an equality on a column, say)
    /// rather than by evaluating it for every change. It is only counted.
    fn is_indexed(&self) -> bool {
        false
    }

    /// The definition as bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads back what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// For bytes that are no encoded definition.
    fn decode(bytes: &[u8]) -> Result<Self, Self::Error>;
}
