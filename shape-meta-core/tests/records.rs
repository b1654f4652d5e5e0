//! Records and entries in memory, and what is known of lost shapes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use shape_meta_core::{
    Definition, DefinitionExt, DefinitionHash, Entry, Error, ErrorKind, Key, Keyed, Lost, NewShape, Record,
    Relation, Relations, Repaired, Seq, TrustedState,
    conformance::{handle, key, shape, store::record},
};

fn entry(created: u64) -> Arc<Entry> {
    Arc::clone(&record(&shape(created), created).entry)
}

/// The bound of a buffer counts these bytes.
#[test]
fn c7_memory_counts_everything_a_record_holds() {
    let plain =
        Record { dependencies: [].into(), definition: [].into(), ..Record::clone(&record(&shape(1), 1)) };
    let bare = size_of::<Record>() + size_of::<Entry>();
    assert_eq!((plain.memory(), plain.entry.memory()), (bare, size_of::<Entry>()));
    let large = Record { dependencies: [key(1), key(2)].into(), definition: [0; 5].into(), ..plain };
    assert_eq!(large.memory(), bare + 2 * 32 + 5);
    let long = NewShape {
        handle: "h".repeat(100).parse().expect("the handle is valid"),
        relations: [1, 2, 3].map(Relation::new).into_iter().collect(),
        ..shape(1)
    };
    let long = record(&long, 1);
    // The relations, and the hash.
    let unusual = size_of::<Relations>() + size_of::<DefinitionHash>() + 3 * 4;
    let counts_of_arc = 2 * size_of::<usize>();
    let elsewhere = 100 + counts_of_arc + unusual;
    assert_eq!(long.entry.memory(), size_of::<Entry>() + elsewhere);
}

#[test]
fn a_record_gets_its_seq_whether_or_not_it_is_shared() {
    let own = record(&shape(1), 0);
    let address = Arc::as_ptr(&own);
    let own = own.with_seq(Seq::new(7));
    assert_eq!(
        (own.entry.created(), Arc::as_ptr(&own)),
        (Seq::new(7), address),
        "an unshared record is not copied"
    );

    let shared = Arc::clone(&own);
    let placed = shared.with_seq(Seq::new(8));
    assert_eq!((own.entry.created(), placed.entry.created()), (Seq::new(7), Seq::new(8)));
    let with_entry_shared = Arc::new(Record::clone(&own)).with_seq(Seq::new(9));
    assert_eq!((own.entry.created(), with_entry_shared.entry.created()), (Seq::new(7), Seq::new(9)));
    assert_eq!(with_entry_shared.key(), own.key());
}

#[test]
fn trusted_entries_are_found_by_sequence_number() {
    let entries = [2, 5, 9].map(entry);
    let known = TrustedState { entries: Some(&entries), last_seq: None };
    let found = |created| known.entry(Seq::new(created)).map(|entry| entry.created().get());
    assert_eq!([1, 2, 3, 5, 9, 10].map(found), [None, Some(2), None, Some(5), Some(9), None]);
    assert!(TrustedState::default().entry(Seq::new(2)).is_none());
}

#[test]
fn c11_missing_shapes_of_a_repair_are_lost_or_vanished() {
    let lost =
        |created| Lost { created: Seq::new(created), handle: Some(handle(created)), why: "torn".into() };
    let error = Error::new(ErrorKind::Corrupt, "injected by a test");
    let mut repaired = Repaired::new(PathBuf::from("a"), error.clone(), 7, vec![lost(1), lost(2)]);
    assert_eq!(repaired.missing(), 2);
    repaired.vanished = 5;
    assert_eq!(repaired.missing(), 7);
    let [same, other] = ["a", "b"].map(|path| Repaired::new(PathBuf::from(path), error.clone(), 0, vec![]));
    assert_eq!(repaired, same, "each repair has its own path");
    assert_ne!(repaired, other);
}

/// A definition with only the required methods.
struct Plain;

impl Definition for Plain {
    type Error = std::convert::Infallible;

    fn key(&self) -> Key {
        Key::new(std::array::from_fn(|at| at as u8))
    }

    fn relations(&self) -> Vec<Relation> {
        vec![Relation::new(3), Relation::new(1)]
    }

    fn encode(&self) -> Vec<u8> {
        vec![1, 2, 3]
    }

    fn decode(_: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

#[test]
fn a_new_shape_takes_its_values_from_its_definition() {
    let new = NewShape::of(handle(1), &Plain);
    assert_eq!((new.handle, new.key), (handle(1), Plain.key()));
    assert_eq!(new.hash, DefinitionHash::new(0x0f0e_0d0c_0b0a_0908));
    assert_eq!(*new.relations, [1, 3].map(Relation::new));
    assert!(new.dependencies.is_empty() && !new.indexed);
    assert_eq!(*new.definition, [1, 2, 3]);
}

/// Counts how often its key is computed.
struct Counted(AtomicUsize);

impl Definition for Counted {
    type Error = std::convert::Infallible;

    fn key(&self) -> Key {
        self.0.fetch_add(1, Ordering::Relaxed);
        Plain.key()
    }

    fn relations(&self) -> Vec<Relation> {
        Plain.relations()
    }

    fn encode(&self) -> Vec<u8> {
        Plain.encode()
    }

    fn decode(_: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self(AtomicUsize::new(0)))
    }
}

#[test]
fn the_key_of_a_definition_is_computed_once() {
    let counted = Counted(AtomicUsize::new(0));
    NewShape::of(handle(1), &counted);
    assert_eq!(counted.0.into_inner(), 1, "for a new shape");

    let keyed = Counted(AtomicUsize::new(0)).keyed();
    let new = NewShape::of(handle(1), &keyed);
    assert_eq!((new.key, new.hash), (*keyed.as_key(), keyed.definition_hash()));
    assert_eq!((new.key, new.hash), (Plain.key(), Plain.definition_hash()));
    assert_eq!((&new.definition[..], &new.relations[..]), (&[1, 2, 3][..], &[1, 3].map(Relation::new)[..]));
    assert_eq!(keyed.definition().0.load(Ordering::Relaxed), 1, "for all uses of a keyed one");
    assert_eq!(keyed.into_definition().0.into_inner(), 1);

    let Ok(decoded) = Keyed::<Counted>::decode(&[1, 2, 3]);
    assert_eq!(decoded.key(), Plain.key());
}
