use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use shape_meta_core::{Entry, Handle, Record, Seq, store_parts::checksum};

use super::{
    page_cells::{Cell, cells},
    page_image::PageImage,
    record::{Value, values},
};
use crate::format::{
    block::{self, BlockReader},
    meta::Meta,
    row::{Defect, DefinitionRow, ShapeRow},
    stamp::{self, StampRow},
};

/// Location of a row: its page, and its index among the cells of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowLocation {
    page: u32,
    row: u32,
}

/// The recognised rows of a damaged database. Takes about 40 bytes per shape.
#[derive(Default)]
pub(super) struct FoundRows {
    /// Row of `stamp`, if it is sound.
    pub(super) stamp: Option<StampRow>,
    /// Whether there is a row of `stamp` that is damaged.
    pub(super) has_damaged_stamp: bool,
    /// Row of `meta`, if it is sound.
    pub(super) meta: Option<Meta>,
    /// Row ids and locations, in ascending order.
    pub(super) shapes: Vec<(i64, RowLocation)>,
    pub(super) definitions: Vec<(i64, RowLocation)>,
    /// The same for definitions in blocks, also those of removed shapes.
    pub(super) in_blocks: Vec<(i64, RowLocation)>,
    /// The handles of cleanup tasks.
    pub(super) to_clean: Vec<Handle>,
    /// Number of damaged cleanup tasks.
    pub(super) lost_cleanups: u64,
    pub(super) last_reads: HashMap<i64, i64>,
    /// Open times by the sequence number up to which shapes existed then.
    pub(super) openings: BTreeMap<i64, i64>,
    /// Highest row id of any row, sound or damaged, except last reads and open times.
    pub(super) highest: i64,
}

