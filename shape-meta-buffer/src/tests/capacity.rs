use crate::{BufferOptions, FlusherOptions, FlusherPool, memtable::Generation, tests::memory};

/// Tables do not grow while writers wait, unless a flush is larger than the ones before it.
#[test]
fn a_generation_has_the_capacity_that_it_is_created_with() {
    let mut generation = Generation::with_capacity(memory::SHAPES as usize);
    let capacities = generation.capacities();
    assert!(capacities.iter().all(|capacity| *capacity >= memory::SHAPES as usize), "{capacities:?}");
    memory::insert(&mut generation, memory::adds(&memory::records(&[1])));
    assert_eq!(generation.capacities(), capacities);
    assert_eq!(Generation::with_capacity(0).capacities(), [0; 4], "one of many stores starts small");
}

#[test]
fn tables_are_allocated_for_a_usual_flush() {
    let options = BufferOptions::default();
    assert_eq!((options.initial_capacity(), options.filter_capacity()), (10_000, 100_000));
    let small_flushes = options.clone().flush_shapes(100);
    assert_eq!((small_flushes.initial_capacity(), small_flushes.filter_capacity()), (100, 100_000));
    let small = options.clone().max_pending_shapes(1_000);
    assert_eq!((small.initial_capacity(), small.filter_capacity()), (1_000, 1_000));
    let large = options.clone().max_pending_shapes(1_000_000).flush_shapes(1_000_000);
    assert_eq!((large.initial_capacity(), large.filter_capacity()), (16_384, 1_000_000));

    let one_of_many = options.flushers(&FlusherPool::new(FlusherOptions::default()));
    assert_eq!((one_of_many.initial_capacity(), one_of_many.filter_capacity()), (0, 10_000));
    let small = one_of_many.max_pending_shapes(1_000);
    assert_eq!((small.initial_capacity(), small.filter_capacity()), (0, 1_000));
}
