use crate::{DefinitionHash, Key, Keyed, Relation};

/// A definition type of the user: its identity, the tables it reads, and its encoding.
///
/// The stores keep the bytes of [`encode`](Self::encode) and never look into them. A ready-made
/// implementation is `Shape` (feature `shape`).
pub trait Definition: Sized {
    /// The error of [`decode`](Self::decode).
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the identity of this definition. Equal definitions must have equal keys in every run and on
    /// every machine, and different definitions different keys: hash a canonical encoding with a
    /// cryptographic hash. This is most of the cost of a look-up by definition, so callers that use a
    /// definition more than once keep it as a [`Keyed`].
    fn key(&self) -> Key;

    /// Returns the tables that the shape reads, in any order.
    fn relations(&self) -> Vec<Relation>;

    /// Returns the keys of the definitions that this one depends on, e.g. a subquery in its filter. Listings
    /// show dependencies before their dependants. A dependency need not be live.
    fn dependencies(&self) -> Vec<Key> {
        Vec::new()
    }

    /// Returns whether the engine can answer the shape's filter from an index, e.g. an equality on a column,
    /// instead of evaluating it for every change. Used only for [`Counts`](crate::Counts).
    fn is_indexed(&self) -> bool {
        false
    }

    /// Encodes the definition.
    fn encode(&self) -> Vec<u8>;

    /// Decodes what [`encode`](Self::encode) returned.
    ///
    /// # Errors
    ///
    /// If the bytes are not an encoded definition.
    fn decode(bytes: &[u8]) -> Result<Self, Self::Error>;
}

/// What follows from the methods of [`Definition`].
pub trait DefinitionExt: Definition {
    /// Returns the hash against which a request with this definition is validated: a part of the key, which
    /// this computes.
    fn definition_hash(&self) -> DefinitionHash {
        self.key().definition_hash()
    }

    /// Computes the key once for all uses.
    fn keyed(self) -> Keyed<Self> {
        Keyed::new(self)
    }
}

impl<D: Definition> DefinitionExt for D {}
