use std::collections::BTreeSet;

use fastrand::Rng;
use shape_meta::{
    Handle, MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape, ReadShapes, Refusal, Relation,
    ScanItem, SnapshotState, Timestamp,
};
use shape_meta_core::conformance::{handle, key, relations, shape};

use super::table::{New, Shape, Table};
use crate::compositions::WAIT;

const HANDLES: u8 = 3;
const KEYS: u8 = 2;
const RELATIONS: u8 = 2;
const STATES: [SnapshotState; 3] = [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete];

/// What was asked, and the answer to it.
#[derive(Clone, Debug)]
pub struct Call {
    pub asked: Asked,
    pub answer: Answer,
}

#[derive(Clone, Debug)]
pub enum Asked {
    /// Nothing: the history begins with this table.
    Begin(Table),
    Add(u8, New),
    GetOrAdd(u8, New),
    Remove(u8),
    Mark(u8, u8),
    Reset,
    Metadata(u8),
    Record(u8),
    Touch(u8),
    HandleFor(u8),
    Reading(u8),
    Counts,
    Scan,
    LastSeq,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Nothing,
    /// The place in the order.
    Accepted(Result<u64, No>),
    Found(u8),
    Metadata(Option<(u64, u8)>),
    Record(Option<(u64, New)>),
    Live(bool),
    Handle(Option<u8>),
    Handles(BTreeSet<u8>),
    Counts((u64, u64)),
    Scan(Vec<(u8, Shape)>),
    LastSeq(u64),
}

/// Why a mutation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    HandleIsLive,
    KeyIsHeldBy(u8),
    Unknown,
}

impl Asked {
    pub fn any(random: &mut Rng) -> Self {
        let (handle, key) = (random.u8(..HANDLES), random.u8(..KEYS));
        let relations = random.u8(..1 << RELATIONS);
        let new = New { key, relations };
        match random.u8(..40) {
            0..6 => Self::Add(handle, new),
            6..10 => Self::GetOrAdd(handle, new),
            10..16 => Self::Remove(handle),
            16..19 => Self::Mark(handle, random.u8(1..=2)),
            19 => Self::Reset,
            20..24 => Self::Metadata(handle),
            24..26 => Self::Record(handle),
            26..27 => Self::Touch(handle),
            27..31 => Self::HandleFor(key),
            31..34 => Self::Reading(relations),
            34..36 => Self::Counts,
            36..38 => Self::Scan,
            _ => Self::LastSeq,
        }
    }

    /// Asks the store.
    pub fn of(&self, store: &impl MutateShapes) -> Answer {
        const HERE: &str = "nothing fails here";
        match *self {
            Self::Begin(_) => Answer::Nothing,
            Self::Add(handle, new) => Answer::Accepted(accepted(store, &Mutation::Add(whole(handle, new)))),
            Self::GetOrAdd(handle, new) => match store.get_or_add(&whole(handle, new), WAIT) {
                Ok(got) if got.added => Answer::Accepted(Ok(got.receipt.seq().get())),
                Ok(got) => Answer::Found(number(&got.handle)),
                Err(error) => Answer::Accepted(Err(refused(error))),
            },
            Self::Remove(handle) => Answer::Accepted(accepted(store, &Mutation::remove(&*name(handle)))),
            Self::Mark(handle, state) => {
                let mutation = Mutation::Mark(name(handle).to_string(), STATES[usize::from(state)]);
                Answer::Accepted(accepted(store, &mutation))
            }
            Self::Reset => Answer::Accepted(accepted(store, &Mutation::Reset)),
            Self::Metadata(handle) => {
                let found = store.metadata(&name(handle)).expect(HERE);
                Answer::Metadata(found.map(|found| (found.created.get(), state(found.state))))
            }
            Self::Record(handle) => {
                let found = store.record(&name(handle)).expect(HERE);
                Answer::Record(found.map(|found| (found.entry.created().get(), new(&found.definition))))
            }
            Self::Touch(handle) => {
                Answer::Live(store.touch(&name(handle), Timestamp::from_micros(1)).expect(HERE))
            }
            Self::HandleFor(of) => {
                let found = store.handle_for(&key(of.into())).expect(HERE);
                Answer::Handle(found.map(|found| number(&found)))
            }
            Self::Reading(of) => {
                let asked: Vec<_> = oids(of).map(Relation::new).collect();
                let handles = store.handles_for_relations(&asked).expect(HERE);
                let found: BTreeSet<_> = handles.iter().map(number).collect();
                assert_eq!(found.len(), handles.len(), "C1: each handle comes once");
                Answer::Handles(found)
            }
            Self::Counts => {
                let counts = store.counts().expect(HERE);
                Answer::Counts((counts.total, counts.indexed))
            }
            Self::Scan => Answer::Scan(scan(store)),
            Self::LastSeq => Answer::LastSeq(store.last_seq().expect(HERE).get()),
        }
    }
}

/// What the store holds while nobody changes it.
pub fn table(store: &impl ReadShapes) -> Table {
    let last = store.last_seq().expect("nothing fails here").get();
    Table { last, shapes: scan(store).into_iter().collect() }
}

fn scan(store: &impl ReadShapes) -> Vec<(u8, Shape)> {
    let listed = |ScanItem { record, metadata }| {
        let shape = Shape {
            new: new(&record.definition),
            created: metadata.created.get(),
            state: state(metadata.state),
        };
        (number(record.handle()), shape)
    };
    let scan = store.scan().expect("nothing fails here");
    scan.map(|next| listed(next.expect("nothing fails here"))).collect()
}

fn accepted(store: &impl MutateShapes, mutation: &Mutation) -> Result<u64, No> {
    store.mutate(mutation, WAIT).map(|receipt| receipt.seq().get()).map_err(refused)
}

fn refused(error: MutateError) -> No {
    match error {
        MutateError::Refused(Refusal::DuplicateHandle { .. }) => No::HandleIsLive,
        MutateError::Refused(Refusal::DuplicateKey { held_by, .. }) => No::KeyIsHeldBy(number(&held_by)),
        MutateError::Refused(Refusal::UnknownHandle { .. }) => No::Unknown,
        other => panic!("nothing else happens here: {other:?}"),
    }
}

fn name(number: u8) -> Handle {
    handle(number.into())
}

fn number(handle: &Handle) -> u8 {
    (0..HANDLES).find(|number| name(*number) == *handle).expect("a handle of this world")
}

fn state(state: SnapshotState) -> u8 {
    STATES.iter().position(|known| *known == state).expect("there are three") as u8
}

fn oids(bits: u8) -> impl Iterator<Item = u32> {
    (0..RELATIONS).filter(move |relation| bits & (1 << relation) != 0).map(u32::from)
}

/// The shape; its definition says what it is.
fn whole(handle: u8, new: New) -> NewShape {
    NewShape {
        handle: name(handle),
        relations: relations(&oids(new.relations).collect::<Vec<_>>()),
        indexed: new.is_indexed(),
        definition: [new.key, new.relations].as_slice().into(),
        ..shape(new.key.into())
    }
}

fn new(definition: &[u8]) -> New {
    let [key, relations] = *definition else { panic!("a definition of this world: {definition:?}") };
    New { key, relations }
}
