mod hasher;
mod left_right;
mod slots;

pub(crate) use self::{
    left_right::{SortedValues, Table, TableReader, Totals, View},
    slots::{Grouping, GroupingPolicy, Slot, Slots, buckets},
};
