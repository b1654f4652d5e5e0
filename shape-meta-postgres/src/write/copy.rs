//! Rows in the binary format of `COPY`.

use std::sync::Arc;

use shape_meta_core::{Record, SnapshotState, store_parts::checksum};

use crate::format::row;

/// What the data begins with: a signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// The size at which a chunk is sent. The server works on one while the next is encoded.
const CHUNK: usize = 256 << 10;

/// The rows of one table, encoded chunk by chunk.
pub(super) struct Rows<'a> {
    stack: i64,
    shapes: std::slice::Iter<'a, (Arc<Record>, SnapshotState)>,
    encode: fn(&mut Encoder<'_>, i64, &Record, SnapshotState),
    has_begun: bool,
    /// Reused for the input of checksums, and for columns.
    buffer: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// The rows of the table `shape`.
    pub(super) fn shapes(stack: i64, added: &'a [(Arc<Record>, SnapshotState)]) -> Self {
        Self { stack, shapes: added.iter(), encode: encode_shape, has_begun: false, buffer: Vec::new() }
    }

    /// The rows of the table `definition`.
    pub(super) fn definitions(stack: i64, added: &'a [(Arc<Record>, SnapshotState)]) -> Self {
        Self { stack, shapes: added.iter(), encode: encode_definition, has_begun: false, buffer: Vec::new() }
    }

    /// Appends the next rows. Returns whether there are more.
    pub(super) fn next_chunk(&mut self, into: &mut Vec<u8>) -> bool {
        into.reserve(CHUNK + (CHUNK >> 3));
        if !std::mem::replace(&mut self.has_begun, true) {
            into.extend_from_slice(HEADER);
        }
        let mut encoder = Encoder { into, buffer: &mut self.buffer };
        for (record, state) in self.shapes.by_ref() {
            (self.encode)(&mut encoder, self.stack, record, *state);
            if encoder.into.len() >= CHUNK {
                return true;
            }
        }
        into.extend_from_slice(&TRAILER);
        false
    }
}

struct Encoder<'a> {
    into: &'a mut Vec<u8>,
    buffer: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn row(&mut self, columns: i16) {
        self.into.extend_from_slice(&columns.to_be_bytes());
    }

    fn column(&mut self, bytes: &[u8]) {
        self.into.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.into.extend_from_slice(bytes);
    }

    fn int8(&mut self, value: i64) {
        self.column(&value.to_be_bytes());
    }
}

/// In the order of the columns of the statement.
fn encode_shape(encoder: &mut Encoder<'_>, stack: i64, record: &Record, state: SnapshotState) {
    let entry = &*record.entry;
    let sum = checksum::of_shape(entry, state, encoder.buffer);
    encoder.row(10);
    encoder.int8(stack);
    encoder.int8(entry.created().get().cast_signed());
    encoder.column(entry.handle().as_bytes());
    encoder.column(entry.key().as_bytes());
    encoder.int8(entry.hash().get().cast_signed());
    encoder.column(&i16::from(state.bits()).to_be_bytes());
    encoder.column(&[entry.is_indexed().into()]);
    let length = size_of_val(entry.relations()) as i32;
    encoder.into.extend_from_slice(&length.to_be_bytes());
    row::encode_relations(entry.relations(), encoder.into);
    encoder.int8(sum);
    encoder.int8(row::encode_created_at(entry.created_at()));
}

fn encode_definition(encoder: &mut Encoder<'_>, stack: i64, record: &Record, _: SnapshotState) {
    let created = record.entry.created();
    let sum = checksum::of_definition(created, record.key(), &record.dependencies, &record.definition);
    encoder.row(5);
    encoder.int8(stack);
    encoder.int8(created.get().cast_signed());
    let length = (record.dependencies.len() * 32) as i32;
    encoder.into.extend_from_slice(&length.to_be_bytes());
    row::encode_dependencies(&record.dependencies, encoder.into);
    encoder.column(&record.definition);
    encoder.int8(sum);
}
