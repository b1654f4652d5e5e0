use shape_meta_core::{Definition, Relation, ScanItem, Shape, SnapshotState, Timestamp};

use crate::args::{Filter, State};

impl Filter {
    /// Returns whether a shape passes every condition of the filter.
    pub(crate) fn matches(&self, item: &ScanItem, now: Timestamp) -> bool {
        let entry = &item.record.entry;
        let state = match self.state {
            None => true,
            Some(State::Pending) => item.metadata.state == SnapshotState::Pending,
            Some(State::Started) => item.metadata.state == SnapshotState::Started,
            Some(State::Complete) => item.metadata.state == SnapshotState::Complete,
        };
        let relation =
            self.relation.is_none_or(|oid| entry.relations().binary_search(&Relation::new(oid)).is_ok());
        let unread =
            self.unread_for.is_none_or(|age| item.metadata.last_read.is_none_or(|at| at.age_at(now) >= age));
        let table = self.table.as_ref().is_none_or(|table| {
            Shape::decode(&item.record.definition).is_ok_and(|shape| {
                shape.table.name == *table || format!("{}.{}", shape.table.schema, shape.table.name) == *table
            })
        });
        state && relation && unread && table
    }
}
