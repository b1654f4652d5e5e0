use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use shape_meta_core::Result;

use crate::{
    PostgresPool,
    config::SchemaName,
    connection::{client::Client, jitter, pool::Connections},
    format::{row, statements::Statements},
    notify::{Channel, News, Owned, Subscription},
};

const DOING: &str = "look for changes";
/// The longest delay between two attempts to connect.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// The listeners of a pool: one for each schema.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<HashMap<Arc<str>, Arc<Listener>>>);

impl Listeners {
    /// Follows a stack from now on.
    pub(crate) fn follow(
        &self,
        pool: &PostgresPool,
        schema: &SchemaName,
        subscription: &Arc<Subscription>,
    ) -> Result<()> {
        let listener = {
            let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let listener = listeners.entry(schema.as_str().into());
            Arc::clone(listener.or_insert_with(|| Arc::new(Listener::new(schema))))
        };
        if listener.add(subscription) {
            let connections = Arc::clone(pool.connections());
            pool.runtime().spawn(async move { listener.run(connections).await })?;
        }
        Ok(())
    }
}

/// A task that looks for changes of the stacks that standbys of this pool follow, on a connection of its own.
#[derive(Debug)]
struct Listener {
    channel: Channel,
    statements: Statements,
    news: Arc<News>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: Vec<Weak<Subscription>>,
    is_running: bool,
}

impl Listener {
    fn new(schema: &SchemaName) -> Self {
        Self {
            channel: Channel::of(schema),
            statements: Statements::of(schema),
            news: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// Adds a subscription. Returns whether the task is to be started.
    fn add(&self, subscription: &Arc<Subscription>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.subscriptions.push(Arc::downgrade(subscription));
        self.news.arrived.notify_one();
        !std::mem::replace(&mut state.is_running, true)
    }

    /// Returns the subscriptions that have not ended. Ends the task if there is none.
    fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::with_capacity(state.subscriptions.len());
        state.subscriptions.retain(|subscription| match subscription.upgrade() {
            Some(subscription) if !subscription.has_ended.load(Ordering::Acquire) => {
                all.push(subscription);
                true
            }
            _ => false,
        });
        state.is_running = !all.is_empty();
        all
    }

    async fn run(&self, connections: Arc<Connections>) {
        let interval = connections.options().poll_interval;
        let (mut client, mut failures, mut next_poll) = (None, 0_u32, Instant::now());
        let mut known = 0;
        loop {
            let all = self.subscriptions();
            if all.is_empty() {
                return;
            }
            // A new standby may have opened before something was announced.
            let is_due = Instant::now() >= next_poll || all.len() > known;
            known = all.len();
            if is_due {
                let delay = match self.poll(&connections, &mut client, &all).await {
                    Ok(end_of_lease) => {
                        failures = 0;
                        jitter(interval).min(end_of_lease)
                    }
                    Err(_) => {
                        client = None;
                        failures = failures.saturating_add(1);
                        let delay = Duration::from_millis(20).saturating_mul(1 << failures.min(6));
                        jitter(delay.min(LONGEST_BACKOFF))
                    }
                };
                next_poll = Instant::now() + delay;
            }
            for (stack, seq) in self.news.take() {
                for subscription in all.iter().filter(|subscription| subscription.stack == stack) {
                    subscription.wake(if seq.is_some() { Owned::Yes } else { Owned::No });
                }
            }
            drop(all);
            let until = tokio::time::Instant::from_std(next_poll);
            let _ = tokio::time::timeout_at(until, self.news.arrived.notified()).await;
        }
    }

    /// Looks at all stacks in one statement. Returns when the first of the leases ends.
    async fn poll(
        &self,
        connections: &Arc<Connections>,
        client: &mut Option<Client>,
        all: &[Arc<Subscription>],
    ) -> Result<Duration> {
        let client = match client {
            Some(client) if client.is_reusable() => client,
            _ => {
                let limit = connections.options().statement_timeout.min(Duration::from_secs(5));
                let mut opened = connections.open_for(limit).await?;
                opened.deliver(self.channel.clone(), Arc::clone(&self.news));
                // A standby server has no notifications, and a connection that refuses them can still poll.
                let _ = opened.execute_all("listen", &self.channel.listen()).await;
                client.insert(opened)
            }
        };
        let stacks: Vec<i64> = all.iter().map(|subscription| subscription.stack).collect();
        let rows = client.query(DOING, &self.statements.look_at_stacks, &[&stacks]).await?;
        let mut end_of_lease = Duration::MAX;
        for found in &rows {
            let (stack, epoch) = (row::int8(found, 0)?, row::int8(found, 1)?);
            let last_seq = row::seq(row::int8(found, 2)?);
            let remaining = row::optional_float8(found, 3)?.unwrap_or_default();
            let remaining = Duration::try_from_secs_f64(remaining).unwrap_or_default();
            let owned = if remaining.is_zero() { Owned::No } else { Owned::Yes };
            if owned == Owned::Yes {
                end_of_lease = end_of_lease.min(remaining + Duration::from_millis(1));
            }
            for subscription in all.iter().filter(|subscription| subscription.stack == stack) {
                subscription.look(epoch, last_seq, owned);
            }
        }
        Ok(end_of_lease)
    }
}
