use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::Connection;
use shape_meta_core::{Change, Counts, Entry, Lost, Record, Result, Seq, TrustedState};

use super::{
    btree,
    found::{Found, Place, Reader},
    image::Image,
};
use crate::{
    connection::settings::{self, Settings, set},
    error::failed,
    format::{index, meta::Meta, migrate, prefix_hash, row::Defect, to_clean},
    write::batch::BatchWriter,
};

/// What was carried over.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) saved: u64,
    pub(crate) lost: Vec<Lost>,
    /// Shapes that the damaged database counted, and of which nothing was found.
    pub(crate) vanished: u64,
}

/// How far the order is taken to have come beyond the last place that was found, if the row that says it is
/// damaged: places are never given twice, and mutations that left no row have theirs, too.
const GAP: u64 = 1 << 32;

/// Makes a database at `to` of all that is sound in the one at `from`.
pub(crate) fn carry(
    from: &Path,
    to: &Path,
    settings: &Settings,
    known: &TrustedState<'_>,
    epoch: Option<u64>,
) -> Result<Carried> {
    let image = btree::open(from)?;
    let found = Found::in_image(&image);
    let doing = "write what was saved";
    let settings = Settings { path: Some(to.to_owned()), ..settings.clone() };
    let mut connection = settings.create().map_err(failed(doing))?;
    // It counts only when it is complete, so there is nothing to roll back.
    set(&connection, "page_size", settings.options.page_size_of_new()).map_err(failed(doing))?;
    set(&connection, "journal_mode", "OFF").map_err(failed(doing))?;
    set(&connection, "synchronous", "FULL").map_err(failed(doing))?;
    migrate::migrate(&mut connection, migrate::STEPS)?;
    index::ensure(&mut connection, settings.options.disk_indexes)?;

    let transaction = connection.transaction().map_err(failed(doing))?;
    let carried =
        Carrying { image: &image, found: &found, known, epoch, settings: &settings }.run(&transaction)?;
    image.finish(from)?;
    transaction.commit().map_err(failed(doing))?;
    settings::set_journal_mode(&connection, settings.options.mode)?;
    connection.close().map_err(|(_, error)| failed(doing)(error))?;
    Ok(carried)
}

struct Carrying<'a> {
    image: &'a Image,
    found: &'a Found,
    known: &'a TrustedState<'a>,
    /// Whose turn it is, if that is known.
    epoch: Option<u64>,
    settings: &'a Settings,
}

