use std::collections::{BTreeMap, HashMap};

use shape_meta_core::{Entry, Handle, Seq};

use super::{
    cells::{Cell, cells},
    image::Image,
    record::{Value, values},
};
use crate::format::{
    checksum,
    meta::Meta,
    row::{Defect, DefinitionRow, ShapeRow},
};

/// Where a row lies: its page, and its place among the rows of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    page: u32,
    row: u32,
}

/// The rows that were found, as far as they could be told. Some 40 bytes for each shape.
#[derive(Default)]
pub(super) struct Found {
    /// The state, if its row is whole.
    pub(super) meta: Option<Meta>,
    /// Row ids in ascending order.
    pub(super) shapes: Vec<(i64, Place)>,
    pub(super) definitions: Vec<(i64, Place)>,
    pub(super) to_clean: Vec<Handle>,
    /// Handles that were to be cleaned, and are damaged.
    pub(super) to_clean_lost: u64,
    pub(super) last_reads: HashMap<i64, i64>,
    /// When owners found the shapes up to a place in the order.
    pub(super) openings: BTreeMap<i64, i64>,
    /// The highest row id in any table, whether or not its row is whole.
    pub(super) highest: i64,
}

/// What a row is, told by its columns alone: no two tables have the same, but for the last reads and the openings.
enum Row<'a> {
    Meta([i64; 4], Option<i64>),
    Shape(ShapeRow<'a>),
    Definition(DefinitionRow<'a>),
    LastRead(i64),
    ToClean(&'a [u8], Option<i64>),
    Other,
}

fn row<'a>(id: Option<i64>, values: &[Value<'a>]) -> Row<'a> {
    use Value::{Blob, Integer, Null, Text};
    // A row that an earlier version has written lacks the columns that came later.
    let sum = |value: Option<&Value<'_>>| match value {
        Some(Integer(sum)) => Some(Some(*sum)),
        Some(Null) | None => Some(None),
        _ => None,
    };
    let told = match (id, values) {
        (Some(1), [Null, Integer(a), Integer(b), Integer(c), Integer(d), rest @ ..]) if rest.len() <= 1 => {
            sum(rest.first()).map(|sum| Row::Meta([*a, *b, *c, *d], sum))
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
        ) if rest.len() <= 1 => sum(rest.first()).map(|checksum| {
            let (hash, state, indexed) = (*hash, *state, *indexed);
            Row::Shape(ShapeRow { id, handle, key, hash, state, indexed, relations, checksum })
        }),
        (Some(_), [Null, Blob(dependencies), Blob(body), rest @ ..]) if rest.len() <= 1 => {
            sum(rest.first()).map(|checksum| Row::Definition(DefinitionRow { dependencies, body, checksum }))
        }
        (Some(_), [Null, Integer(at)]) => Some(Row::LastRead(*at)),
        (None, [Text(handle), rest @ ..]) if rest.len() <= 1 => {
            sum(rest.first()).map(|sum| Row::ToClean(handle, sum))
        }
        _ => None,
    };
    told.unwrap_or(Row::Other)
}

impl Found {
    /// Looks through all pages that count.
    pub(super) fn in_image(image: &Image) -> Self {
        let mut found = Self::default();
        let mut live: Vec<_> = image.live().into_iter().collect();
        live.sort_unstable();
        let openings = image.pages_of("opening");
        for number in live {
            let Some(page) = image.page(number) else { continue };
            let is_openings = openings.contains(&number);
            for (row, cell) in (0..).zip(cells(&page, number, image)) {
                found.take(&cell, Place { page: number, row }, is_openings);
            }
        }
        for rows in [&mut found.shapes, &mut found.definitions] {
            rows.sort_unstable();
        }
        found
    }

    fn take(&mut self, cell: &Cell, place: Place, is_openings: bool) {
        let Some(values) = values(&cell.payload) else { return };
        let id = cell.id.filter(|id| *id > 0);
        match (id, row(id, &values)) {
            (_, Row::Meta(columns, checksum)) => {
                self.meta = self.meta.or(Meta::of(columns, checksum).ok());
            }
            (Some(id), Row::Shape(_)) => self.shapes.push((id, place)),
            (Some(id), Row::Definition(_)) => self.definitions.push((id, place)),
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
                let whole =
                    |handle: &Handle| sum.is_none_or(|sum| sum == checksum::of(Seq::ZERO, handle.as_bytes()));
                match handle.filter(whole) {
                    Some(handle) => self.to_clean.push(handle),
                    None => self.to_clean_lost += 1,
                }
            }
            _ => {}
        }
        self.highest = self.highest.max(id.unwrap_or(0));
    }
}

/// Reads rows again at their places, a page at a time: shapes and definitions were written in the same order.
pub(super) struct Reader<'a> {
    image: &'a Image,
    page: Option<(u32, Vec<Cell>)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(image: &'a Image) -> Self {
        Self { image, page: None }
    }

    fn cell(&mut self, place: Place) -> Option<&Cell> {
        if self.page.as_ref().is_none_or(|(number, _)| *number != place.page) {
            let page = self.image.page(place.page)?;
            self.page = Some((place.page, cells(&page, place.page, self.image).collect()));
        }
        self.page.as_ref()?.1.get(place.row as usize)
    }

    pub(super) fn shape(&mut self, id: i64, place: Place) -> Result<Entry, Defect> {
        let gone = "its row cannot be read again";
        let cell = self.cell(place).ok_or(gone)?;
        let values = values(&cell.payload).ok_or(gone)?;
        match row(Some(id), &values) {
            Row::Shape(row) => row.entry(),
            _ => Err(gone.into()),
        }
    }

    pub(super) fn definition<T>(
        &mut self,
        id: i64,
        place: Place,
        take: impl FnOnce(DefinitionRow<'_>) -> Result<T, Defect>,
    ) -> Result<T, Defect> {
        let gone = "the row of its definition cannot be read again";
        let cell = self.cell(place).ok_or(gone)?;
        let values = values(&cell.payload).ok_or(gone)?;
        match row(Some(id), &values) {
            Row::Definition(row) => take(row),
            _ => Err(gone.into()),
        }
    }
}
