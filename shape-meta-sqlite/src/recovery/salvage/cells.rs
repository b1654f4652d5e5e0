//! The cells of a page of a b-tree.

use super::{
    image::{HEADER, Image},
    log::number,
    record::varint,
};

/// What a page of a b-tree is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    IndexInterior,
    TableInterior,
    IndexLeaf,
    TableLeaf,
}

impl Kind {
    pub(super) fn of(page: &[u8], number: u32) -> Option<Self> {
        match page.get(start(number))? {
            2 => Some(Self::IndexInterior),
            5 => Some(Self::TableInterior),
            10 => Some(Self::IndexLeaf),
            13 => Some(Self::TableLeaf),
            _ => None,
        }
    }
}

/// A row, or an entry of an index.
pub(super) struct Cell {
    /// The row id; none in an index.
    pub(super) id: Option<i64>,
    pub(super) payload: Vec<u8>,
}

fn start(number: u32) -> usize {
    if number == 1 { HEADER } else { 0 }
}

fn short(page: &[u8], at: usize) -> usize {
    page.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u16::from_be_bytes).into()
}

/// Where the cells of a page begin.
fn places(page: &[u8], start: usize, header: usize) -> impl Iterator<Item = usize> {
    let count = short(page, start + 3);
    (0..count).map(move |cell| short(page, start + header + 2 * cell)).filter(|at| *at > 0)
}

/// The pages below an interior page.
pub(super) fn children(page: &[u8], page_number: u32) -> Vec<u32> {
    let start = start(page_number);
    let last = number(page, start + 8);
    places(page, start, 12).map(|at| number(page, at)).chain([last]).collect()
}

/// All that can be read of the rows of a leaf page, and of the entries of any page of an index.
pub(super) fn cells<'a>(
    page: &'a [u8],
    page_number: u32,
    image: &'a Image,
) -> impl Iterator<Item = Cell> + 'a {
    let start = start(page_number);
    let (is_table, header, skipped) = match Kind::of(page, page_number) {
        Some(Kind::TableLeaf) => (true, 8, 0),
        Some(Kind::IndexLeaf) => (false, 8, 0),
        // An entry of an interior page of an index begins with the number of the page below it.
        Some(Kind::IndexInterior) => (false, 12, 4),
        Some(Kind::TableInterior) | None => (true, page.len(), 0),
    };
    places(page, start, header).filter_map(move |at| cell(page, is_table, at + skipped, image))
}

/// The cell that begins here, with what of it lies on other pages.
fn cell(page: &[u8], is_table: bool, mut at: usize, image: &Image) -> Option<Cell> {
    let (length, taken) = varint(page.get(at..)?)?;
    at += taken;
    let id = if is_table {
        let (id, taken) = varint(page.get(at..)?)?;
        at += taken;
        Some(id.cast_signed())
    } else {
        None
    };
    let usable = image.usable();
    let length = usize::try_from(length).ok().filter(|length| *length <= usable * image.count() as usize)?;
    let most = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    let local = if length <= most {
        length
    } else {
        let least = (usable - 12) * 32 / 255 - 23;
        let rest = least + (length - least) % (usable - 4);
        if rest <= most { rest } else { least }
    };
    let mut payload = page.get(at..at + local)?.to_vec();
    let mut next = number(page, at + local);
    while payload.len() < length {
        let more = image.page(next)?;
        let wanted = (length - payload.len()).min(usable - 4);
        payload.extend_from_slice(more.get(4..4 + wanted)?);
        next = number(&more, 0);
    }
    Some(Cell { id, payload })
}
