use std::collections::BTreeMap;

use todc_utils::specifications::Specification;

use super::call::{Answer, Asked, Call, No};

/// The shapes as a table: what a sequential store would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    pub last: u64,
    /// By the number of the handle.
    pub shapes: BTreeMap<u8, Shape>,
}

/// A shape of the small world; all of it is numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub new: New,
    pub created: u64,
    pub state: u8,
}

/// What a shape is before it has a place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct New {
    pub key: u8,
    /// A bit each.
    pub relations: u8,
}

impl New {
    pub fn is_indexed(self) -> bool {
        self.relations & 1 == 1
    }
}

impl Table {
    fn holder(&self, key: u8) -> Option<u8> {
        self.shapes.iter().find(|(_, shape)| shape.new.key == key).map(|(handle, _)| *handle)
    }

    fn add(&mut self, handle: u8, new: New) -> Result<u64, No> {
        if let Some(holder) = self.holder(new.key) {
            return Err(No::KeyIsHeldBy(holder));
        }
        if self.shapes.contains_key(&handle) {
            return Err(No::HandleIsLive);
        }
        self.last += 1;
        self.shapes.insert(handle, Shape { new, created: self.last, state: 0 });
        Ok(self.last)
    }

    /// Whether a sequential store would have answered so; if it would, this is what it is afterwards.
    fn answers(&mut self, Call { asked, answer }: &Call) -> bool {
        match (asked, answer) {
            (Asked::Begin(table), Answer::Nothing) => {
                *self = table.clone();
                true
            }
            (Asked::Add(handle, new), Answer::Accepted(answer)) => self.add(*handle, *new) == *answer,
            (Asked::GetOrAdd(_, new), Answer::Found(holder)) => self.holder(new.key) == Some(*holder),
            (Asked::GetOrAdd(handle, new), Answer::Accepted(answer)) => {
                // A live key would have been found.
                self.holder(new.key).is_none() && self.add(*handle, *new) == *answer
            }
            (Asked::Remove(handle), Answer::Accepted(answer)) => {
                let outcome = match self.shapes.remove(handle) {
                    Some(_) => {
                        self.last += 1;
                        Ok(self.last)
                    }
                    None => Err(No::Unknown),
                };
                outcome == *answer
            }
            (Asked::Mark(handle, state), Answer::Accepted(answer)) => match self.shapes.get_mut(handle) {
                None => *answer == Err(No::Unknown),
                // Things are so already: the receipt may be of any place before.
                Some(shape) if shape.state >= *state => answer.is_ok_and(|seq| seq <= self.last),
                Some(shape) => {
                    shape.state = *state;
                    self.last += 1;
                    *answer == Ok(self.last)
                }
            },
            (Asked::Reset, Answer::Accepted(answer)) => {
                self.shapes.clear();
                self.last += 1;
                *answer == Ok(self.last)
            }
            (Asked::Metadata(handle), Answer::Metadata(answer)) => {
                let shape = self.shapes.get(handle);
                shape.map(|shape| (shape.created, shape.state)) == *answer
            }
            (Asked::Record(handle), Answer::Record(answer)) => {
                self.shapes.get(handle).map(|shape| (shape.created, shape.new)) == *answer
            }
            (Asked::Touch(handle), Answer::Live(answer)) => self.shapes.contains_key(handle) == *answer,
            (Asked::HandleFor(key), Answer::Handle(answer)) => self.holder(*key) == *answer,
            (Asked::Reading(relations), Answer::Handles(answer)) => {
                let reading = self.shapes.iter().filter(|(_, shape)| shape.new.relations & relations != 0);
                reading.map(|(handle, _)| *handle).eq(answer.iter().copied())
            }
            (Asked::Counts, Answer::Counts(answer)) => {
                let indexed = self.shapes.values().filter(|shape| shape.new.is_indexed());
                (self.shapes.len() as u64, indexed.count() as u64) == *answer
            }
            (Asked::Scan, Answer::Scan(answer)) => {
                let mut shapes: Vec<_> =
                    self.shapes.iter().map(|(handle, shape)| (*handle, *shape)).collect();
                shapes.sort_by_key(|(_, shape)| shape.created);
                shapes == *answer
            }
            (Asked::LastSeq, Answer::LastSeq(answer)) => self.last == *answer,
            _ => panic!("no answer to what was asked: {asked:?}, {answer:?}"),
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
        if after.answers(call) { (true, after) } else { (false, table.clone()) }
    }
}
