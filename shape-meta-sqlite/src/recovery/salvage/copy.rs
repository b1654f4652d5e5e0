use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use rusqlite::Connection;
use shape_meta_core::{
    Change, Counts, Entry, Error, ErrorKind, Handle, Key, Lost, Record, Result, Seq, Timestamp, TrustedState,
};

use super::{
    btree,
    page_image::PageImage,
    scan::{FoundRows, RowLocation, RowReader},
};
use crate::{
    connection::settings::{self, Settings, set},
    error::{failed, failed_on},
    format::{
        cleanup,
        files::{self, COMPANIONS},
        index,
        lineage::Lineage,
        meta::{Meta, Ownership},
        migrate,
        row::{self, Defect},
        stamp::StampRow,
    },
    read::last_reads,
    write::batch::BatchWriter,
};

/// Result of a copy.
#[derive(Debug)]
pub(crate) struct Copied {
    /// Number of shapes in the new database.
    pub(crate) salvaged: u64,
    pub(crate) lost: Vec<Lost>,
    /// Number of shapes that the damaged database or memory counted, and of which no row was found.
    pub(crate) vanished: u64,
    /// Whether the damaged database or memory counted.
    pub(crate) knows_count: bool,
    /// Number of damaged rows of `to_clean`.
    pub(crate) lost_cleanups: u64,
}

/// Distance from the highest sequence number that was found to the next one, if the stored last sequence
/// number is lost. Sequence numbers are never assigned twice, and mutations without a row have one, too.
const SEQ_GAP: u64 = 1 << 32;

/// Fills the empty file `to` with the sound rows of the database at `from`, and the trusted state of memory.
///
/// # Errors
///
/// `Io` if a read of the damaged file fails, since its rows may be readable from a copy. Otherwise an error
/// of the new database.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    settings: &Settings,
    trusted: &TrustedState<'_>,
    owner: Option<Ownership>,
) -> Result<Copied> {
    let image = btree::open(from)?;
    let found = FoundRows::scan(&image);
    let operation = "write the salvaged rows";
    let resolved = files::resolved(to).map_err(failed_on("resolve the path of", to))?;
    let settings = Settings { path: Some(resolved), ..settings.clone() };
    let mut connection = settings.open_created().map_err(failed(operation))?;
    // The new database is used only once it is complete, so it needs no rollback.
    set(&connection, "page_size", settings.options.page_size_of_new()).map_err(failed(operation))?;
    set(&connection, "journal_mode", "OFF").map_err(failed(operation))?;
    set(&connection, "synchronous", "FULL").map_err(failed(operation))?;
    migrate::migrate(&mut connection, migrate::STEPS)?;
    index::ensure(&mut connection, settings.options.disk_indexes)?;

    let transaction = connection.transaction().map_err(failed(operation))?;
    let copied =
        Copier { image: &image, found: &found, trusted, owner, settings: &settings }.run(&transaction)?;
    image.finish(from)?;
    transaction.commit().map_err(failed(operation))?;
    settings::set_journal_mode(&connection, settings.options.mode)?;
    connection.close().map_err(|(_, error)| failed(operation)(error))?;
    // Only the file gets the name of the database, and SQLite does not report a failed checkpoint at close.
    for suffix in COMPANIONS {
        let companion = files::with_suffix(to, suffix);
        if files::size(&companion).map_err(failed_on("look at", &companion))? > 0 {
            let message = "could not write the salvaged rows: SQLite left some of them outside of the new file; \
                           nothing has changed, and it can be tried again";
            return Err(Error::new(ErrorKind::Io, message));
        }
    }
    Ok(copied)
}

struct Copier<'a> {
    image: &'a PageImage,
    found: &'a FoundRows,
    trusted: &'a TrustedState<'a>,
    /// The ownership that the owner has announced for the new database, if one repairs it.
    owner: Option<Ownership>,
    settings: &'a Settings,
}

