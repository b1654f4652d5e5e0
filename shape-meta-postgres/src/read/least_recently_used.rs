use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

use shape_meta_core::{
    Handle, HandleSet, LeastRecentlyUsed, Result, Seq, Timestamp,
    store_parts::{LastReadSnapshot, Openings, RemovedTimes},
};

use crate::{PostgresStore, connection::operation::Operation, format::row, read::snapshot::Snapshot};

/// The number of handles that one query reads. It doubles, up to the second one.
const PAGE: usize = 64;
const LARGEST_PAGE: usize = 4_096;

/// Returns the `n` least recently used shapes that are not excluded. Costs a pass over the times in memory,
/// and a read of as many rows as are examined.
///
/// Merges two lists in the order of time: the shapes with reads, and the shapes without, in the order of
/// creation: a shape that was created later was first seen by the same or a later opening.
pub(super) fn least_recently_used(
    store: &PostgresStore,
    removed: &RemovedTimes,
    n: usize,
    excluded: &HandleSet,
) -> Result<LeastRecentlyUsed> {
    let mut snapshot =
        Snapshot::begin(store, Operation::LeastRecentlyUsed, "read the least recently used shapes")?;
    // A copy, so that no lock is held while the database is read (I5).
    let LastReadSnapshot { at_open, since } = store.recency.snapshot(removed);
    // A time in the future counts as now: the clock was set back since.
    let now = Timestamp::now();
    let by_time = since.iter().map(|(id, at)| Reverse(((*at).min(now), *id))).collect();
    let mut with_reads = WithReads { by_time, page: VecDeque::new(), size: PAGE, gone: Vec::new() };
    let mut without =
        Without { at_open: &at_open, since: &since, page: VecDeque::new(), after: 0, size: PAGE, now };
    let mut shapes = Vec::new();
    while shapes.len() < n {
        let first = with_reads.peek(store, &mut snapshot)?;
        let second = without.peek(store, &mut snapshot)?;
        let next = match (first, second) {
            (None, None) => break,
            (Some(_), None) => with_reads.page.pop_front(),
            (None, Some(_)) => without.page.pop_front(),
            (Some(one), Some(other)) if one < other => with_reads.page.pop_front(),
            (Some(_), Some(_)) => without.page.pop_front(),
        };
        if let Some((at, _, handle)) = next
            && !excluded.contains(&handle)
        {
            shapes.push((handle, at));
        }
    }
    store.recency.remove(&with_reads.gone);
    Ok(LeastRecentlyUsed { shapes })
}

type Candidate = (Timestamp, Seq, Handle);

/// Shapes with reads, the least recently used first.
struct WithReads {
    /// Those whose handle is not read yet, the least recently used on top.
    by_time: BinaryHeap<Reverse<(Timestamp, Seq)>>,
    page: VecDeque<Candidate>,
    size: usize,
    /// Shapes with a last-read time that are not live any more.
    gone: Vec<Seq>,
}

impl WithReads {
    fn peek(
        &mut self,
        store: &PostgresStore,
        snapshot: &mut Snapshot<'_>,
    ) -> Result<Option<(Timestamp, Seq)>> {
        while self.page.is_empty() && !self.by_time.is_empty() {
            let next: Vec<_> =
                std::iter::from_fn(|| self.by_time.pop()).take(self.size).map(|Reverse(next)| next).collect();
            self.size = (self.size * 2).min(LARGEST_PAGE);
            let ids: Vec<_> = next.iter().map(|(_, id)| id.get().cast_signed()).collect();
            let params = vec![Box::new(snapshot.row.id) as _, Box::new(ids) as _];
            let rows = snapshot.query(&store.stack.statements.handles_of, params)?;
            let mut handles = HashMap::with_capacity(rows.len());
            for found in &rows {
                let id = row::int8(found, 0)?;
                handles.insert(row::seq(id), row::handle(found, 1, || row::shape_row(id))?);
            }
            for (at, id) in next {
                match handles.remove(&id) {
                    Some(handle) => self.page.push_back((at, id, handle)),
                    // Committed after the snapshot: the layer above shows it.
                    None if id > snapshot.row.last_seq => {}
                    None => self.gone.push(id),
                }
            }
        }
        Ok(self.page.front().map(|(at, id, _)| (*at, *id)))
    }
}

/// Shapes without reads that an opening has found, in the order of creation.
struct Without<'a> {
    at_open: &'a Openings,
    since: &'a HashMap<Seq, Timestamp>,
    page: VecDeque<Candidate>,
    after: i64,
    size: usize,
    now: Timestamp,
}

impl Without<'_> {
    fn peek(
        &mut self,
        store: &PostgresStore,
        snapshot: &mut Snapshot<'_>,
    ) -> Result<Option<(Timestamp, Seq)>> {
        let through = self.at_open.through().get().cast_signed();
        while self.page.is_empty() && self.after < through {
            let limit = self.size as i64;
            self.size = (self.size * 2).min(LARGEST_PAGE);
            let params = vec![
                Box::new(snapshot.row.id) as _,
                Box::new(self.after) as _,
                Box::new(through) as _,
                Box::new(limit) as _,
            ];
            let rows = snapshot.query(&store.stack.statements.handles_after, params)?;
            if (rows.len() as i64) < limit {
                self.after = through;
            }
            for found in &rows {
                let number = row::int8(found, 0)?;
                let id = row::seq(number);
                self.after = self.after.max(number);
                if let (Some(at), false) = (self.at_open.last_read(id), self.since.contains_key(&id)) {
                    let handle = row::handle(found, 1, || row::shape_row(number))?;
                    self.page.push_back((at.min(self.now), id, handle));
                }
            }
        }
        Ok(self.page.front().map(|(at, id, _)| (*at, *id)))
    }
}
