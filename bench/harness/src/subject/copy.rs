//! The limit of an acknowledged add: the record copied once, by each client for itself.

use std::{hint::black_box, path::Path};

use shape_meta::NewShape;

use super::{Candidate, Client, Kind, Subject, cannot};
use crate::Result;

/// Nobody who keeps a record can do less than copy it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy;

impl Candidate for Copy {
    fn name(&self) -> &'static str {
        "bare memcpy"
    }

    fn about(&self) -> &'static str {
        "the bytes of the record copied to the heap, and nothing else"
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn open(&self, _: &Path, _: u64) -> Result<Box<dyn Subject>> {
        Ok(Box::new(Self))
    }
}

impl Subject for Copy {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Self))
    }

    fn fill(&self, _: &[NewShape]) -> Result {
        cannot()
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

impl Client for Copy {
    fn add(&mut self, shape: NewShape) -> Result {
        let mut record = Vec::with_capacity(512);
        record.extend_from_slice(shape.handle.as_bytes());
        record.extend_from_slice(shape.key.as_bytes());
        record.extend_from_slice(&shape.definition);
        black_box(record);
        Ok(())
    }
}
