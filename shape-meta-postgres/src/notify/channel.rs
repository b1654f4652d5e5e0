use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use shape_meta_core::{Seq, store_parts::checksum};
use tokio::sync::Notify;

use crate::config::SchemaName;

/// The channel of the stacks of one schema. Its name fits into the limit of the server, whatever the schema
/// is called.
#[derive(Clone, Debug)]
pub(crate) struct Channel(String);

impl Channel {
    pub(crate) fn of(schema: &SchemaName) -> Self {
        Self(format!("shape_meta_{:016x}", checksum::of(Seq::ZERO, schema.as_str().as_bytes())))
    }

    pub(crate) fn listen(&self) -> String {
        format!("LISTEN {}", self.0)
    }

    /// Returns the statements that announce the last sequence numbers of stacks; `None` for one whose owner
    /// has released it. They do not wait for a disk.
    pub(crate) fn notification(&self, stacks: &[(i64, Option<Seq>)]) -> String {
        let mut statements = "BEGIN; SET LOCAL synchronous_commit = off; ".to_owned();
        for (stack, seq) in stacks {
            let seq = seq.map_or(String::new(), |seq| format!(" {seq}"));
            let _ = write!(statements, "NOTIFY {}, '{stack}{seq}'; ", self.0);
        }
        statements + "COMMIT"
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

/// What was announced on a channel since the last look. It is bounded by the number of stacks.
#[derive(Debug, Default)]
pub(crate) struct News {
    stacks: Mutex<HashMap<i64, Option<Seq>>>,
    pub(crate) arrived: Notify,
}

impl News {
    /// Records a notification. One that cannot be read is of another program.
    pub(crate) fn record(&self, payload: &str) {
        let (stack, seq) = payload.split_once(' ').map_or((payload, None), |(stack, seq)| (stack, Some(seq)));
        let Ok(stack) = stack.parse() else { return };
        let seq = seq.and_then(|seq| seq.parse().ok()).map(Seq::new);
        self.add(stack, seq);
    }

    pub(crate) fn add(&self, stack: i64, seq: Option<Seq>) {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner).insert(stack, seq);
        self.arrived.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<(i64, Option<Seq>)> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_notification_of_each_stack_is_kept() {
        let news = News::default();
        for payload in ["7 1", "8 5", "7 3", "9", "x", "", "7x 4"] {
            news.record(payload);
        }
        let mut taken = news.take();
        taken.sort_unstable();
        assert_eq!(taken, [(7, Some(Seq::new(3))), (8, Some(Seq::new(5))), (9, None)]);
        assert!(news.take().is_empty());
    }
}
