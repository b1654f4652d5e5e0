//! `GET /v1/shape` and `DELETE /v1/shape`.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::{Query as Pairs, State},
    http::StatusCode,
    response::Response,
};
use shape_meta::{
    DefinitionExt, Handle, Keyed,
    admission::{Kind, Permit},
};
use tokio::{sync::watch, time::Instant};

use super::{query::Query, respond, serve::Service, sse};
use crate::{
    definition::TableShape,
    error::{Failure, Result},
    log::{self, After, Chunk, Offset},
};

/// How long a request waits for a snapshot. Its client tries again after that.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a first request begins again because its shape was removed meanwhile.
const ATTEMPTS: usize = 5;
/// The length of the intervals that the cursor counts, in seconds.
const CURSOR_SECONDS: u64 = 20;

type Request = Pairs<Vec<(String, String)>>;

pub(super) async fn get(State(service): State<Arc<Service>>, Pairs(pairs): Request) -> Response {
    let response = match Query::parse(pairs) {
        Ok(query) => service.answer(query).await,
        Err(failure) => Err(failure),
    };
    response.unwrap_or_else(|failure| respond::failure(&failure))
}

pub(super) async fn delete(State(service): State<Arc<Service>>, Pairs(mut pairs): Request) -> Response {
    pairs.push(("offset".to_owned(), "-1".to_owned()));
    let deleted = match Query::parse(pairs) {
        Ok(query) => service.delete(&query).await,
        Err(failure) => Err(failure),
    };
    match deleted {
        Ok(()) => respond::json(StatusCode::ACCEPTED, Vec::new()),
        Err(failure) => respond::failure(&failure),
    }
}

/// The shape of a request.
pub(super) struct Resolved {
    pub(super) handle: Handle,
    definition: Arc<Keyed<TableShape>>,
    permit: Permit,
}

/// What a request gets from a log.
pub(super) enum Part {
    Chunk(Chunk),
    /// The shape was removed.
    Gone,
}

impl Service {
    async fn answer(self: Arc<Self>, query: Query) -> Result<Response> {
        for _ in 0..ATTEMPTS {
            let resolved = self.resolve(&query).await?;
            let is_first = matches!(query.after, After::Nothing | After::Now);
            if !is_first && query.handle.as_deref() != Some(&resolved.handle) {
                return Ok(respond::must_refetch(&resolved.handle));
            }
            if let Some(response) = self.respond(&query, resolved).await? {
                return Ok(response);
            }
            // The shape was removed meanwhile. The next one is another shape, so this is the last round of a
            // client that has rows.
        }
        Err(Failure::Overloaded("the shape was removed again and again".to_owned(), 1))
    }

    /// Returns the shape of a request, and adds it if there is none.
    async fn resolve(&self, query: &Query) -> Result<Resolved> {
        let mut permit = self.admission.try_acquire(Kind::Existing)?;
        self.metadata.check_serves()?;
        let table = self.tables.table(&query.table).await?;
        let definition = Arc::new(query.definition(&table)?.keyed());
        if let Some(handle) = self.metadata.find(query.handle.as_deref(), &definition)? {
            return Ok(Resolved { handle, definition, permit });
        }
        permit.switch_to(Kind::Initial)?;
        self.snapshots.is_possible()?;
        check_filter(definition.definition())?;
        let added = self.metadata.get_or_add(&definition).await?;
        // No await in between: a request that is dropped here would leave a shape without a snapshot.
        if added.added {
            self.snapshots.spawn(added.handle.clone(), Arc::clone(&definition));
        }
        Ok(Resolved { handle: added.handle, definition, permit })
    }

    /// `None` if the shape was removed meanwhile.
    async fn respond(self: &Arc<Self>, query: &Query, resolved: Resolved) -> Result<Option<Response>> {
        let Resolved { handle, definition, permit } = resolved;
        if !self.ready(&handle).await? {
            return Ok(None);
        }
        let mut changes = self.live.subscribe(&handle);
        let mut response = if query.is_live && query.is_sse {
            let Some(first) = self.first(&handle, query.after).await? else { return Ok(None) };
            sse::response(Arc::clone(self), handle.clone(), changes, first)
        } else {
            let waiting = query.is_live.then_some(permit);
            match self.part(&handle, query.after, &mut changes, waiting).await? {
                (Part::Gone, _) => return Ok(None),
                (Part::Chunk(part), last_seen) => {
                    let last_seen = last_seen.max(part.end.transaction);
                    respond::chunk(part, last_seen)
                }
            }
        };
        respond::set(&mut response, "electric-handle", &handle);
        respond::set(&mut response, "electric-schema", &definition.definition().schema());
        if query.is_live {
            respond::set(&mut response, "electric-cursor", &cursor(query.cursor).to_string());
        }
        Ok(Some(response))
    }