impl Copier<'_> {
    fn run(&self, connection: &Connection) -> Result<Copied> {
        let newest = self.newest();
        let empty =
            Meta { last_seq: Seq::ZERO, counts: Counts::default(), epoch: 0, database: None, opening: None };
        let mut writer = BatchWriter::new(connection, self.settings.options.disk_indexes, &empty)?;
        let (mut shapes, mut definitions) = (RowReader::new(self.image), RowReader::new(self.image));
        let (mut salvaged, mut lost) = (HashSet::new(), Vec::new());
        let mut last = Seq::ZERO;
        for (id, shape, definition) in self.candidates() {
            let created = Seq::new(id.cast_unsigned());
            let entry = self.entry(&mut shapes, id, shape);
            let handle = entry.as_ref().ok().map(|entry| entry.handle().clone());
            match entry.and_then(|entry| self.record(&mut definitions, &newest, entry, definition)) {
                Ok(record) => {
                    let state = record.entry.state();
                    salvaged.insert(record.handle().clone());
                    writer.apply(&Change::Add { record: Arc::new(record), state })?;
                    last = created;
                }
                Err(why) => lost.push(Lost { created, handle, why }),
            }
        }
        let (counts, _) = writer.finish()?;

        // The stored data of lost shapes can be cleaned, unless a salvaged shape has the same handle.
        let is_gone = |handle: &&Handle| !salvaged.contains(*handle);
        cleanup::insert_orphans(connection, self.found.to_clean.iter().filter(is_gone))?;
        for Lost { created, handle, .. } in &lost {
            if let Some(handle) = handle.as_ref().filter(is_gone) {
                cleanup::insert(connection, created.get().cast_signed(), handle)?;
            }
        }

        let stored = self.found.meta;
        let last_seq = match (self.trusted.last_seq, stored) {
            (Some(last_seq), _) => last_seq,
            (None, Some(meta)) => meta.last_seq.max(last),
            (None, None) => Seq::new(self.found.highest.cast_unsigned() + SEQ_GAP),
        };
        // The time is larger than any earlier epoch, which counts opens.
        let seconds = Timestamp::now().as_micros() / 1_000_000;
        let epoch = self.owner.map(|owner| owner.epoch).or(stored.map(|meta| meta.epoch)).unwrap_or(seconds);
        // A rebuilt database is another one (C13): without an owner, its next opening makes the identities.
        let (database, opening) = self.owner.map(|owner| (owner.database, owner.opening)).unzip();
        let meta = Meta { last_seq, counts, epoch, database, opening };
        meta.write(connection)?;
        if opening.is_some() {
            Lineage::record(connection, &meta)?;
        }
        // The shapes count as those of another stamp if theirs is lost: what the application does about that
        // is its choice, at the next open.
        let stamp = &self.found.stamp;
        if let Some(stamp) = stamp.clone().or_else(|| self.found.has_damaged_stamp.then(StampRow::lost)) {
            stamp.write(connection)?;
        }
        self.copy_other_tables(connection, last_seq)?;
        let expected = match self.trusted.entries {
            Some(entries) => Some(entries.len() as u64),
            None => stored.map(|meta| meta.counts.total),
        };
        let vanished = expected.unwrap_or(0).saturating_sub(counts.total + lost.len() as u64);
        let lost_cleanups = self.found.lost_cleanups;
        let knows_count = expected.is_some();
        Ok(Copied { salvaged: counts.total, lost, vanished, knows_count, lost_cleanups })
    }

    /// Returns each shape of which a row or a trusted entry exists, with its locations, oldest first.
    fn candidates(&self) -> Vec<(i64, Option<RowLocation>, Option<RowLocation>)> {
        let mut all = BTreeMap::new();
        for (id, location) in &self.found.shapes {
            all.entry(*id).or_insert((None, None)).0 = Some(*location);
        }
        for (id, location) in &self.found.definitions {
            all.entry(*id).or_insert((None, None)).1 = Some(*location);
        }
        if let Some(entries) = self.trusted.entries {
            // A shape that memory does not have was removed, or its add was never acknowledged.
            all.retain(|id, _| self.trusted.entry(Seq::new(id.cast_unsigned())).is_some());
            for entry in entries {
                all.entry(entry.created().get().cast_signed()).or_default();
            }
        }
        for (id, location) in &self.found.in_blocks {
            // A block alone does not tell whether the shape was removed.
            if let Some((_, definition)) = all.get_mut(id) {
                definition.get_or_insert(*location);
            }
        }
        all.into_iter().map(|(id, (shape, definition))| (id, shape, definition)).collect()
    }

    /// Returns the trusted entry if memory has one, and the entry of the row otherwise.
    fn entry(
        &self,
        shapes: &mut RowReader<'_>,
        id: i64,
        location: Option<RowLocation>,
    ) -> Result<Entry, Defect> {
        if let Some(entry) = self.trusted.entry(Seq::new(id.cast_unsigned())) {
            let (handle, relations) = (entry.handle().clone(), entry.relations().to_vec().into());
            let (key, hash) = (*entry.key(), entry.hash());
            let copy = Entry::new(entry.created(), handle, key, hash, relations, entry.is_indexed())
                .with_created_at(entry.created_at());
            return Ok(copy.with_state(entry.state(), entry.last_read()));
        }
        shapes.shape(id, location.ok_or("its row is lost, and only its definition was found")?)
    }

    fn record(
        &self,
        definitions: &mut RowReader<'_>,
        newest: &Newest,
        entry: Entry,
        location: Option<RowLocation>,
    ) -> Result<Record, Defect> {
        if !newest.has(&entry) {
            return Err(SUPERSEDED.into());
        }
        let record = definitions.record(entry, location.ok_or("its definition is lost")?)?;
        match &self.settings.options.verifier {
            Some(verifier) if !verifier.accepts(&record) => {
                Err("its definition does not pass the verifier".into())
            }
            _ => Ok(record),
        }
    }

    /// Returns the newest shape of each handle and key. With a damaged free list, rows of removed shapes may
    /// be found, too.
    fn newest(&self) -> Newest {
        let mut newest = Newest::default();
        let mut shapes = RowReader::new(self.image);
        for (id, location, _) in self.candidates() {
            if let Ok(entry) = self.entry(&mut shapes, id, location) {
                newest.handles.insert(entry.handle().clone(), id);
                newest.keys.insert(*entry.key(), id);
            }
        }
        newest
    }

    /// Copies the last reads of salvaged shapes and the open times, and begins a new change log.
    fn copy_other_tables(&self, connection: &Connection, last_seq: Seq) -> Result<()> {
        let operation = "write the salvaged rows";
        let has = |table| {
            let sql = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?1";
            connection.query_row(sql, [table], |row| row.get::<_, bool>(0)).map_err(failed(operation))
        };
        if has("last_read")? {
            let sql = "INSERT INTO last_read (id, at) SELECT id, ?2 FROM shape WHERE id = ?1";
            let mut insert = connection.prepare(sql).map_err(failed(operation))?;
            let now = Timestamp::now();
            let mut reads: Vec<_> = self.found.last_reads.iter().filter(|(_, at)| **at > 0).collect();
            reads.sort_unstable();
            for (id, at) in reads {
                let at = last_reads::stored_time(*at, now).at.as_micros().cast_signed();
                insert.execute([*id, at]).map_err(failed(operation))?;
            }
        }
        if has("opening")? {
            let mut insert = connection
                .prepare("INSERT INTO opening (through, at) VALUES (?1, ?2)")
                .map_err(failed(operation))?;
            let last = last_seq.get().cast_signed();
            let is_sound = |through: i64, at: i64| (1..=last).contains(&through) && at > 0;
            let found = self.found.openings.iter().filter(|(through, at)| is_sound(**through, **at));
            for (through, at) in
                last_reads::openings_of(found.map(|(through, at)| (row::seq(*through), *at)).collect()).rows()
            {
                let values = [through.get(), at.as_micros()].map(u64::cast_signed);
                insert.execute(values).map_err(failed(operation))?;
            }
        }
        if has("change_log")? {
            // A standby must reload everything, since earlier changes are lost.
            let last = last_seq.get().cast_signed();
            connection.execute("UPDATE change_log SET through = ?1", [last]).map_err(failed(operation))?;
        }
        Ok(())
    }
}

const SUPERSEDED: &str = "a newer shape has its handle or its key";

/// Row id of the newest shape by handle and by key. Whole ones: shapes may share any hash of them.
#[derive(Default)]
struct Newest {
    handles: HashMap<Handle, i64>,
    keys: HashMap<Key, i64>,
}

impl Newest {
    fn has(&self, entry: &Entry) -> bool {
        let id = entry.created().get().cast_signed();
        self.handles.get(entry.handle()) == Some(&id) && self.keys.get(entry.key()) == Some(&id)
    }
}
