//! The cells of a b-tree page.

use super::{
    page_image::{HEADER_BYTES, PageImage},
    page_overrides::read_u32,
    record::varint,
};

/// Kind of a b-tree page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PageKind {
    IndexInterior,
    TableInterior,
    IndexLeaf,
    TableLeaf,
}

impl PageKind {
    pub(super) fn of(page: &[u8], number: u32) -> Option<Self> {
        match page.get(header_offset(number))? {
            2 => Some(Self::IndexInterior),
            5 => Some(Self::TableInterior),
            10 => Some(Self::IndexLeaf),
            13 => Some(Self::TableLeaf),
            _ => None,
        }
    }
}

/// Row of a table, or entry of an index.
pub(super) struct Cell {
    /// Row id; `None` in an index.
    pub(super) id: Option<i64>,
    pub(super) payload: Vec<u8>,
}

/// Returns the offset of the b-tree header. The first page begins with the header of the database.
fn header_offset(number: u32) -> usize {
    if number == 1 { HEADER_BYTES } else { 0 }
}

fn read_u16(page: &[u8], at: usize) -> usize {
    page.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u16::from_be_bytes).into()
}

/// Returns the offsets of the cells of a page.
fn cell_offsets(page: &[u8], start: usize, header: usize) -> impl Iterator<Item = usize> {
    let count = read_u16(page, start + 3);
    (0..count).map(move |cell| read_u16(page, start + header + 2 * cell)).filter(|at| *at > 0)
}

/// Returns the child pages of an interior page.
pub(super) fn children(page: &[u8], page_number: u32) -> Vec<u32> {
    let start = header_offset(page_number);
    let last = read_u32(page, start + 8);
    cell_offsets(page, start, 12).map(|at| read_u32(page, at)).chain([last]).collect()
}

/// Returns the readable rows of a table leaf page, or the readable entries of any index page.
pub(super) fn cells<'a>(
    page: &'a [u8],
    page_number: u32,
    image: &'a PageImage,
) -> impl Iterator<Item = Cell> + 'a {
    let start = header_offset(page_number);
    let (is_table, header, prefix) = match PageKind::of(page, page_number) {
        Some(PageKind::TableLeaf) => (true, 8, 0),
        Some(PageKind::IndexLeaf) => (false, 8, 0),
        // An entry of an index interior page begins with the number of its child page.
        Some(PageKind::IndexInterior) => (false, 12, 4),
        Some(PageKind::TableInterior) | None => (true, page.len(), 0),
    };
    cell_offsets(page, start, header).filter_map(move |at| cell(page, is_table, at + prefix, image))
}

/// Returns the cell at this offset, with its overflow pages; `None` if it is damaged.
fn cell(page: &[u8], is_table: bool, mut at: usize, image: &PageImage) -> Option<Cell> {
    let (length, bytes) = varint(page.get(at..)?)?;
    at += bytes;
    let id = if is_table {
        let (id, bytes) = varint(page.get(at..)?)?;
        at += bytes;
        Some(id.cast_signed())
    } else {
        None
    };
    let usable = image.usable();
    let length = usize::try_from(length).ok().filter(|length| *length <= usable * image.count() as usize)?;
    let max_local = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    let local = if length <= max_local {
        length
    } else {
        let min_local = (usable - 12) * 32 / 255 - 23;
        let rest = min_local + (length - min_local) % (usable - 4);
        if rest <= max_local { rest } else { min_local }
    };
    let mut payload = page.get(at..at + local)?.to_vec();
    let mut next = read_u32(page, at + local);
    while payload.len() < length {
        let overflow = image.page(next)?;
        let wanted = (length - payload.len()).min(usable - 4);
        payload.extend_from_slice(overflow.get(4..4 + wanted)?);
        next = read_u32(&overflow, 0);
    }
    Some(Cell { id, payload })
}
