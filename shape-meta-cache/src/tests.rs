//! Tests of the internals: single views of the table, and colliding hashes.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod churn;
mod model;
mod one_step;

use std::sync::Arc;

use proptest::prelude::*;
use shape_meta_core::{DefinitionHash, Entry, Handle, Key, Record, Relation, Seq};

/// Returns a record of these numbers that reads `relations` relations.
pub(crate) fn record(created: u64, handle: u64, key: u64, relations: u64) -> Arc<Record> {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&key.to_be_bytes());
    let entry = Entry::new(
        Seq::new(created),
        Handle::new(format!("handle {handle}")).unwrap(),
        Key::new(bytes),
        DefinitionHash::new(key),
        (0..relations).map(|relation| Relation::new(relation as u32)).collect(),
        key.is_multiple_of(2),
    );
    Arc::new(Record { entry: Arc::new(entry), dependencies: [].into(), definition: [].into() })
}

/// Returns an entry with this sequence number.
pub(crate) fn entry(created: u64) -> Arc<Entry> {
    Arc::clone(&record(created, created, created, 1).entry)
}

/// Configures this number of cases, or that of `PROPTEST_CASES`.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}
