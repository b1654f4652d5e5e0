//! The limit of a durable add over PostgreSQL: a bare `COPY` in binary into the same tables, in batches. The
//! limit of a read of a definition: a bare prepared statement by id.

use std::{
    path::Path,
    pin::pin,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::SinkExt;
use shape_meta::NewShape;
use tokio::runtime::Runtime;
use tokio_postgres::{CopyInSink, NoTls, Statement};

use super::{
    composition::POSTGRES,
    interface::{Candidate, Client, Kind, Store, unsupported},
    server::Schema,
};
use crate::{data::sample, error::Result};

/// About the size of a flush under load.
const BATCH: usize = 50_000;
/// The size of what is sent at once, as the store sends it.
const CHUNK: usize = 256 << 10;
/// The number of the first stack of a schema.
const STACK: i64 = 1;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// PostgreSQL without shape-meta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BarePostgres {
    name: &'static str,
    about: &'static str,
    has_thread: bool,
}

/// The limit: with the kind of connection that a program with a runtime has.
pub(crate) const BARE: BarePostgres = BarePostgres {
    name: "bare PostgreSQL",
    about: "COPY BINARY into the same tables, batches of 50,000, and prepared statements; the connection is a task of a \
            runtime with a thread of its own",
    has_thread: true,
};

/// What a round trip costs where no thread has to wake another one.
pub(crate) const SAME_THREAD: BarePostgres = BarePostgres {
    name: "bare PostgreSQL on one thread",
    about: "the same, with a connection that the waiting thread drives itself",
    has_thread: false,
};

impl Candidate for BarePostgres {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn kind(&self) -> Kind {
        Kind::Limit
    }

    fn is_over_postgres(&self) -> bool {
        true
    }

    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Store>> {
        if Schema::known(directory)?.is_none() {
            // The store creates the tables, so they are the same.
            drop(POSTGRES.open(directory, expected)?);
        }
        let schema = Schema::of(directory)?;
        let writer = (Session::connect(&schema, self.has_thread)?, 0).into();
        Ok(Box::new(Open { writer, schema, has_thread: self.has_thread }))
    }
}

/// A connection, and what drives it.
struct Session {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    fn connect(schema: &Schema, has_thread: bool) -> Result<Self> {
        let mut runtime = match has_thread {
            true => tokio::runtime::Builder::new_multi_thread(),
            false => tokio::runtime::Builder::new_current_thread(),
        };
        let runtime = runtime.worker_threads(1).enable_io().build()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&schema.connection(), NoTls).await?;
            drop(tokio::spawn(connection));
            client.batch_execute(&format!("SET search_path = {}", schema.name)).await?;
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Self { runtime, client })
    }
}

struct Open {
    /// With the last id.
    writer: Mutex<(Session, i64)>,
    schema: Schema,
    has_thread: bool,
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        let session = Session::connect(&self.schema, self.has_thread)?;
        let definition = "SELECT body FROM definition WHERE stack = $1 AND id = $2";
        let definition = session.runtime.block_on(session.client.prepare(definition))?;
        Ok(Box::new(Reader { session, definition }))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (session, last) = &mut *writer;
        for part in shapes.chunks(BATCH) {
            session.runtime.block_on(insert(&session.client, part, *last))?;
            *last += part.len() as i64;
        }
        Ok(())
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

async fn insert(client: &tokio_postgres::Client, shapes: &[NewShape], last: i64) -> Result {
    client.batch_execute("BEGIN").await?;
    copy(client, "COPY shape FROM STDIN (FORMAT binary)", shapes, last, |new, stack, id, into| {
        let relations: Vec<u8> = new.relations.iter().flat_map(|one| one.oid().to_le_bytes()).collect();
        let (hash, state) = (new.hash.get().to_be_bytes(), 3_i16.to_be_bytes());
        let (handle, key) = (new.handle.as_bytes(), new.key.as_bytes());
        // The checksum and the time of creation are columns like any other.
        row(into, &[stack, id, handle, key, &hash, &state, &[new.indexed.into()], &relations, id, id]);
    })
    .await?;
    copy(client, "COPY definition FROM STDIN (FORMAT binary)", shapes, last, |new, stack, id, into| {
        row(into, &[stack, id, &[], &new.definition, id]);
    })
    .await?;
    Ok(client.batch_execute("COMMIT").await?)
}

async fn copy(
    client: &tokio_postgres::Client,
    statement: &str,
    shapes: &[NewShape],
    last: i64,
    encode: impl Fn(&NewShape, &[u8], &[u8], &mut Vec<u8>),
) -> Result {
    let sink: CopyInSink<Bytes> = client.copy_in(statement).await?;
    let mut sink = pin!(sink);
    let mut chunk = HEADER.to_vec();
    for (new, id) in shapes.iter().zip(last + 1..) {
        encode(new, &STACK.to_be_bytes(), &id.to_be_bytes(), &mut chunk);
        if chunk.len() >= CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 8));
            sink.send(full.into()).await?;
        }
    }
    chunk.extend_from_slice(TRAILER);
    sink.send(chunk.into()).await?;
    sink.finish().await?;
    Ok(())
}

fn row(into: &mut Vec<u8>, columns: &[&[u8]]) {
    into.extend_from_slice(&(columns.len() as i16).to_be_bytes());
    for column in columns {
        into.extend_from_slice(&(column.len() as i32).to_be_bytes());
        into.extend_from_slice(column);
    }
}

/// Computes the id of a handle: it is the sequence number of the add, and a filled database has an add and a
/// mark for each shape, in the order of their numbers.
struct Reader {
    session: Session,
    definition: Statement,
}

impl Client for Reader {
    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let Some(number) = sample::number(handle) else { return unsupported() };
        let id = i64::try_from(2 * number + 1)?;
        let Session { runtime, client } = &self.session;
        let found = runtime.block_on(client.query_opt(&self.definition, &[&STACK, &id]))?;
        Ok(found.map(|row| row.try_get::<_, Vec<u8>>(0).map(|body| body.len())).transpose()?)
    }
}
