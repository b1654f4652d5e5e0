//! The limit of an acknowledged add: each client copies the record once.

use std::{hint::black_box, path::Path};

use shape_meta::NewShape;

use super::interface::{Candidate, Client, Kind, Store, unsupported};
use crate::error::Result;

/// Copies records. No store can do less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareMemcpy;

impl Candidate for BareMemcpy {
    fn name(&self) -> &'static str {
        "bare memcpy"
    }

    fn about(&self) -> &'static str {
        "the bytes of the record copied to the heap, and nothing else"
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn open(&self, _: &Path, _: u64) -> Result<Box<dyn Store>> {
        Ok(Box::new(Self))
    }
}

impl Store for BareMemcpy {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Self))
    }

    fn fill(&self, _: &[NewShape]) -> Result {
        unsupported()
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

impl Client for BareMemcpy {
    fn add(&mut self, shape: NewShape) -> Result {
        let mut record = Vec::with_capacity(512);
        record.extend_from_slice(shape.handle.as_bytes());
        record.extend_from_slice(shape.key.as_bytes());
        record.extend_from_slice(&shape.definition);
        black_box(record);
        Ok(())
    }
}