    /// Returns the part of a log after an offset. With a permit, waits for it to have messages, without the
    /// permit. The number is the position up to which the part is complete.
    async fn part(
        &self,
        handle: &Handle,
        after: After,
        changes: &mut watch::Receiver<u64>,
        permit: Option<Permit>,
    ) -> Result<(Part, u64)> {
        let is_live = permit.is_some();
        let mut after = after;
        let mut permit = permit;
        let deadline = Instant::now() + self.options.live_timeout();
        loop {
            changes.mark_unchanged();
            if self.metadata.is_broken(handle) {
                return Err(Failure::Unavailable("the shape is being removed".to_owned()));
            }
            if !self.metadata.is_live(handle) {
                return Ok((Part::Gone, 0));
            }
            let last_seen = self.last_seen(after);
            let Some(part) = self.read(handle, after).await? else { return Ok((Part::Gone, 0)) };
            if !is_live || !part.messages.is_empty() {
                return Ok((Part::Chunk(part), last_seen));
            }
            after = After::Offset(part.end);
            drop(permit.take());
            if !self.wait(handle, changes, deadline).await? {
                return Ok((Part::Chunk(part), last_seen));
            }
        }
    }

    /// Waits for a change of a log, or the end of its shape. Returns whether there is one in time.
    ///
    /// A standby does not notice changes, so a request waits until it is the owner.
    pub(super) async fn wait(
        &self,
        handle: &Handle,
        changes: &mut watch::Receiver<u64>,
        deadline: Instant,
    ) -> Result<bool> {
        let mut closing = self.closing.clone();
        if !self.metadata.is_owner() {
            let owned = tokio::time::timeout_at(deadline, self.metadata.promoted());
            let is_owned = tokio::select! {
                owned = owned => owned.is_ok(),
                _ = closing.wait_for(|is_closing| *is_closing) => false,
            };
            let waits = || Failure::Overloaded("another process serves live changes".to_owned(), 1);
            return is_owned.then_some(true).ok_or_else(waits);
        }
        Ok(tokio::select! {
            changed = tokio::time::timeout_at(deadline, changes.changed()) => changed.is_ok(),
            () = self.metadata.removed(handle) => true,
            _ = closing.wait_for(|is_closing| *is_closing) => false,
        })
    }

    /// Returns the position up to which the next read of a log is complete.
    pub(super) fn last_seen(&self, after: After) -> u64 {
        let known = if let After::Offset(Offset { transaction, .. }) = after { transaction } else { 0 };
        self.applied.load(Ordering::Acquire).max(known)
    }

    /// Reads a part of a log; `None` if the shape was removed.
    pub(super) async fn read(&self, handle: &Handle, after: After) -> Result<Option<Chunk>> {
        let (path, bytes) = (self.metadata.log_path(handle), self.options.chunk_bytes);
        let read = tokio::task::spawn_blocking(move || log::read(&path, after, bytes)).await;
        match read.map_err(|error| Failure::Unavailable(error.to_string()))? {
            Ok(chunk) => Ok(Some(chunk)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                // The log of a live shape is damaged or gone: it is made again.
                self.metadata.remove(handle).await;
                Ok(None)
            }
            Err(error) => Err(Failure::Unavailable(format!("the log of the shape: {error}"))),
        }
    }

    /// Resolves the offset of a stream of events: `now` becomes an offset.
    async fn first(&self, handle: &Handle, after: After) -> Result<Option<After>> {
        match after {
            After::Now => Ok(self.read(handle, after).await?.map(|chunk| After::Offset(chunk.end))),
            after => Ok(Some(after)),
        }
    }

    /// Waits for a snapshot. Returns whether the shape is still there.
    async fn ready(&self, handle: &Handle) -> Result<bool> {
        match tokio::time::timeout(SNAPSHOT_TIMEOUT, self.metadata.complete(handle)).await {
            Ok(Ok(false)) => self.live.failure(handle).map_or(Ok(false), Err),
            Ok(complete) => complete,
            Err(_) => Err(Failure::Overloaded("the snapshot is not ready yet".to_owned(), 1)),
        }
    }

    async fn delete(&self, query: &Query) -> Result<()> {
        if !self.options.allow_delete {
            return Err(Failure::NotEnabled);
        }
        self.snapshots.is_possible()?;
        let handle = match &query.handle {
            Some(handle) => Handle::new(handle).ok(),
            None => {
                let table = self.tables.table(&query.table).await?;
                self.metadata.handle_for(&query.definition(&table)?.keyed())?
            }
        };
        if let Some(handle) = handle {
            self.metadata.remove(&handle).await;
        }
        Ok(())
    }
}

fn check_filter(definition: &TableShape) -> Result<()> {
    let TableShape { shape, table } = definition;
    if let Some(sql) = &shape.filter {
        crate::filter::parse(sql, &shape.params, &table.typed_names())
            .map_err(|error| Failure::Invalid(error.to_string()))?;
    }
    Ok(())
}

/// Returns a number that differs from that of the request, and is the same for all requests of some seconds:
/// caches then collapse the requests of many clients.
fn cursor(previous: Option<u64>) -> u64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let next = seconds / CURSOR_SECONDS;
    previous.filter(|previous| *previous >= next).map_or(next, |previous| previous + 1)
}

/// The answer to requests that only ask which ones are allowed.
pub(super) async fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    respond::set(&mut response, "access-control-allow-methods", "GET, DELETE, OPTIONS");
    response
}
