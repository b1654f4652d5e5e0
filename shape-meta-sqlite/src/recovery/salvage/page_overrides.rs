//! Pages of a WAL or a journal that override those of the database file.

use std::collections::HashMap;

/// Pages that a WAL or a journal overrides: newer ones in a WAL, the original ones in a journal.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PageOverrides {
    pub(super) page_size: Option<usize>,
    /// Offsets in the WAL or journal, by page number.
    pub(super) pages: HashMap<u32, u64>,
    /// Number of pages of the database.
    pub(super) count: Option<u32>,
}

/// Returns a big-endian integer at an offset, or 0 beyond the end.
pub(super) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_be_bytes)
}

/// Returns the page size for its stored form; `None` if it is invalid.
pub(super) fn page_size(stored: u32) -> Option<usize> {
    let bytes = if stored == 1 { 65_536 } else { stored };
    (bytes.is_power_of_two() && (512..=65_536).contains(&bytes)).then_some(bytes as usize)
}
