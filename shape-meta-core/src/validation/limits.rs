use crate::{NewShape, Refusal};

/// Upper limits for the parts of a shape, checked once when its add is validated.
#[derive(Clone, Debug)]
pub struct Limits {
    pub(crate) handle: usize,
    pub(crate) definition: usize,
    pub(crate) relations: usize,
    pub(crate) dependencies: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handle: 256, definition: 1 << 20, relations: 1_000, dependencies: 1_000 }
    }
}

impl Limits {
    /// Sets the maximum length of a handle, in bytes. Default 256. Each handle above 30 bytes costs an
    /// allocation.
    pub fn max_handle_bytes(mut self, bytes: usize) -> Self {
        self.handle = bytes;
        self
    }

    /// Sets the maximum size of an encoded definition, in bytes. Default 1 MiB. Large definitions use up the
    /// buffer's bound and the page cache. SQLite's own limit is about 1 GB.
    pub fn max_definition_bytes(mut self, bytes: usize) -> Self {
        self.definition = bytes;
        self
    }

    /// Sets the maximum number of relations of a shape. Default 1,000. Each costs an index entry.
    pub fn max_relations(mut self, count: usize) -> Self {
        self.relations = count;
        self
    }

    /// Sets the maximum number of dependencies of a shape. Default 1,000. Each costs 32 bytes on disk.
    pub fn max_dependencies(mut self, count: usize) -> Self {
        self.dependencies = count;
        self
    }

    /// Checks a shape against these limits.
    ///
    /// # Errors
    ///
    /// The first limit that the shape exceeds.
    pub fn check(&self, shape: &NewShape) -> Result<(), Refusal> {
        if shape.handle.as_bytes().len() > self.handle {
            return Err(Refusal::HandleTooLong { bytes: shape.handle.as_bytes().len(), max: self.handle });
        }
        if shape.definition.len() > self.definition {
            return Err(Refusal::DefinitionTooLarge {
                handle: shape.handle.clone(),
                bytes: shape.definition.len(),
                max: self.definition,
            });
        }
        if shape.relations.len() > self.relations {
            return Err(Refusal::TooManyRelations {
                handle: shape.handle.clone(),
                count: shape.relations.len(),
                max: self.relations,
            });
        }
        if shape.dependencies.len() > self.dependencies {
            return Err(Refusal::TooManyDependencies {
                handle: shape.handle.clone(),
                count: shape.dependencies.len(),
                max: self.dependencies,
            });
        }
        Ok(())
    }
}
