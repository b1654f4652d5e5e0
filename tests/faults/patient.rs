//! A reader that asks again when the disk fails, so that everything a store says can be compared.

use shape_meta::{ReadShapes, Result, Scan, ScanItem};

use super::honest::honest;

/// More than any fault here lasts.
const ATTEMPTS: usize = 100;

/// Does it again as long as the disk fails.
#[track_caller]
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T>) -> T {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(value) => return value,
            Err(error) => honest(&error),
        }
    }
    panic!("the disk fails for ever");
}

/// A store whose reads are asked again.
pub(super) struct Patient<'a, S>(pub(super) &'a S);

#[deny(clippy::missing_trait_methods)]
impl<S: ReadShapes> ReadShapes for Patient<'_, S> {
    shape_meta_core::forward_reads!(self => self.0; read => Ok(patiently(read)); except scan);

    fn scan(&self) -> Result<Scan<'_>> {
        let all: Vec<ScanItem> = patiently(|| self.0.scan()?.collect());
        Ok(Box::new(all.into_iter().map(Ok)))
    }
}
