use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use shape_meta::{
    Handle, MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape, ReadShapes, Refusal, Relation,
    ScanItem, SnapshotState, Timestamp,
};
use shape_meta_core::conformance::{handle, key, relations, shape};

use super::table::{NewRow, Row, Table};
use crate::compositions::WAIT;

const HANDLES: u8 = 3;
const KEYS: u8 = 2;
const RELATIONS: u8 = 2;
/// Many, so that no two times are equal: those shapes may come in any order.
const MAX_READ: u64 = 1 << 40;
const STATES: [SnapshotState; 3] = [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete];

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Call {
    pub request: Request,
    pub response: Response,
}

#[derive(Clone, Debug)]
pub enum Request {
    /// No call: the history starts with this table.
    Begin(Table),
    Add(u8, NewRow),
    GetOrAdd(u8, NewRow),
    Remove(u8),
    Mark(u8, u8),
    Reset,
    Metadata(u8),
    Record(u8),
    /// The handle, and the time.
    Touch(u8, u64),
    /// How many, and the handles to exclude, one bit each.
    LeastRecentlyUsed(u8, u8),
    HandleFor(u8),
    HandlesForRelations(u8),
    Counts,
    Scan,
    LastSeq,
}

#[derive(Clone, Debug)]
pub enum Response {
    Nothing,
    /// The sequence number, or why the mutation was refused.
    Accepted(Result<u64, Refused>),
    Found(u8),
    Metadata(Option<(u64, u8)>),
    Record(Option<(u64, NewRow)>),
    Live(bool),
    LeastRecentlyUsed(LeastUsed),
    Handle(Option<u8>),
    Handles(BTreeSet<u8>),
    Counts((u64, u64)),
    Scan(Vec<(u8, Row)>),
    LastSeq(u64),
}

/// The least recently used shapes, as one read has found them.
#[derive(Clone, Debug, Default)]
pub struct LeastUsed {
    /// The handles with their last-read times.
    pub found: Vec<(u8, u64)>,
    /// The times of the touches that had ended before the read began. Set when a history is checked.
    pub earlier: BTreeSet<u64>,
    /// The touches that began before the read ended.
    pub during: Vec<(u8, u64)>,
}

/// Why a mutation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    HandleIsLive,
    KeyIsHeldBy(u8),
    UnknownHandle,
}

impl Request {
    pub fn random(random: &mut Rng) -> Self {
        let (handle, key) = (random.u8(..HANDLES), random.u8(..KEYS));
        let relations = random.u8(..1 << RELATIONS);
        let new = NewRow { key, relations };
        match random.u8(..46) {
            0..6 => Self::Add(handle, new),
            6..10 => Self::GetOrAdd(handle, new),
            10..16 => Self::Remove(handle),
            16..19 => Self::Mark(handle, random.u8(1..=2)),
            19 => Self::Reset,
            20..24 => Self::Metadata(handle),
            24..26 => Self::Record(handle),
            26..27 | 40..43 => Self::Touch(handle, random.u64(1..MAX_READ)),
            43..46 => {
                Self::LeastRecentlyUsed(random.u8(1..=HANDLES), random.u8(..1 << HANDLES) & random.u8(..))
            }
            27..31 => Self::HandleFor(key),
            31..34 => Self::HandlesForRelations(relations),
            34..36 => Self::Counts,
            36..38 => Self::Scan,
            _ => Self::LastSeq,
        }
    }

    /// As [`random`](Self::random), mostly with touches and reads of the least recently used shapes.
    pub fn random_recency(random: &mut Rng) -> Self {
        let handle = random.u8(..HANDLES);
        let new = NewRow { key: random.u8(..KEYS), relations: 0 };
        match random.u8(..20) {
            0..5 => Self::Add(handle, new),
            5..8 => Self::Remove(handle),
            8..14 => Self::Touch(handle, random.u64(1..MAX_READ)),
            14..19 => Self::LeastRecentlyUsed(random.u8(1..=2), 0),
            _ => Self::random(random),
        }
    }

