use std::{
    cell::RefCell,
    fs::File,
    io::{self, ErrorKind as Io, Read, Seek, SeekFrom},
    path::Path,
};

use shape_meta_core::Result;

use super::log::{self, Beside, number};
use crate::error::failed_on;

/// The header of a database, at the beginning of its first page.
pub(super) const HEADER: usize = 100;

/// The pages of a database as they were after its latest commit, with its log or journal taken into
/// account. Read without SQLite, which gives up a table at the first damaged page, and which would write
/// beside the file.
pub(super) struct Image {
    /// None if only a log is left.
    database: Option<File>,
    /// The log or the journal.
    beside: Option<File>,
    newer: Beside,
    size: usize,
    count: u32,
    header: Vec<u8>,
    /// The first read that failed for another reason than the end of the file.
    trouble: RefCell<Option<io::Error>>,
}

impl Image {
    /// Opens the file of this name and its log or journal. Reads only.
    ///
    /// If neither the header nor the log has a usable page size, all sizes are tried, and the one with the highest
    /// `score` is used.
    pub(super) fn open(path: &Path, score: impl Fn(&Self) -> usize) -> Result<Self> {
        let open = |path: &Path| match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(failed_on("open", path)(error)),
        };
        let beside = |suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            open(Path::new(&name))
        };
        let (database, log, journal) = (open(path)?, beside("-wal")?, beside("-journal")?);
        let length = match &database {
            Some(file) => file.metadata().map_err(failed_on("look at", path))?.len(),
            None => 0,
        };

        let logged = log.as_ref().map(log::log).unwrap_or_default();
        let rolled_back = journal.as_ref().map(log::journal).unwrap_or_default();
        let (beside, newer) = if logged.pages.is_empty() { (journal, rolled_back) } else { (log, logged) };
        let mut image = Self {
            database,
            beside,
            newer,
            size: 512,
            count: 0,
            header: Vec::new(),
            trouble: RefCell::default(),
        };
        image.header = image.bytes(1, HEADER).unwrap_or_default();
        let size = log::page_size(number(&image.header, 16) >> 16).filter(|size| {
            // A size that was flipped to another valid one does not fit the file any more.
            let pages = u64::from(number(&image.header, 28));
            !image.newer.pages.is_empty() || pages * *size as u64 == length
        });
        match image.newer.page_size.or(size) {
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
        Ok(image)
    }

    fn resize(&mut self, size: usize, length: u64) {
        let there = u32::try_from(length.div_ceil(size as u64)).unwrap_or(u32::MAX);
        self.size = size;
        self.count = self.newer.count.unwrap_or(there);
    }

    /// How many pages there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// How much of a page SQLite uses: all of it, unless somebody reserved some.
    pub(super) fn usable(&self) -> usize {
        self.size
    }

    /// The bytes of a page, numbered from 1; `None` if there is none.
    pub(super) fn page(&self, number: u32) -> Option<Vec<u8>> {
        if !(1..=self.count).contains(&number) {
            return None;
        }
        self.bytes(number, self.size)
    }

    fn bytes(&self, number: u32, length: usize) -> Option<Vec<u8>> {
        let (mut file, at) = match (self.newer.pages.get(&number), &self.beside) {
            (Some(at), Some(beside)) => (beside, *at),
            _ => (self.database.as_ref()?, u64::from(number - 1) * self.size as u64),
        };
        let mut page = vec![0; length];
        match file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut page)) {
            Ok(()) => Some(page),
            Err(error) => {
                if error.kind() != Io::UnexpectedEof {
                    self.trouble.borrow_mut().get_or_insert(error);
                }
                None
            }
        }
    }

    /// Whether everything that was asked for could be read. A disk that fails is no reason to give up what lies on
    /// it.
    pub(super) fn finish(self, path: &Path) -> Result<()> {
        self.trouble.into_inner().map_or(Ok(()), |error| Err(failed_on("read", path)(error)))
    }
}
