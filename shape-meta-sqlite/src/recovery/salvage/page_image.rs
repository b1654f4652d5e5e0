use std::{
    cell::RefCell,
    io::{self, ErrorKind as Io, Read, Seek, SeekFrom},
    path::Path,
};

use shape_meta_core::Result;

use super::{
    journal,
    page_overrides::{self, PageOverrides, read_u32},
    wal,
};
use crate::{error::failed_on, ownership::presence::KeptFile};

/// Length of the database header, at the beginning of the first page.
pub(super) const HEADER_BYTES: usize = 100;

/// The pages of a database as of its latest commit, including its WAL or journal.
///
/// Reads without SQLite, which gives up on a table at its first damaged page, and which writes companion
/// files.
pub(super) struct PageImage {
    /// `None` if only the WAL exists.
    database: Option<KeptFile>,
    /// The WAL or the journal, if it overrides pages.
    companion: Option<KeptFile>,
    overrides: PageOverrides,
    page_size: usize,
    /// Bytes at the end of each page that SQLite leaves to extensions. Ours have none, but an operator's tool
    /// may have asked for them.
    reserved: usize,
    count: u32,
    header: Vec<u8>,
    /// First failed read, except for reads beyond the end of a file.
    read_error: RefCell<Option<io::Error>>,
}

impl PageImage {
    /// Opens the database at `path` with its WAL or journal, for reading.
    ///
    /// If neither the header nor the WAL has a usable page size, all sizes are tried, and the one with the
    /// highest `score` is used. That of the header is usable only if the pages are then `plausible`: the
    /// header of another file may agree with the length of this one.
    pub(super) fn open(
        path: &Path,
        score: impl Fn(&Self) -> usize,
        plausible: impl Fn(&Self) -> bool,
    ) -> Result<Self> {
        let open = |path: &Path| match KeptFile::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(failed_on("open", path)(error)),
        };
        let companion = |suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            open(Path::new(&name))
        };
        let (database, wal, journal) = (open(path)?, companion("-wal")?, companion("-journal")?);
        let length = match &database {
            Some(file) => file.metadata().map_err(failed_on("look at", path))?.len(),
            None => 0,
        };

        let committed = wal.as_deref().map(wal::overrides).unwrap_or_default();
        let rolled_back = journal.as_deref().map(journal::overrides).unwrap_or_default();
        let (companion, overrides) =
            if committed.pages.is_empty() { (journal, rolled_back) } else { (wal, committed) };
        let mut image = Self {
            database,
            companion,
            overrides,
            page_size: 512,
            reserved: 0,
            count: 0,
            header: Vec::new(),
            read_error: RefCell::default(),
        };
        image.header = image.bytes(1, HEADER_BYTES).unwrap_or_default();
        let size = page_overrides::page_size(read_u32(&image.header, 16) >> 16).filter(|size| {
            // A damaged but valid page size does not match the length of the file.
            let pages = u64::from(read_u32(&image.header, 28));
            !image.overrides.pages.is_empty() || pages * *size as u64 == length
        });
        let size = size.filter(|size| {
            image.resize(*size, length);
            plausible(&image)
        });
        match image.overrides.page_size.or(size) {
            Some(size) => image.resize(size, length),
            None => {
                let sizes = (9..=16).map(|power| 1 << power);
                let rows = |size| {
                    image.resize(size, length);
                    score(&image)
                };
                let best = sizes.map(rows).enumerate().max_by_key(|(_, rows)| *rows);
                image.resize(1 << (9 + best.map_or(3, |(power, _)| power)), length);
            }
        }
        let reserved = image.header.get(20).copied().unwrap_or(0).into();
        // Less than 480 usable bytes are no valid database.
        if reserved > 0 && image.page_size - reserved >= 480 {
            let without = score(&image);
            image.reserved = reserved;
            if score(&image) <= without {
                image.reserved = 0;
            }
        }
        Ok(image)
    }

    fn resize(&mut self, size: usize, length: u64) {
        let in_file = u32::try_from(length.div_ceil(size as u64)).unwrap_or(u32::MAX);
        self.page_size = size;
        self.count = self.overrides.count.unwrap_or(in_file);
    }

    /// Returns the number of pages.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Returns the usable bytes of a page.
    pub(super) fn usable(&self) -> usize {
        self.page_size - self.reserved
    }

    pub(super) fn page_size(&self) -> usize {
        self.page_size
    }

    /// Returns a page, numbered from 1; `None` if it does not exist or cannot be read.
    pub(super) fn page(&self, number: u32) -> Option<Vec<u8>> {
        if !(1..=self.count).contains(&number) {
            return None;
        }
        self.bytes(number, self.page_size)
    }

    fn bytes(&self, number: u32, length: usize) -> Option<Vec<u8>> {
        let (file, at) = match (self.overrides.pages.get(&number), &self.companion) {
            (Some(at), Some(companion)) => (companion, *at),
            _ => (self.database.as_ref()?, u64::from(number - 1) * self.page_size as u64),
        };
        let (mut file, mut page) = (&**file, vec![0; length]);
        match file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut page)) {
            Ok(()) => Some(page),
            Err(error) => {
                if error.kind() != Io::UnexpectedEof {
                    self.read_error.borrow_mut().get_or_insert(error);
                }
                None
            }
        }
    }

    /// Returns the first read error, if there was one. A failing disk must not be taken for damage: the rows
    /// may still be readable from a copy.
    pub(super) fn finish(self, path: &Path) -> Result<()> {
        self.read_error.into_inner().map_or(Ok(()), |error| Err(failed_on("read", path)(error)))
    }
}
