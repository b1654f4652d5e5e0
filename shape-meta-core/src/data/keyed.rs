use crate::{Definition, Key, Relation};

/// A definition with its key, which is computed once.
///
/// It is a definition itself, so it stands wherever the other one can:
///
/// ```
/// use shape_meta_core::{DefinitionExt, Handle, MemoryStore, NewShape, ReadShapes, Relation, Shape, TableName};
///
/// let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510)).keyed();
/// let store = MemoryStore::new();
/// // Neither of these computes the key.
/// assert_eq!(store.handle_for(todos.as_key())?, None);
/// let new = NewShape::of(Handle::new("54334872-1768476874000000")?, &todos);
/// assert_eq!(new.hash, todos.definition_hash());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// The definition cannot be changed, because its key would not be its own any more.
#[derive(Clone, Debug)]
pub struct Keyed<D> {
    definition: D,
    key: Key,
}

impl<D: Definition> Keyed<D> {
    /// Computes the key of this definition.
    pub fn new(definition: D) -> Self {
        Self { key: definition.key(), definition }
    }

    /// Returns the key.
    pub fn as_key(&self) -> &Key {
        &self.key
    }

    /// Returns the definition.
    pub fn definition(&self) -> &D {
        &self.definition
    }

    /// Returns the definition without its key.
    pub fn into_definition(self) -> D {
        self.definition
    }
}

#[deny(clippy::missing_trait_methods)]
impl<D: Definition> Definition for Keyed<D> {
    type Error = D::Error;

    /// Returns the key, without computing it.
    fn key(&self) -> Key {
        self.key
    }

    fn relations(&self) -> Vec<Relation> {
        self.definition.relations()
    }

    fn dependencies(&self) -> Vec<Key> {
        self.definition.dependencies()
    }

    fn is_indexed(&self) -> bool {
        self.definition.is_indexed()
    }

    fn encode(&self) -> Vec<u8> {
        self.definition.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, D::Error> {
        Ok(Self::new(D::decode(bytes)?))
    }
}
