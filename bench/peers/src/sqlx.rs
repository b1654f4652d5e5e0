//! Maps over PostgreSQL: each add is an `INSERT`, and then visible in the maps.

use std::path::Path;

use futures_util::TryStreamExt;
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Schema, Store};
use sqlx_core::{query::query, query_scalar::query_scalar, row::Row};
use sqlx_postgres::{PgConnectOptions, PgPool, Postgres};
use tokio::runtime::Runtime;

use crate::{Result, maps::Maps, record::COMPLETE};

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS shape (
        handle    text     PRIMARY KEY,
        key       bytea    NOT NULL UNIQUE,
        hash      bigint   NOT NULL,
        state     smallint NOT NULL,
        relations bigint[] NOT NULL,
        body      bytea    NOT NULL
    )";
const ADD: &str = "INSERT INTO shape VALUES ($1, $2, $3, $4, $5, $6)";
/// As the documentation of sqlx recommends for many rows. An array of arrays would be flattened.
const ADD_ALL: &str = "
    INSERT INTO shape SELECT handle, key, hash, $4, relations::bigint[], body
    FROM unnest($1::text[], $2::bytea[], $3::bigint[], $5::text[], $6::bytea[])
        AS new (handle, key, hash, relations, body)";
const BATCH: usize = 10_000;

/// DashMap over sqlx.
pub(crate) struct Sqlx;

impl Candidate for Sqlx {
    fn name(&self) -> &'static str {
        "DashMap over sqlx"
    }

    fn about(&self) -> &'static str {
        "three DashMaps, filled when it opens; each add is an INSERT by a pool of 10 connections, synced, and then into \
         the maps; definitions from PostgreSQL; filled in batches of 10,000 by unnest"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn is_over_postgres(&self) -> bool {
        true
    }

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Store>> {
        let schema = Schema::of(directory)?;
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(schema.port)
            .username("postgres")
            .database("postgres")
            .options([("search_path", &schema.name), ("client_min_messages", &"error".to_owned())]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (pool, maps) = runtime.block_on(async {
            let pool = PgPool::connect_with(options).await?;
            let create =
                sqlx_core::sql_str::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {}", schema.name));
            query(create).execute(&pool).await?;
            query(TABLE).execute(&pool).await?;
            let maps = load(&pool).await?;
            Ok::<_, shape_meta_bench::BoxError>((pool, maps))
        })?;
        Ok(Box::new(Open { maps, pool, runtime }))
    }
}

async fn load(pool: &PgPool) -> Result<Maps> {
    let maps = Maps::default();
    let mut rows = query::<Postgres>("SELECT handle, key, hash, state, relations FROM shape").fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let handle = Handle::new(row.try_get::<&str, _>(0)?)?;
        let key = Key::new(row.try_get::<&[u8], _>(1)?.try_into()?);
        let state = u8::try_from(row.try_get::<i16, _>(3)?)?;
        maps.load(handle.clone(), key, Facts { hash: row.try_get::<i64, _>(2)?.cast_unsigned(), state });
        for relation in row.try_get::<Vec<i64>, _>(4)? {
            maps.load_relation(u32::try_from(relation)?, handle.clone());
        }
    }
    Ok(maps)
}

struct Open {
    maps: Maps,
    pool: PgPool,
    runtime: Runtime,
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Caller(self)))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        for part in shapes.chunks(BATCH) {
            let relations = |shape: &NewShape| {
                let oids: Vec<_> = shape.relations.iter().map(|one| one.oid().to_string()).collect();
                format!("{{{}}}", oids.join(","))
            };
            let insert = query(ADD_ALL)
                .bind(part.iter().map(|shape| shape.handle.to_string()).collect::<Vec<_>>())
                .bind(part.iter().map(|shape| shape.key.as_bytes().to_vec()).collect::<Vec<_>>())
                .bind(part.iter().map(|shape| shape.hash.get().cast_signed()).collect::<Vec<_>>())
                .bind(i16::from(COMPLETE))
                .bind(part.iter().map(relations).collect::<Vec<_>>())
                .bind(part.iter().map(|shape| shape.definition.to_vec()).collect::<Vec<_>>());
            self.runtime.block_on(insert.execute(&self.pool))?;
            part.iter().for_each(|shape| self.maps.add(shape, COMPLETE));
        }
        Ok(())
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

struct Caller<'a>(&'a Open);

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        let Open { maps, pool, runtime } = self.0;
        let relations: Vec<_> = shape.relations.iter().map(|one| i64::from(one.oid())).collect();
        let insert = query(ADD)
            .bind(shape.handle.as_str())
            .bind(&shape.key.as_bytes()[..])
            .bind(shape.hash.get().cast_signed())
            .bind(0_i16)
            .bind(relations)
            .bind(&*shape.definition);
        runtime.block_on(insert.execute(pool))?;
        maps.add(&shape, 0);
        Ok(())
    }

    fn remove(&mut self, handle: &str) -> Result {
        let Open { maps, pool, runtime } = self.0;
        runtime.block_on(query("DELETE FROM shape WHERE handle = $1").bind(handle).execute(pool))?;
        maps.remove(handle)
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        Ok(self.0.maps.facts(handle))
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.0.maps.handle_for(key))
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let read = query_scalar("SELECT body FROM shape WHERE handle = $1").bind(handle);
        let body: Option<Vec<u8>> = self.0.runtime.block_on(read.fetch_optional(&self.0.pool))?;
        Ok(body.map(|body| body.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        Ok(self.0.maps.handles_for_relations(relations))
    }
}
