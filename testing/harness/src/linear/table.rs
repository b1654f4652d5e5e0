use std::collections::BTreeMap;

use todc_utils::specifications::Specification;

use super::call::{Call, Refused, Request, Response};

/// A sequential store: the specification that histories are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// The last sequence number.
    pub last: u64,
    /// The live shapes by the number of their handle.
    pub rows: BTreeMap<u8, Row>,
}

/// A live shape, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub new: NewRow,
    /// The sequence number of its add.
    pub created: u64,
    /// The snapshot state: 0 pending, 1 started, 2 complete.
    pub state: u8,
}

/// A shape before it has a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NewRow {
    pub key: u8,
    /// One bit each.
    pub relations: u8,
}

impl NewRow {
    pub fn is_indexed(self) -> bool {
        self.relations & 1 == 1
    }
}

impl Table {
    fn holder(&self, key: u8) -> Option<u8> {
        self.rows.iter().find(|(_, shape)| shape.new.key == key).map(|(handle, _)| *handle)
    }

    fn add(&mut self, handle: u8, new: NewRow) -> Result<u64, Refused> {
        if let Some(holder) = self.holder(new.key) {
            return Err(Refused::KeyIsHeldBy(holder));
        }
        if self.rows.contains_key(&handle) {
            return Err(Refused::HandleIsLive);
        }
        self.last += 1;
        self.rows.insert(handle, Row { new, created: self.last, state: 0 });
        Ok(self.last)
    }

    /// Plays a call, and returns whether a sequential store gives the same response.
    fn responds(&mut self, Call { request, response }: &Call) -> bool {
        match (request, response) {
            (Request::Begin(table), Response::Nothing) => {
                *self = table.clone();
                true
            }
            (Request::Add(handle, new), Response::Accepted(response)) => self.add(*handle, *new) == *response,
            (Request::GetOrAdd(_, new), Response::Found(holder)) => self.holder(new.key) == Some(*holder),
            (Request::GetOrAdd(handle, new), Response::Accepted(response)) => {
                // A live key would have been found.
                self.holder(new.key).is_none() && self.add(*handle, *new) == *response
            }
            (Request::Remove(handle), Response::Accepted(response)) => {
                let outcome = match self.rows.remove(handle) {
                    Some(_) => {
                        self.last += 1;
                        Ok(self.last)
                    }
                    None => Err(Refused::UnknownHandle),
                };
                outcome == *response
            }
            (Request::Mark(handle, state), Response::Accepted(response)) => match self.rows.get_mut(handle) {
                None => *response == Err(Refused::UnknownHandle),
                // The mark changes nothing: the receipt may have any earlier sequence number.
                Some(shape) if shape.state >= *state => response.is_ok_and(|seq| seq <= self.last),
                Some(shape) => {
                    shape.state = *state;
                    self.last += 1;
                    *response == Ok(self.last)
                }
            },
            (Request::Reset, Response::Accepted(response)) => {
                self.rows.clear();
                self.last += 1;
                *response == Ok(self.last)
            }
            (Request::Metadata(handle), Response::Metadata(response)) => {
                let shape = self.rows.get(handle);
                shape.map(|shape| (shape.created, shape.state)) == *response
            }
            (Request::Record(handle), Response::Record(response)) => {
                self.rows.get(handle).map(|shape| (shape.created, shape.new)) == *response
            }
            (Request::Touch(handle), Response::Live(response)) => self.rows.contains_key(handle) == *response,
            (Request::HandleFor(key), Response::Handle(response)) => self.holder(*key) == *response,
            (Request::HandlesForRelations(relations), Response::Handles(response)) => {
                let reading = self.rows.iter().filter(|(_, shape)| shape.new.relations & relations != 0);
                reading.map(|(handle, _)| *handle).eq(response.iter().copied())
            }
            (Request::Counts, Response::Counts(response)) => {
                let indexed = self.rows.values().filter(|shape| shape.new.is_indexed());
                (self.rows.len() as u64, indexed.count() as u64) == *response
            }
            (Request::Scan, Response::Scan(response)) => {
                let mut shapes: Vec<_> = self.rows.iter().map(|(handle, shape)| (*handle, *shape)).collect();
                shapes.sort_by_key(|(_, shape)| shape.created);
                shapes == *response
            }
            (Request::LastSeq, Response::LastSeq(response)) => self.last == *response,
            _ => panic!("a response of another kind of request: {request:?}, {response:?}"),
        }
    }
}

impl Specification for Table {
    type State = Self;
    type Operation = Call;

    fn init() -> Self {
        Self::default()
    }

    fn apply(call: &Call, table: &Self) -> (bool, Self) {
        let mut after = table.clone();
        if after.responds(call) { (true, after) } else { (false, table.clone()) }
    }
}