    /// Calls the store.
    pub fn send(&self, store: &impl MutateShapes) -> Response {
        const NO_FAULT: &str = "no fault is injected";
        match *self {
            Self::Begin(_) => Response::Nothing,
            Self::Add(handle, new) => Response::Accepted(accepted(store, &Mutation::Add(whole(handle, new)))),
            Self::GetOrAdd(handle, new) => match store.get_or_add(&whole(handle, new), WAIT) {
                Ok(got) if got.added => Response::Accepted(Ok(got.receipt.seq().get())),
                Ok(got) => Response::Found(number(&got.handle)),
                Err(error) => Response::Accepted(Err(refused(error))),
            },
            Self::Remove(handle) => Response::Accepted(accepted(store, &Mutation::remove(&*name(handle)))),
            Self::Mark(handle, state) => {
                let mutation = Mutation::Mark(name(handle).to_string(), STATES[usize::from(state)]);
                Response::Accepted(accepted(store, &mutation))
            }
            Self::Reset => Response::Accepted(accepted(store, &Mutation::Reset)),
            Self::Metadata(handle) => {
                let found = store.metadata(&name(handle)).expect(NO_FAULT);
                Response::Metadata(found.map(|found| (found.created.get(), state(found.state))))
            }
            Self::Record(handle) => {
                let found = store.record(&name(handle)).expect(NO_FAULT);
                Response::Record(found.map(|found| (found.entry.created().get(), new(&found.definition))))
            }
            Self::Touch(handle, at) => {
                Response::Live(store.touch(&name(handle), Timestamp::from_micros(at)).expect(NO_FAULT))
            }
            Self::LeastRecentlyUsed(n, excluded) => {
                let excluded =
                    (0..HANDLES).filter(|handle| excluded & (1 << handle) != 0).map(name).collect();
                let found = store.least_recently_used(n.into(), &excluded).expect(NO_FAULT);
                let found = found.shapes.iter().map(|(handle, at)| (number(handle), at.as_micros()));
                Response::LeastRecentlyUsed(LeastUsed { found: found.collect(), ..LeastUsed::default() })
            }
            Self::HandleFor(of) => {
                let found = store.handle_for(&key(of.into())).expect(NO_FAULT);
                Response::Handle(found.map(|found| number(&found)))
            }
            Self::HandlesForRelations(of) => {
                let relations: Vec<_> = oids(of).map(Relation::new).collect();
                let handles = store.handles_for_relations(&relations).expect(NO_FAULT);
                let found: BTreeSet<_> = handles.iter().map(number).collect();
                assert_eq!(found.len(), handles.len(), "C1: each handle is returned once");
                Response::Handles(found)
            }
            Self::Counts => {
                let counts = store.counts().expect(NO_FAULT);
                Response::Counts((counts.total, counts.indexed))
            }
            Self::Scan => Response::Scan(scan(store)),
            Self::LastSeq => Response::LastSeq(store.last_seq().expect(NO_FAULT).get()),
        }
    }
}

/// Reads the state of a store while no other thread changes it.
pub fn table(store: &impl ReadShapes) -> Table {
    let last = store.last_seq().expect("no fault is injected").get();
    let rows: BTreeMap<u8, Row> = scan(store).into_iter().collect();
    let touches = rows.keys().filter_map(|handle| {
        let metadata = store.metadata(&name(*handle)).expect("no fault is injected");
        Some((*handle, vec![metadata?.last_read?.as_micros()]))
    });
    Table { last, touches: touches.collect(), rows }
}

fn scan(store: &impl ReadShapes) -> Vec<(u8, Row)> {
    let row = |ScanItem { record, metadata }| {
        let row = Row {
            new: new(&record.definition),
            created: metadata.created.get(),
            state: state(metadata.state),
        };
        (number(record.handle()), row)
    };
    let scan = store.scan().expect("no fault is injected");
    scan.map(|next| row(next.expect("no fault is injected"))).collect()
}

fn accepted(store: &impl MutateShapes, mutation: &Mutation) -> Result<u64, Refused> {
    store.mutate(mutation, WAIT).map(|receipt| receipt.seq().get()).map_err(refused)
}

fn refused(error: MutateError) -> Refused {
    match error {
        MutateError::Refused(Refusal::DuplicateHandle { .. }) => Refused::HandleIsLive,
        MutateError::Refused(Refusal::DuplicateKey { held_by, .. }) => Refused::KeyIsHeldBy(number(&held_by)),
        MutateError::Refused(Refusal::UnknownHandle { .. }) => Refused::UnknownHandle,
        other => panic!("an unexpected outcome: {other:?}"),
    }
}

fn name(number: u8) -> Handle {
    handle(number.into())
}

fn number(handle: &Handle) -> u8 {
    (0..HANDLES).find(|number| name(*number) == *handle).expect("one of the handles of the requests")
}

fn state(state: SnapshotState) -> u8 {
    STATES.iter().position(|known| *known == state).expect("STATES has every state") as u8
}

fn oids(bits: u8) -> impl Iterator<Item = u32> {
    (0..RELATIONS).filter(move |relation| bits & (1 << relation) != 0).map(u32::from)
}

/// Returns the shape with this content, which its definition repeats.
fn whole(handle: u8, new: NewRow) -> NewShape {
    NewShape {
        handle: name(handle),
        relations: relations(&oids(new.relations).collect::<Vec<_>>()),
        indexed: new.is_indexed(),
        definition: [new.key, new.relations].as_slice().into(),
        ..shape(new.key.into())
    }
}

fn new(definition: &[u8]) -> NewRow {
    let [key, relations] = *definition else { panic!("an unknown definition: {definition:?}") };
    NewRow { key, relations }
}
