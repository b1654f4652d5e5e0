//! The task that renews the lease of a pool and announces its commits, for all its stacks at once, on a
//! connection of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{ErrorKind, Result, store_parts::Identity};
use tokio_postgres::types::ToSql;

use crate::{
    connection::{
        client::{Client, CommitError},
        jitter,
        pool::Connections,
    },
    format::row,
    lease::Member,
};

const DOING: &str = "renew the lease";
/// The shortest time that a renewal may take before it is given up.
const SHORTEST: Duration = Duration::from_secs(1);

/// Renews the lease, and announces commits, until no stack is open.
pub(crate) async fn keep(member: Arc<Member>, connections: Arc<Connections>) {
    let mut client = None;
    // Two renewals may fail before the lease ends.
    let (interval, limit) = (member.length / 3, (member.length / 3).max(SHORTEST));
    let (mut failures, mut due) = (0_u32, Instant::now());
    while !member.end_keeper() {
        if Instant::now() >= due {
            let renewed = tokio::time::timeout(limit, renew(&member, &connections, &mut client)).await;
            let delay = if let Ok(Ok(())) = renewed {
                failures = 0;
                interval
            } else {
                client = None;
                failures = failures.saturating_add(1);
                // A retry must not wait for the next renewal, nor overrun a server that restarts.
                let longest = interval.min(Duration::from_secs(1));
                jitter(Duration::from_millis(20).saturating_mul(1 << failures.min(6)).min(longest))
            };
            due = Instant::now() + delay;
        }
        announce(&member, &mut client, limit).await;
        let until = tokio::time::Instant::from_std(due);
        let _ = tokio::time::timeout_at(until, member.news.arrived.notified()).await;
    }
    if let Some(mut client) = client {
        // If it fails, the lease runs out.
        let _ = tokio::time::timeout(limit, end(&member, &mut client)).await;
    }
}

/// Ends the lease, unless another opening of this process has begun it anew.
async fn end(member: &Member, client: &mut Client) -> Result<()> {
    let doing = "end the lease";
    let id = member.id;
    let params: [&(dyn ToSql + Sync); 1] = [&id.as_bytes()];
    client.begin(doing, "BEGIN").await?;
    client.query_opt(doing, &member.statements.lock_lease, &params).await?;
    client.execute(doing, &member.statements.end_lease, &params).await?;
    client.commit(doing).await.map_err(CommitError::into_error)
}

/// Sends what is to be announced. What is lost with the connection is found by polling.
async fn announce(member: &Member, client: &mut Option<Client>, limit: Duration) {
    let news = member.news.take();
    if news.is_empty() {
        return;
    }
    if let Some(open) = client {
        let notification = member.channel.notification(&news);
        let sent = open.execute_all("announce commits", &notification);
        if !matches!(tokio::time::timeout(limit, sent).await, Ok(Ok(()))) {
            *client = None;
        }
    }
}

async fn renew(member: &Member, connections: &Arc<Connections>, client: &mut Option<Client>) -> Result<()> {
    let client = match client {
        Some(client) if client.is_reusable() => client,
        _ => client.insert(connections.open_for(member.length / 3).await?),
    };
    let length = member.length.as_secs_f64();
    // What is opened while the statement runs may not be in its answer.
    let (openings, requested) = (member.openings(), Instant::now());
    let found =
        client.query_opt(DOING, &member.statements.renew_lease, &[&member.id.as_bytes(), &length]).await?;
    let (renewed, owned) = match &found {
        Some(found) => (row::int8(found, 0)?, row::int8(found, 1)?),
        None => (0, 0),
    };
    if renewed > 0 && owned >= openings.len() as i64 {
        member.extended(requested);
        return Ok(());
    }
    // The lease has run out, or a stack was taken over by force.
    begin_anew(member, client, &openings).await
}

async fn begin_anew(member: &Member, client: &mut Client, openings: &[Identity]) -> Result<()> {
    client.begin(DOING, "BEGIN").await?;
    let begun = async {
        // The stacks first and then the process, as an opening locks them.
        let locked = member.locked();
        let excluded: Vec<_> = locked.iter().map(Identity::as_bytes).collect();
        let params: [&(dyn ToSql + Sync); 2] = [&member.id.as_bytes(), &excluded];
        let owned = client.query(DOING, &member.statements.owned_openings, &params).await?;
        let mut owned = owned
            .iter()
            .filter_map(|found| row::bytes(found, 0).map(Identity::from_bytes).transpose())
            .collect::<Result<Vec<_>>>()?;
        owned.extend(locked);
        let requested = member.begin_lease(client, DOING).await?;
        Ok::<_, shape_meta_core::Error>((requested, owned))
    };
    match begun.await {
        Ok((requested, owned)) => {
            client.commit(DOING).await.map_err(CommitError::into_error)?;
            // First what is lost, so that nothing is acknowledged for it by the new lease.
            member.retain(&owned, openings);
            member.extended(requested);
            Ok(())
        }
        Err(error) => {
            client.roll_back().await;
            // The tables were dropped: nothing is ours.
            if error.kind() == ErrorKind::Corrupt {
                member.retain(&[], openings);
            }
            Err(error)
        }
    }
}