/// Row, recognised by its columns alone. Only `last_read` and `opening` have the same columns.
enum Row<'a> {
    Meta([i64; 4], [&'a [u8]; 2], Option<i64>),
    Shape(ShapeRow<'a>),
    Definition(DefinitionRow<'a>),
    LastRead(i64),
    ToClean(&'a [u8], Option<i64>),
    Stamp(stamp::Columns<'a>, i64),
    Other,
}

fn row<'a>(id: Option<i64>, values: &[Value<'a>]) -> Row<'a> {
    use Value::{Blob, Integer, Null, Text};
    // A row of schema version 1 lacks the checksum.
    let sum = |value: Option<&Value<'_>>| match value {
        Some(Integer(sum)) => Some(Some(*sum)),
        Some(Null) | None => Some(None),
        _ => None,
    };
    let row = match (id, values) {
        (Some(1), [Null, Integer(a), Integer(b), Integer(c), Integer(d), rest @ ..]) => {
            let ids = match rest {
                [] | [_] => Some([&[][..]; 2]),
                [_, Blob(database), Blob(opening)] => Some([*database, *opening]),
                _ => None,
            };
            ids.and_then(|ids| Some(Row::Meta([*a, *b, *c, *d], ids, sum(rest.first())?)))
        }
        (
            Some(id),
            [
                Null,
                Text(handle),
                Blob(key),
                Integer(hash),
                Integer(state),
                Integer(indexed),
                Blob(relations),
                rest @ ..,
            ],
        ) if rest.len() <= 2 => sum(rest.first()).and_then(|checksum| {
            let (hash, state, indexed) = (*hash, *state, *indexed);
            let created_at = match rest.get(1) {
                None => 0,
                Some(Integer(at)) => *at,
                Some(_) => return None,
            };
            Some(Row::Shape(ShapeRow {
                id,
                handle,
                key,
                hash,
                state,
                indexed,
                relations,
                checksum,
                created_at,
            }))
        }),
        (Some(id), [Null, Blob(dependencies), Blob(body), rest @ ..]) if rest.len() <= 2 => {
            let first = match rest.get(1) {
                None | Some(Null) => Some(None),
                Some(Integer(first)) => Some(Some(*first)),
                Some(_) => None,
            };
            sum(rest.first()).and_then(|checksum| {
                Some(Row::Definition(DefinitionRow { id, dependencies, body, checksum, first: first? }))
            })
        }
        (
            Some(1),
            [
                Null,
                Integer(version),
                Text(source),
                Integer(rekey_through),
                Integer(next_version),
                Text(next_source),
                Integer(sum),
            ],
        ) => {
            let texts = str::from_utf8(source).and_then(|source| Ok((source, str::from_utf8(next_source)?)));
            texts.ok().map(|(source, next_source)| {
                let (version, rekey_through, next_version) = (*version, *rekey_through, *next_version);
                Row::Stamp(stamp::Columns { version, source, rekey_through, next_version, next_source }, *sum)
            })
        }
        (Some(_), [Null, Integer(at)]) => Some(Row::LastRead(*at)),
        (None, [Text(handle), rest @ ..]) if rest.len() <= 1 => {
            sum(rest.first()).map(|sum| Row::ToClean(handle, sum))
        }
        // Since version 3 they have row ids, some of which are negative.
        (_, [Null, Text(handle), checksum]) => sum(Some(checksum)).map(|sum| Row::ToClean(handle, sum)),
        _ => None,
    };
    row.unwrap_or(Row::Other)
}

/// Whether a row is one of ours beyond doubt: its checksum matches, or it is a shape of version 1, which has
/// none, and all of its columns are well-formed.
pub(super) fn is_row_of_ours(id: Option<i64>, values: &[Value<'_>]) -> bool {
    match row(id, values) {
        Row::Meta(columns, ids, checksum) => checksum.is_some() && Meta::of(columns, ids, checksum).is_ok(),
        Row::Shape(row) => row.entry().is_ok(),
        Row::ToClean(handle, Some(sum)) => sum == checksum::of(Seq::ZERO, handle),
        Row::Stamp(columns, sum) => sum == columns.checksum(),
        Row::Definition(_) | Row::LastRead(_) | Row::ToClean(_, None) | Row::Other => false,
    }
}

/// Whether a row is a cleanup task with a matching checksum.
pub(super) fn is_task(id: Option<i64>, values: &[Value<'_>]) -> bool {
    matches!(row(id, values), Row::ToClean(handle, Some(sum)) if sum == checksum::of(Seq::ZERO, handle))
}

/// Returns the schema version in which a row of `meta` was written; `None` for any other row.
pub(super) fn version_of_meta(id: Option<i64>, values: &[Value<'_>]) -> Option<u32> {
    match row(id, values) {
        Row::Meta(columns, ids, Some(checksum)) => {
            Meta::of(columns, ids, Some(checksum)).ok()?.version_of(checksum)
        }
        _ => None,
    }
}

impl FoundRows {
    /// Reads all pages in use.
    pub(super) fn scan(image: &PageImage) -> Self {
        let mut found = Self::default();
        let mut live: Vec<_> = image.live_pages().into_iter().collect();
        live.sort_unstable();
        let openings = image.pages_of("opening");
        let stamps = image.pages_of("stamp");
        for number in live {
            let Some(page) = image.page(number) else { continue };
            let is_openings = openings.contains(&number);
            let is_stamp = stamps.contains(&number);
            for (row, cell) in (0..).zip(cells(&page, number, image)) {
                found.add(&cell, RowLocation { page: number, row }, is_openings);
                found.has_damaged_stamp |= is_stamp && found.stamp.is_none();
            }
        }
        for rows in [&mut found.shapes, &mut found.definitions] {
            rows.sort_unstable();
        }
        found
    }

    fn add(&mut self, cell: &Cell, location: RowLocation, is_openings: bool) {
        let Some(values) = values(&cell.payload) else { return };
        let id = cell.id.filter(|id| *id > 0);
        match (id, row(id, &values)) {
            (_, Row::Meta(columns, ids, checksum)) => {
                self.meta = self.meta.or(Meta::of(columns, ids, checksum).ok());
            }
            (_, Row::Stamp(columns, sum)) if sum == columns.checksum() => {
                self.stamp = Some(columns.decode());
            }
            (Some(id), Row::Shape(_)) => self.shapes.push((id, location)),
            (Some(id), Row::Definition(DefinitionRow { first: None, .. })) => {
                self.definitions.push((id, location));
            }
            (Some(id), Row::Definition(DefinitionRow { first: Some(first), dependencies: list, .. })) => {
                // Without its list, nothing of a block can be read.
                let shapes = block::shapes(id, first, list).into_iter().flatten();
                self.in_blocks.extend(shapes.filter(|id| *id > 0).map(|id| (id, location)));
            }
            (Some(through), Row::LastRead(at)) if is_openings => {
                self.openings.insert(through, at);
                return;
            }
            (Some(id), Row::LastRead(at)) => {
                self.last_reads.insert(id, at);
                return;
            }
            (_, Row::ToClean(handle, sum)) => {
                let handle = str::from_utf8(handle).ok().and_then(|handle| Handle::new(handle).ok());
                let is_sound =
                    |handle: &Handle| sum.is_none_or(|sum| sum == checksum::of(Seq::ZERO, handle.as_bytes()));
                match handle.filter(is_sound) {
                    Some(handle) => self.to_clean.push(handle),
                    None => self.lost_cleanups += 1,
                }
            }
            _ => {}
        }
        self.highest = self.highest.max(id.unwrap_or(0));
    }
}

/// Reads rows by their location. Caches one page, since rows are read in the order in which they were
/// written.
pub(super) struct RowReader<'a> {
    image: &'a PageImage,
    page: Option<(u32, Vec<Cell>)>,
    /// The block at this location.
    block: Option<(RowLocation, BlockReader)>,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(image: &'a PageImage) -> Self {
        Self { image, page: None, block: None }
    }

    fn cell(&mut self, location: RowLocation) -> Option<&Cell> {
        if self.page.as_ref().is_none_or(|(number, _)| *number != location.page) {
            let page = self.image.page(location.page)?;
            self.page = Some((location.page, cells(&page, location.page, self.image).collect()));
        }
        self.page.as_ref()?.1.get(location.row as usize)
    }

    pub(super) fn shape(&mut self, id: i64, location: RowLocation) -> Result<Entry, Defect> {
        let unreadable = "its row became unreadable";
        let cell = self.cell(location).ok_or(unreadable)?;
        let values = values(&cell.payload).ok_or(unreadable)?;
        match row(Some(id), &values) {
            Row::Shape(row) => row.entry(),
            _ => Err(unreadable.into()),
        }
    }

    /// Returns the record of this entry, whose definition is in the row at `location`.
    pub(super) fn record(&mut self, entry: Entry, location: RowLocation) -> Result<Record, Defect> {
        let unreadable = "the row of its definition became unreadable";
        // Damaged rows may have one id.
        let mut blocks = match self.block.take() {
            Some((read, blocks)) if read == location => blocks,
            _ => BlockReader::default(),
        };
        let cell = self.cell(location).ok_or(unreadable)?;
        let values = values(&cell.payload).ok_or(unreadable)?;
        let Row::Definition(row) = row(cell.id, &values) else { return Err(unreadable.into()) };
        let record = row.record(Arc::new(entry), &mut blocks)?.ok_or("its definition is lost")?;
        self.block = Some((location, blocks));
        Ok(record)
    }
}
