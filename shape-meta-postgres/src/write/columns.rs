use std::sync::Arc;

use shape_meta_core::{Entry, Record, SnapshotState, store_parts::checksum};
use tokio_postgres::types::ToSql;

use crate::format::row;

/// The columns of added shapes, as arrays: the parameters of statements that insert their rows.
pub(crate) struct Columns<'a> {
    ids: Vec<i64>,
    handles: Vec<&'a str>,
    keys: Vec<&'a [u8]>,
    hashes: Vec<i64>,
    states: Vec<i16>,
    indexed: Vec<bool>,
    relations: Vec<Vec<u8>>,
    shape_sums: Vec<i64>,
    created_at: Vec<i64>,
    dependencies: Vec<Vec<u8>>,
    bodies: Vec<&'a [u8]>,
    definition_sums: Vec<i64>,
}

impl<'a> Columns<'a> {
    pub(super) fn of(added: &'a [(Arc<Record>, SnapshotState)]) -> Self {
        let entries = || added.iter().map(|(record, _)| &*record.entry);
        let mut buffer = Vec::new();
        Self {
            ids: entries().map(|entry| entry.created().get().cast_signed()).collect(),
            handles: entries().map(|entry| &**entry.handle()).collect(),
            keys: entries().map(|entry| entry.key().as_bytes().as_slice()).collect(),
            hashes: entries().map(|entry| entry.hash().get().cast_signed()).collect(),
            states: added.iter().map(|(_, state)| i16::from(state.bits())).collect(),
            indexed: entries().map(Entry::is_indexed).collect(),
            relations: entries()
                .map(|entry| encoded(|into| row::encode_relations(entry.relations(), into)))
                .collect(),
            shape_sums: added
                .iter()
                .map(|(record, state)| checksum::of_shape(&record.entry, *state, &mut buffer))
                .collect(),
            created_at: entries().map(|entry| row::encode_created_at(entry.created_at())).collect(),
            dependencies: added
                .iter()
                .map(|(record, _)| encoded(|into| row::encode_dependencies(&record.dependencies, into)))
                .collect(),
            bodies: added.iter().map(|(record, _)| &*record.definition).collect(),
            definition_sums: added
                .iter()
                .map(|(record, _)| {
                    let created = record.entry.created();
                    checksum::of_definition(created, record.key(), &record.dependencies, &record.definition)
                })
                .collect(),
        }
    }

    /// The columns of `shape` after the number of the stack.
    pub(super) fn shapes(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.ids,
            &self.handles,
            &self.keys,
            &self.hashes,
            &self.states,
            &self.indexed,
            &self.relations,
            &self.shape_sums,
            &self.created_at,
        ]
    }

    /// The columns of `definition` after the number of the stack.
    pub(super) fn definitions(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.ids, &self.dependencies, &self.bodies, &self.definition_sums]
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut into = Vec::new();
    encode(&mut into);
    into
}
