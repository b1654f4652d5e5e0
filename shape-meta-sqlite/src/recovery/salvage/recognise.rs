use std::path::Path;

use shape_meta_core::Result;

use super::{
    btree,
    page_cells::cells,
    page_image::PageImage,
    record::{Value, values},
    scan,
};
use crate::{
    error::failed,
    format::tables::{self, Tables},
};

/// What a file holds whose first bytes are not those of a sound database.
#[derive(Debug)]
pub(crate) struct Content {
    /// The first bytes as of the latest commit: those in the WAL or the journal, if it has them.
    pub(crate) header: Vec<u8>,
    /// Whether a row has the columns and the checksum of one of ours, or the tables are ours.
    pub(crate) is_ours: bool,
    /// Whether the tables are exactly those of a version that this crate reads.
    pub(crate) has_known_tables: bool,
    /// Whether there is no table and no row at all.
    pub(crate) is_empty: bool,
}

/// Reads the pages of the database at `path`, with its WAL or journal and without SQLite, which believes the
/// first page. Changes nothing. Reads until the first row of ours, so a foreign file is read to its end.
///
/// # Errors
///
/// `Io` if the disk does not return all pages: the file may be ours.
pub(crate) fn recognise(path: &Path) -> Result<Content> {
    let image = btree::open(path)?;
    let tables = image.tables();
    let has_known_tables = tables::are_of_a_known_version(&tables).map_err(failed("compare the tables"))?;
    let is_ours = has_known_tables || image.has_row_of_ours();
    let content = Content {
        header: image.page(1).unwrap_or_default(),
        is_ours,
        has_known_tables,
        is_empty: tables.is_empty() && image.is_without_rows(),
    };
    image.finish(path)?;
    Ok(content)
}

/// Returns whether the list of free pages, which begins in the header, agrees with itself. Reads the pages of
/// the list, and the WAL if there is one.
///
/// # Errors
///
/// `Io` if the disk does not return a page.
pub(crate) fn has_sound_free_list(path: &Path) -> Result<bool> {
    let image = btree::open(path)?;
    let is_sound = image.free_pages().is_some();
    image.finish(path)?;
    Ok(is_sound)
}

impl PageImage {
    /// Returns the tables in the schema, as far as it is readable.
    fn tables(&self) -> Tables {
        let mut tables = Tables::new();
        for number in self.pages_below(1) {
            let Some(page) = self.page(number) else { continue };
            for cell in cells(&page, number, self) {
                if let Some([Value::Text(b"table"), Value::Text(name), _, _, Value::Text(sql)]) =
                    values(&cell.payload).as_deref()
                    && !name.starts_with(b"sqlite_")
                {
                    let [name, sql] = [*name, *sql].map(|text| String::from_utf8_lossy(text).into_owned());
                    tables.insert(name, sql);
                }
            }
        }
        tables
    }

    fn has_row_of_ours(&self) -> bool {
        self.pages().any(|(number, page)| {
            cells(&page, number, self).any(|cell| {
                values(&cell.payload).is_some_and(|values| scan::is_row_of_ours(cell.id, &values))
            })
        })
    }

    fn is_without_rows(&self) -> bool {
        !self
            .pages()
            .any(|(number, page)| cells(&page, number, self).any(|cell| values(&cell.payload).is_some()))
    }

    fn pages(&self) -> impl Iterator<Item = (u32, Vec<u8>)> + '_ {
        (1..=self.count()).filter_map(|number| Some((number, self.page(number)?)))
    }
}
