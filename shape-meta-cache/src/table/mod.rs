mod hasher;
mod left_right;
mod slots;

#[cfg(test)]
pub(crate) use self::slots::Grouping;
pub(crate) use self::{
    left_right::{SortedValues, Table, TableReader, Totals, View},
    slots::{GroupingPolicy, Groupings, Slot, Slots, buckets},
};
