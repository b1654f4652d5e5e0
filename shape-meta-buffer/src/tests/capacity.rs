use crate::{BufferOptions, FlusherOptions, FlusherPool, memtable::Generation, tests::memory};

/// Tables do not grow while writers wait, as long as a flush is not larger than the ones before it.
#[test]
fn a_generation_has_room_for_what_it_is_made_for() {
    let mut generation = Generation::with_capacity(memory::SHAPES as usize);
    let room = generation.room();
    assert!(room.iter().all(|room| *room >= memory::SHAPES as usize), "{room:?}");
    memory::put(&mut generation, memory::adds(&memory::records(&[1])));
    assert_eq!(generation.room(), room);
    assert_eq!(Generation::with_capacity(0).room(), [0; 4], "and one of many stores begins small");
}

#[test]
fn there_is_room_for_a_usual_flush() {
    let options = BufferOptions::default();
    assert_eq!((options.room_ahead(), options.filtered()), (10_000, 100_000));
    let few_at_once = options.clone().flush_shapes(100);
    assert_eq!((few_at_once.room_ahead(), few_at_once.filtered()), (100, 100_000));
    let small = options.clone().max_pending_shapes(1_000);
    assert_eq!((small.room_ahead(), small.filtered()), (1_000, 1_000));
    let very_many = options.clone().max_pending_shapes(1_000_000).flush_shapes(1_000_000);
    assert_eq!((very_many.room_ahead(), very_many.filtered()), (16_384, 1_000_000));

    let one_of_many = options.flushers(&FlusherPool::new(FlusherOptions::default()));
    assert_eq!((one_of_many.room_ahead(), one_of_many.filtered()), (0, 10_000));
    let small = one_of_many.max_pending_shapes(1_000);
    assert_eq!((small.room_ahead(), small.filtered()), (0, 1_000));
}
