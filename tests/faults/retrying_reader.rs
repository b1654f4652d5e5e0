//! A reader that retries after faults of the disk, so that every read of a store can be compared.

use shape_meta::{ReadShapes, Result, Scan, ScanItem};

use super::assertions::assert_disk_fault;

/// More attempts than any fault in these tests lasts.
const ATTEMPTS: usize = 100;

/// Repeats an attempt while the disk fails.
#[track_caller]
pub(super) fn retrying<T>(mut attempt: impl FnMut() -> Result<T>) -> T {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert_disk_fault(&error),
        }
    }
    panic!("the disk still fails after {ATTEMPTS} attempts");
}

/// A store whose reads are retried.
pub(super) struct RetryingReader<'a, S>(pub(super) &'a S);

#[deny(clippy::missing_trait_methods)]
impl<S: ReadShapes> ReadShapes for RetryingReader<'_, S> {
    shape_meta_core::forward_reads!(self => self.0; read => Ok(retrying(read)); except scan);

    fn scan(&self) -> Result<Scan<'_>> {
        let all: Vec<ScanItem> = retrying(|| self.0.scan()?.collect());
        Ok(Box::new(all.into_iter().map(Ok)))
    }
}
