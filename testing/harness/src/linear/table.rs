use std::collections::BTreeMap;

use todc_utils::specifications::Specification;

use super::call::{Call, LeastUsed, Refused, Request, Response};

/// A sequential store: the specification that histories are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// The last sequence number.
    pub last: u64,
    /// The live shapes by the number of their handle.
    pub rows: BTreeMap<u8, Row>,
    /// The times of all touches of each of them.
    pub touches: BTreeMap<u8, Vec<u64>>,
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

    /// Returns whether these may be the least recently used shapes. Their set is that of one moment, but a
    /// touch during the read may be seen or not: the times of shapes are read one after the other.
    fn are_least_used(&self, n: usize, excluded: u8, response: &LeastUsed) -> bool {
        let LeastUsed { found, earlier, during } = response;
        // The earliest and the latest time that the read may have seen; 0 for never.
        let bounds = |handle: u8| {
            let touches = self.touches.get(&handle).into_iter().flatten();
            let seen = touches.clone().filter(|at| earlier.contains(at)).max();
            let later = during.iter().filter(|(touched, _)| *touched == handle).map(|(_, at)| at);
            (seen.copied().unwrap_or(0), touches.chain(later).max().copied().unwrap_or(0))
        };
        let is_possible = |(handle, at): &(u8, u64)| {
            let (from, to) = bounds(*handle);
            self.rows.contains_key(handle) && excluded & (1 << handle) == 0 && (from..=to).contains(at)
        };
        let latest = found.last().map_or(0, |(_, at)| *at);
        let may_be_left_out = |handle: u8| {
            let (from, to) = bounds(handle);
            from == 0 || found.len() == n && to >= latest
        };
        let left_out = self.rows.keys().filter(|handle| {
            excluded & (1 << **handle) == 0 && !found.iter().any(|(listed, _)| listed == *handle)
        });
        let times: Vec<_> = found.iter().map(|(_, at)| *at).collect();
        found.len() <= n
            && found.iter().all(is_possible)
            && times.is_sorted_by(|one, next| one < next)
            && left_out.copied().all(may_be_left_out)
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
                self.touches.remove(handle);
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
                self.touches.clear();
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
            (Request::Touch(handle, at), Response::Live(response)) => {
                if self.rows.contains_key(handle) {
                    self.touches.entry(*handle).or_default().push(*at);
                }
                self.rows.contains_key(handle) == *response
            }
            (Request::LeastRecentlyUsed(n, excluded), Response::LeastRecentlyUsed(response)) => {
                self.are_least_used(usize::from(*n), *excluded, response)
            }
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
