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
    /// The version that this crate reads and in which the file was certainly written last, whatever the
    /// header says: its tables are exactly those of the version, and since version 3 the row of `meta` has
    /// its checksum. A later version may have the same tables, but not the same checksum.
    pub(crate) version: Option<u32>,
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
    let of_tables = tables::known_version(&tables).map_err(failed("compare the tables"))?;
    let is_ours = of_tables.is_some() || image.has_row_of_ours();
    let content = Content {
        header: image.page(1).unwrap_or_default(),
        is_ours,
        version: of_tables.filter(|version| *version < 3 || image.version_in_meta() == Some(*version)),
        is_empty: tables.is_empty() && image.is_without_rows(),
    };
    image.finish(path)?;
    Ok(content)
}

/// Returns the first page as of the latest commit; `None` if that leaves no page, as the journal of a first
/// transaction does. Changes nothing.
///
/// # Errors
///
/// `Io` if the disk does not return it.
pub(crate) fn header(path: &Path) -> Result<Option<Vec<u8>>> {
    let image = btree::open(path)?;
    let header = (image.count() > 0).then(|| image.page(1).unwrap_or_default());
    image.finish(path)?;
    Ok(header)
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

    /// Returns the version in which the row of `meta` was written.
    fn version_in_meta(&self) -> Option<u32> {
        let page = |number| Some((number, self.page(number)?));
        self.pages_of("meta").into_iter().filter_map(page).find_map(|(number, page)| {
            cells(&page, number, self)
                .find_map(|cell| scan::version_of_meta(cell.id, &values(&cell.payload)?))
        })
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
