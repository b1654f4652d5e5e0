//! The 64-bit forms of handles, keys and relations in the look-up tables. A part of the format: they never
//! change without a migration.

use std::sync::Arc;

use shape_meta_core::{Entry, Key, Relation, Result};

use crate::connection::client::Client;

/// Returns 64 bits of a handle: FNV-1a, with a finalizer that spreads its weak high bits.
///
/// Two handles may have the same bits, so a hit is compared with the row. Handles are chosen by the engine,
/// so this need not withstand an attacker, who could only make look-ups slow.
pub(crate) fn handle(text: &str) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).cast_signed()
}

/// Returns 64 bits of a key, which is a cryptographic hash already.
pub(crate) fn key(key: &Key) -> i64 {
    key.prefix().cast_signed()
}

/// Returns the OID of a relation, which fits as it is.
pub(crate) fn relation(relation: Relation) -> i64 {
    relation.oid().into()
}

/// Rows of the look-up tables: pairs of hash or relation, and id.
#[derive(Default)]
pub(crate) struct Lookups {
    handles: Vec<(i64, i64)>,
    keys: Vec<(i64, i64)>,
    relations: Vec<(i64, i64)>,
}

impl Lookups {
    /// Adds the rows of a shape.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let id = entry.created().get().cast_signed();
        self.handles.push((handle(entry.handle()), id));
        self.keys.push((key(entry.key()), id));
        self.relations.extend(entry.relations().iter().map(|one| (relation(*one), id)));
    }

    /// Inserts or deletes the rows, by a statement for each table, in the order of hashes, so that each page
    /// is written once.
    pub(crate) async fn write(
        self,
        client: &mut Client,
        doing: &str,
        stack: i64,
        statements: [&Arc<str>; 3],
    ) -> Result<()> {
        for (mut pairs, statement) in [self.handles, self.keys, self.relations].into_iter().zip(statements) {
            if pairs.is_empty() {
                continue;
            }
            pairs.sort_unstable();
            let (hashes, ids): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            client.execute(doing, statement, &[&stack, &hashes, &ids]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_never_change() {
        assert_eq!(handle(""), -1166397803181037274);
        assert_eq!(handle("54334872-1768476874000000"), 7078943681883571613);
        assert_eq!(key(&Key::new([0xff; 32])), -1);
        assert_eq!(relation(Relation::new(u32::MAX)), 4_294_967_295);
    }
}
