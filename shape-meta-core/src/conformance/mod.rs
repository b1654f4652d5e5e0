//! One specification for every store and every composition: the conformance suite, and stores that fail
//! on purpose.
//!
//! A composition implements [`Fixture`] in its tests and runs [`run_all`], or has each check as a test of
//! its own by [`conformance_tests!`](crate::conformance_tests). Each check is a plain function whose name
//! begins with the line of the contract that it holds the composition to: C1 what is seen, C2 uniqueness,
//! C3 removal, C4 refusals, C5 likeness to the reference, C6 the order and durability. Stores below a
//! composition have [`store::run_all`], I6 among it, and compositions with
//! [`StoreControl`](crate::StoreControl) have [`control::run_all`].
//!
//! [`ops`] plays random operations on a composition and on the reference in step, and [`FailingStore`] is
//! a store below that fails, panics or stops on command.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use shape_meta_core::{Direct, Limits, MemoryStore, NoopObserver, conformance::{self, Fixture}};
//!
//! struct InMemory;
//!
//! impl Fixture for InMemory {
//!     type Store = Direct<MemoryStore>;
//!
//!     fn open(&self) -> Self::Store {
//!         Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("it never fails")
//!     }
//! }
//!
//! conformance::c2_get_or_add_finds_or_adds(&InMemory);
//! // All of it as tests of their own: `shape_meta_core::conformance_tests!(InMemory);`
//! ```

mod fixture;
mod sample;
mod view;

mod act;
mod block_on;

mod durable;
mod lookups;
mod recency;
mod refusals;
mod removal;
mod reopened;
mod threads;
mod unique;
mod visible;

pub mod control;
mod failing;
mod late;
pub mod ops;
pub mod store;

pub use block_on::block_on;
pub use durable::*;
pub use failing::{FailingStore, Faults, GateKeeper, Naming, Side};
pub use fixture::Fixture;
pub use late::LateStore;
pub use lookups::*;
pub use ops::c5_equals_the_reference;
pub use recency::*;
pub use refusals::*;
pub use removal::*;
pub use reopened::*;
pub use sample::{handle, key, relations, shape};
pub use threads::*;
pub use unique::*;
pub use view::{Seen, View, reading};
pub use visible::*;

/// Hands the names of all checks to a macro: the one list of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_conformance_check {
    ([$($macro:tt)*] $($context:tt)*) => {
        $($macro)*! { [$($context)*]
            c1_a_fresh_store_is_empty
            c1_an_add_is_seen_at_once
            c1_a_removal_is_seen_at_once
            c1_the_snapshot_state_moves_one_way
            c1_marks_by_name
            c1_a_reset_removes_every_shape
            c1_a_scan_is_fixed_when_it_is_made
            c1_other_threads_see_it_at_once
            c1_every_form_of_call_is_the_same
            c1_relations_lead_to_their_shapes
            c1_many_relations_at_once
            c1_very_many_shapes_on_one_relation
            c1_counts_follow
            c1_lists_are_in_the_order_of_creation
            c1_lists_show_dependencies_first
            c1_definitions_are_kept_byte_for_byte
            c1_numbers_are_kept_whole
            c1_a_touch_is_seen_at_once
            c1_a_touch_is_for_live_shapes
            c1_the_stalest_come_first
            c1_equal_times_all_come
            c1_all_indexes_grow_together
            c1_generations_never_mix
            c2_a_live_handle_is_refused
            c2_a_live_key_is_refused_and_its_holder_named
            c2_get_or_add_finds_or_adds
            c2_get_or_add_finds_before_it_looks_at_limits
            c2_get_or_add_with_makes_only_what_is_needed
            c2_racing_get_or_add_makes_one_shape
            c2_racing_adds_of_one_handle
            c2_near_misses_are_different_shapes
            c3_handle_and_key_are_free_at_once
            c3_again_and_again
            c3_two_shapes_exchange_their_keys
            c3_threads_add_and_remove_the_same_shapes
            c4_an_unknown_handle_is_refused
            c4_a_removed_handle_is_unknown
            c4_a_handle_is_printable
            c4_what_is_too_large_is_refused
            c4_refusals_take_no_place_in_the_order
            c5_equals_the_reference
            c6_the_order_has_no_gaps
            c6_receipts_are_durable_after_a_flush
            c6_a_receipt_can_be_waited_for
            c6_a_pause_holds_back_durability_alone
            c6_complete_shapes_survive_a_reopening
            c6_an_empty_store_reopens
            c6_a_reopening_can_be_repeated
        }
    };
}

/// Makes every check of the suite a test of its own, in the module in which it stands. The expression
/// makes the [`Fixture`]; it is evaluated once for each test.
///
/// ```ignore
/// mod memory {
///     shape_meta_core::conformance_tests!(super::InMemory);
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::__each_conformance_check!([$crate::__conformance_tests] $fixture);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$fixture:expr] $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::conformance::$check(&$fixture);
            }
        )*
    };
}

macro_rules! list {
    ([$fixture:ident] $($check:ident)*) => {
        vec![$((stringify!($check), $check::<$fixture> as fn(&$fixture))),*]
    };
}

/// A check with its name.
pub type Check<T> = (&'static str, fn(&T));

/// All checks with their names.
pub fn checks<F: Fixture>() -> Vec<Check<F>> {
    __each_conformance_check!([list] F)
}

/// Runs every check.
///
/// # Panics
///
/// If the composition does not conform. Which check it was is printed to standard error.
pub fn run_all<F: Fixture>(fixture: &F) {
    for (name, check) in checks() {
        eprintln!("conformance: {name}");
        check(fixture);
    }
}
