//! A node of a service on several machines, over one stack in PostgreSQL: `docs/many-machines.md` starts two.
//!
//! `cargo run --features shape,postgres --example two_nodes -- NAME postgres://user:password@host/database`
//!
//! Each node is a standby until the stack has no live owner, and then one of them takes it over. The owner
//! adds a shape now and then; the standbys show it. Kill the owner, and look at the other one.

use std::{env, error::Error, process, sync::mpsc, thread, time::Duration};

use shape_meta::{
    BufferOptions, Builder, CacheOptions, ErrorKind, NoopCleaner, PoolOptions, PostgresPool, Seq, Shape,
    Standby, TableName, prelude::*,
};

const STACK: &str = "two-nodes";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(name), Some(url)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: two_nodes NAME postgres://user:password@host/database");
        process::exit(2);
    };
    // The name stands for the address at which other nodes reach this one.
    let pool = PostgresPool::new(PoolOptions::parse(&url)?.lease(Duration::from_secs(3)).address(&*name))?;

    let standby = match builder().open_postgres_standby(&pool, STACK) {
        Ok(standby) => standby,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The first node creates the stack, and continues as every other one.
            match builder().open_postgres(&pool, STACK) {
                Ok(store) => drop(store.close(Duration::from_secs(10))),
                // Another node was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyOpen => {}
                Err(error) => return Err(error.into()),
            }
            builder().open_postgres_standby(&pool, STACK)?
        }
        Err(error) => return Err(error.into()),
    };
    standby.promote_when_free();

    // In a service, requests are served here. This loop ends when the standard input does.
    let (sender, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(sender);
    });
    for number in 0.. {
        match standby.store() {
            Some(store) => report_as_owner(&name, &store, number),
            None => report_as_standby(&name, &standby),
        }
        if ended.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Disconnected) {
            break;
        }
    }
    // The stack is free at once for the other node.
    if let Some(store) = standby.store() {
        store.close(Duration::from_secs(10));
    }
    Ok(())
}

fn builder() -> Builder {
    ShapeMeta::builder(NoopCleaner).cached(CacheOptions::default()).buffered(BufferOptions::default())
}

/// Adds a shape, as a client would that asks for one.
fn report_as_owner(name: &str, store: &ShapeMeta, number: u32) {
    match add(store, &format!("table_{}_{number}", process::id())) {
        Ok(seq) => println!("{name}: owner, accepted mutation {seq}; {} shapes", count(store)),
        Err(error) => println!("{name}: owner, and refused a mutation: {error}"),
    }
}

fn add(store: &ShapeMeta, table: &str) -> Result<Seq, Box<dyn Error>> {
    let definition = Shape::new(TableName::new("public", table), Relation::new(16_501));
    let wait = Wait::UpTo(Duration::from_secs(1));
    store.add(NewShape::of(Handle::new(table)?, &definition), wait)?;
    Ok(store.mark_snapshot_complete(table, wait)?.seq())
}

fn report_as_standby(name: &str, standby: &Standby) {
    let owner = match standby.owner() {
        Ok(Some(owner)) => format!("the owner is {} (epoch {})", owner.address, owner.epoch),
        Ok(None) => "no process owns the stack".to_owned(),
        Err(error) => error.to_string(),
    };
    println!("{name}: standby, {} shapes; {owner}", count(standby));
}

fn count(store: &impl ReadShapes) -> String {
    store.counts().map_or_else(|error| error.to_string(), |counts| counts.total.to_string())
}
