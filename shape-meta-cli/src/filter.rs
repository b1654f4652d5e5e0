use shape_meta_core::{Definition, Relation, ScanItem, Shape, SnapshotState, Timestamp};

use crate::args::{Filter, State};

impl Filter {
    /// Whether a shape is wanted.
    pub(crate) fn wants(&self, listed: &ScanItem, now: Timestamp) -> bool {
        let entry = &listed.record.entry;
        let state = match self.state {
            None => true,
            Some(State::Pending) => listed.metadata.state == SnapshotState::Pending,
            Some(State::Started) => listed.metadata.state == SnapshotState::Started,
            Some(State::Complete) => listed.metadata.state == SnapshotState::Complete,
        };
        let relation =
            self.relation.is_none_or(|oid| entry.relations().binary_search(&Relation::new(oid)).is_ok());
        let unread = self
            .unread_for
            .is_none_or(|age| listed.metadata.last_read.is_none_or(|at| at.age_at(now) >= age));
        let table = self.table.as_ref().is_none_or(|wanted| {
            Shape::decode(&listed.record.definition)
                .is_ok_and(|shape| format!("{}.{}", shape.table.schema, shape.table.name) == *wanted)
        });
        state && relation && unread && table
    }
}
