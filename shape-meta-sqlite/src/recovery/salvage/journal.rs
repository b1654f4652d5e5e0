//! SQLite's rollback journal.

use std::{
    fs::File,
    io::{BufReader, Read},
};

use super::page_overrides::{PageOverrides, page_size, read_u32};

const MAGIC: &[u8; 8] = &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Returns the original pages of an unfinished transaction. The journal of a finished one has no header, and
/// no pages.
pub(super) fn overrides(file: &File) -> PageOverrides {
    let mut overrides = PageOverrides::default();
    let mut bytes = Vec::new();
    if BufReader::new(file).read_to_end(&mut bytes).is_err() {
        return overrides;
    }
    let mut at = 0;
    // A journal has one header per sync.
    while let Some(header) = bytes.get(at..at + 28).filter(|header| header.starts_with(MAGIC)) {
        let [records, nonce, count, sector, size] = [8, 12, 16, 20, 24].map(|at| read_u32(header, at));
        let Some(size) = page_size(size).filter(|_| (32..=65_536).contains(&sector)) else { break };
        let sector = sector as usize;
        overrides.page_size.get_or_insert(size);
        overrides.count.get_or_insert(count);
        at += sector;
        let record = 8 + size;
        let available = (bytes.len().saturating_sub(at)) / record;
        let records = if records == u32::MAX { available } else { available.min(records as usize) };
        for record_at in (0..records).map(|index| at + index * record) {
            let page = &bytes[record_at + 4..record_at + 4 + size];
            let sum = (1..).map(|step| size.checked_sub(200 * step)).map_while(|at| at.filter(|at| *at > 0));
            let sum = sum.fold(nonce, |sum, at| sum.wrapping_add(page[at].into()));
            if sum != read_u32(&bytes, record_at + 4 + size) {
                return overrides;
            }
            overrides.pages.entry(read_u32(&bytes, record_at)).or_insert(record_at as u64 + 4);
        }
        at = (at + records * record).next_multiple_of(sector);
    }
    overrides
}