impl Carrying<'_> {
    fn run(&self, connection: &Connection) -> Result<Carried> {
        let newest = self.newest();
        let empty = Meta { last_seq: Seq::ZERO, counts: Counts::default(), epoch: 0 };
        let mut writing = BatchWriter::new(connection, self.settings.options.disk_indexes, &empty)?;
        let (mut shapes, mut definitions) = (Reader::new(self.image), Reader::new(self.image));
        let (mut saved, mut lost) = (HashSet::new(), Vec::new());
        let mut last = Seq::ZERO;
        for (id, shape, definition) in self.candidates() {
            let created = Seq::new(id.cast_unsigned());
            let entry = self.entry(&mut shapes, id, shape);
            let handle = entry.as_ref().ok().map(|entry| entry.handle().clone());
            match entry.and_then(|entry| self.record(&mut definitions, &newest, entry, definition)) {
                Ok(record) => {
                    let state = record.entry.state();
                    saved.insert(prefix_hash::handle(record.handle()));
                    writing.apply(&Change::Add { record: Arc::new(record), state })?;
                    last = created;
                }
                Err(why) => lost.push(Lost { created, handle, why }),
            }
        }
        let (counts, _) = writing.finish()?;

        // The stored data of what is lost can go; but not that of a shape which has the handle now.
        let gone = lost.iter().filter_map(|one| one.handle.as_ref());
        for handle in self.found.to_clean.iter().chain(gone) {
            if !saved.contains(&prefix_hash::handle(handle)) {
                to_clean::insert(connection, handle)?;
            }
        }

        let before = self.found.meta;
        let last_seq = match (self.known.last_seq, before) {
            (Some(known), _) => known,
            (None, Some(meta)) => meta.last_seq.max(last),
            (None, None) => Seq::new(self.found.highest.cast_unsigned() + GAP),
        };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let epoch = self.epoch.or(before.map(|meta| meta.epoch)).unwrap_or(since_1970);
        Meta { last_seq, counts, epoch }.write(connection)?;
        self.carry_the_rest(connection, last_seq)?;
        let before = match self.known.entries {
            Some(entries) => entries.len() as u64,
            None => before.map_or(0, |meta| meta.counts.total),
        };
        let vanished = before.saturating_sub(counts.total + lost.len() as u64);
        Ok(Carried { saved: counts.total, lost, vanished })
    }

    /// Every shape of which there is something, in the order of creation.
    fn candidates(&self) -> Vec<(i64, Option<Place>, Option<Place>)> {
        let mut all = BTreeMap::new();
        for (id, place) in &self.found.shapes {
            all.entry(*id).or_insert((None, None)).0 = Some(*place);
        }
        for (id, place) in &self.found.definitions {
            all.entry(*id).or_insert((None, None)).1 = Some(*place);
        }
        if let Some(entries) = self.known.entries {
            // What memory does not know was removed, or was never acknowledged.
            all.retain(|id, _| self.known.entry(Seq::new(id.cast_unsigned())).is_some());
            for entry in entries {
                all.entry(entry.created().get().cast_signed()).or_default();
            }
        }
        all.into_iter().map(|(id, (shape, definition))| (id, shape, definition)).collect()
    }

    /// What memory knows counts more than what the file says.
    fn entry(&self, shapes: &mut Reader<'_>, id: i64, place: Option<Place>) -> Result<Entry, Defect> {
        if let Some(entry) = self.known.entry(Seq::new(id.cast_unsigned())) {
            let (handle, relations) = (entry.handle().clone(), entry.relations().to_vec().into());
            let (key, hash) = (*entry.key(), entry.hash());
            let copy = Entry::new(entry.created(), handle, key, hash, relations, entry.is_indexed());
            return Ok(copy.with_state(entry.state(), entry.last_read()));
        }
        shapes.shape(id, place.ok_or("its row is gone, and only its definition was found")?)
    }

    fn record(
        &self,
        definitions: &mut Reader<'_>,
        newest: &Newest,
        entry: Entry,
        place: Option<Place>,
    ) -> Result<Record, Defect> {
        if !newest.has(&entry) {
            return Err(SUPERSEDED.into());
        }
        let id = entry.created().get().cast_signed();
        let place = place.ok_or("its definition is gone")?;
        let record = definitions.definition(id, place, |row| row.record(Arc::new(entry)))?;
        match &self.settings.options.verifier {
            Some(verifier) if !verifier.accepts(&record) => {
                Err("its definition does not pass the verifier".into())
            }
            _ => Ok(record),
        }
    }

    /// Who has a handle or a key if two rows say that they have it: where the list of free pages is damaged too,
    /// rows of removed shapes may look alive.
    fn newest(&self) -> Newest {
        let mut newest = Newest::default();
        let mut shapes = Reader::new(self.image);
        for (id, place, _) in self.candidates() {
            if let Ok(entry) = self.entry(&mut shapes, id, place) {
                newest.handles.insert(prefix_hash::handle(entry.handle()), id);
                newest.keys.insert(prefix_hash::key(entry.key()), id);
            }
        }
        newest
    }

    /// Last reads of shapes that were saved, when those that nobody has read were found, and the beginning of a log of
    /// changes.
    fn carry_the_rest(&self, connection: &Connection, last_seq: Seq) -> Result<()> {
        let doing = "write what was saved";
        let has = |table| {
            let sql = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?1";
            connection.query_row(sql, [table], |row| row.get::<_, bool>(0)).map_err(failed(doing))
        };
        if has("last_read")? {
            let sql = "INSERT INTO last_read (id, at) SELECT id, ?2 FROM shape WHERE id = ?1";
            let mut insert = connection.prepare(sql).map_err(failed(doing))?;
            let mut reads: Vec<_> = self.found.last_reads.iter().filter(|(_, at)| **at > 0).collect();
            reads.sort_unstable();
            for (id, at) in reads {
                insert.execute([id, at]).map_err(failed(doing))?;
            }
        }
        if has("opening")? {
            let mut insert = connection
                .prepare("INSERT INTO opening (through, at) VALUES (?1, ?2)")
                .map_err(failed(doing))?;
            // They go up together. One that does not is damaged, and later ones count for what it was to say.
            let mut latest = 0;
            for (through, at) in self.found.openings.iter().filter(|(through, at)| **through > 0 && **at > 0)
            {
                if *at >= latest && *through <= last_seq.get().cast_signed() {
                    insert.execute([through, at]).map_err(failed(doing))?;
                    latest = *at;
                }
            }
        }
        if has("change_log")? {
            // Whoever follows has to load everything: nothing is known of what came before.
            let last = last_seq.get().cast_signed();
            connection.execute("UPDATE change_log SET through = ?1", [last]).map_err(failed(doing))?;
        }
        Ok(())
    }
}

const SUPERSEDED: &str = "a newer shape has its handle or its key";

/// Narrow handles and keys, and the newest shape that has each.
#[derive(Default)]
struct Newest {
    handles: HashMap<i64, i64>,
    keys: HashMap<i64, i64>,
}

impl Newest {
    fn has(&self, entry: &Entry) -> bool {
        let id = entry.created().get().cast_signed();
        self.handles.get(&prefix_hash::handle(entry.handle())) == Some(&id)
            && self.keys.get(&prefix_hash::key(entry.key())) == Some(&id)
    }
}
