use shape_meta_core::Handle;

use crate::memtable::{Slot, SlotState, Slots};

fn slot(number: usize) -> Slot {
    let handle = Handle::new(number.to_string()).expect("digits are printable");
    Slot { handle, hash: number as u64, base: None, state: SlotState::Tombstone }
}

/// Around the ends of chunks, which grow, are full, or are reserved.
#[test]
fn slots_are_found_in_the_sequence_of_their_creation() {
    for (reserved, len) in [(0, 0), (0, 100), (100, 4_095), (4_096, 4_096), (4_097, 4_097), (20_000, 9_000)] {
        let mut slots = Slots::with_capacity(reserved);
        (0..len).for_each(|number| slots.push(slot(number)));
        assert_eq!((slots.len(), slots.is_empty()), (len, len == 0));
        for from in [0, 1, 4_095, 4_096, 4_097, 8_192, 8_999, 9_000, 50_000] {
            let found: Vec<_> = slots.from(from).map(|slot| slot.hash as usize).collect();
            assert_eq!(found, (from..len.max(from)).collect::<Vec<_>>(), "{len} from {from}");
            assert_eq!(slots.get(from).map(|slot| slot.hash as usize), (from < len).then_some(from));
        }
        assert!((0..len).all(|at| slots[at].hash == at as u64));
    }
}
