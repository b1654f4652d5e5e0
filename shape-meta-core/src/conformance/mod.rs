//! The conformance suite: one specification for every store and every composition.
//!
//! # How to run it
//!
//! [`conformance_tests!`](crate::conformance_tests) is the only entry point. It makes every check a test of
//! its own, in the module in which it stands. Its argument names what is tested and a fixture that opens it:
//!
//! | invocation | fixture | what it runs |
//! |---|---|---|
//! | `conformance_tests!(store: FIXTURE)` | [`StoreFixture`] | the [`store`] checks on a [`ShapeStore`](crate::ShapeStore), then the [`composition`], [`control`] and [`feeds`] checks on [`Direct`](crate::Direct) over it |
//! | `conformance_tests!(store below a buffer: FIXTURE)` | [`StoreFixture`] | the [`store`] checks alone, for a store whose reads are linearizable only below a buffer |
//! | `conformance_tests!(composition: FIXTURE)` | [`CompositionFixture`] | the [`composition`] checks on a [`MutateShapes`](crate::MutateShapes), and the [`control`] and [`feeds`] checks on its [`StoreControl`](crate::StoreControl) |
//! | `conformance_tests!(composition without control: FIXTURE)` | [`CompositionFixture`] | the [`composition`] checks alone |
//!
//! A closure that opens a store is a [`StoreFixture`], so a store needs one line. A fixture with a type of
//! its own can also reopen the store. The methods of a [`CompositionFixture`] that pause, flush and inject
//! faults have defaults that do nothing.
//!
//! The name of each check begins with the line of the contract that it checks: C1 visibility, C2 uniqueness,
//! C3 removal, C4 refusals, C5 equality with the reference model, C6 order and durability, C7 backpressure,
//! C10 closing, C15 feeds, I2 publishing, I6 idempotent batches.
//!
//! # Stability
//!
//! The suite may change in any release, also in a patch release: checks are added, renamed and made stricter.
//! It is outside of the semantic versioning of this crate.
//!
//! # Example
//!
//! ```
//! use shape_meta_core::{MemoryStore, Timestamp, conformance::StoreFixture};
//!
//! # fn main() {}
//! // One line, for a store that does not survive a restart.
//! mod memory {
//!     shape_meta_core::conformance_tests!(store: super::MemoryStore::new);
//! }
//!
//! // A few lines, for a store that does.
//! struct Reopened;
//!
//! impl StoreFixture for Reopened {
//!     type Store = MemoryStore;
//!
//!     fn open(&self) -> MemoryStore {
//!         MemoryStore::new()
//!     }
//!
//!     fn reopen(&self, store: MemoryStore, at: Timestamp) -> Result<MemoryStore, MemoryStore> {
//!         store.reopen(at);
//!         Ok(store)
//!     }
//! }
//!
//! mod reopened {
//!     shape_meta_core::conformance_tests!(store: super::Reopened);
//! }
//! ```
//!
//! # Tools for further tests
//!
//! [`ops`] plays random operations on a composition and on the reference model in step. [`FailingStore`]
//! fails, panics or blocks on command. [`DeferredPublishStore`] separates commits from publishes. [`View`]
//! holds everything that a store returns, for comparisons.

mod fixture;
mod sample;
mod view;

mod assertions;
mod block_on;

pub mod composition;
pub mod control;
pub mod feeds;
pub mod store;

mod deferred_publish;
mod failing_store;
mod faults;
mod gate;
pub mod ops;

pub use block_on::block_on;
pub use deferred_publish::DeferredPublishStore;
pub use failing_store::FailingStore;
pub use faults::{Faults, RejectedSeq, Side};
pub use fixture::{CompositionFixture, DirectFixture, StoreFixture};
pub use gate::Gate;
pub use sample::{SecondVersion, handle, key, relations, shape};
pub use view::{ShapeView, View, distinct_handles_for_relations};

/// Makes every check of the [conformance suite](crate::conformance) a test of its own, in the module in which
/// it stands. The fixture is an expression that is evaluated once for each test.
#[macro_export]
macro_rules! conformance_tests {
    (store: $fixture:expr) => {
        $crate::conformance_tests!(store below a buffer: $fixture);
        $crate::conformance_tests!(composition: $crate::conformance::DirectFixture($fixture));
    };
    (store below a buffer: $fixture:expr) => {
        $crate::__conformance_checks! { [store] $fixture;
            c1_a_batch_is_seen_whole
            c1_changes_apply_in_the_order_given
            c1_load_visits_every_entry
            c1_a_record_belongs_to_its_entry
            c1_a_touch_is_seen_by_every_read
            c1_a_large_batch_is_applied_whole
            i2_commit_then_publish_equals_apply
            i6_a_batch_applies_once
            i6_changes_of_removed_shapes_do_nothing
            i6_an_empty_batch_advances_last_seq
        }
    };
    (composition: $fixture:expr) => {
        $crate::conformance_tests!(composition without control: $fixture);
        $crate::__conformance_checks! { [control] $fixture;
            c6_a_flush_is_durable_when_it_returns
            c6_a_requested_flush_completes_its_receipt
            c7_pending_changes_are_reported
            c10_close_writes_everything_and_reports
            c10_close_ends_every_wait
        }
        $crate::__conformance_checks! { [feeds] $fixture;
            c15_a_feed_gives_every_change_once
            c15_a_durable_feed_waits_for_durability
            c15_replaying_a_feed_gives_the_list
            c15_a_slow_subscriber_resumes
            c15_a_feed_resumes_after_every_change
            c15_a_later_sequence_number_is_refused
            c15_threads_and_futures_wait_for_a_change
            c15_close_ends_a_feed
        }
    };
    (composition without control: $fixture:expr) => {
        $crate::__conformance_checks! { [composition] $fixture;
            c1_a_fresh_store_is_empty
            c1_an_add_is_seen_at_once
            c1_a_removal_is_seen_at_once
            c1_the_snapshot_state_moves_one_way
            c1_named_marks_set_the_state
            c1_a_reset_removes_every_shape
            c1_a_scan_is_a_snapshot
            c1_other_threads_see_a_mutation_at_once
            c1_try_sync_and_async_calls_are_equal
            c1_relation_lookups_find_their_shapes
            c1_many_relations_in_one_lookup
            c1_many_shapes_on_one_relation
            c1_counts_follow_every_mutation
            c1_lists_are_in_creation_order
            c1_lists_show_dependencies_first
            c1_definitions_are_kept_byte_for_byte
            c1_extreme_numbers_round_trip
            c1_a_touch_is_seen_at_once
            c1_a_time_in_the_future_counts_as_now
            c1_only_live_shapes_can_be_touched
            c1_least_recently_used_come_first
            c1_equal_last_read_times_are_all_returned
            c1_a_shape_that_was_read_since_stays
            c1_an_eviction_and_a_read_have_an_order
            c1_the_time_of_creation_stays
            c1_all_indexes_change_in_one_step
            c1_reads_never_mix_versions_of_a_shape
            c2_a_live_handle_cannot_be_added_again
            c2_a_live_key_is_refused_naming_its_handle
            c2_get_or_add_finds_or_adds
            c2_get_or_add_finds_before_checking_limits
            c2_get_or_add_with_builds_a_shape_only_if_absent
            c2_racing_get_or_add_makes_one_shape
            c2_racing_adds_of_one_handle_accept_one
            c2_similar_handles_and_keys_are_distinct
            c3_removal_frees_handle_and_key_at_once
            c3_repeated_removes_and_adds
            c3_two_shapes_exchange_their_keys
            c3_a_list_of_shapes_is_removed
            c3_all_that_read_a_relation_are_removed
            c3_dependants_are_removed
            c1_a_removal_in_bulk_is_one_step
            c3_threads_add_and_remove_the_same_shapes
            c3_an_evictor_keeps_what_is_used
            c4_an_unknown_handle_is_refused
            c4_a_removed_handle_is_unknown
            c4_unprintable_handles_are_refused
            c4_shapes_over_a_limit_are_refused
            c4_refusals_use_no_sequence_number
            c5_equals_the_reference
            c6_sequence_numbers_have_no_gaps
            c6_receipts_are_durable_after_a_flush
            c6_threads_and_futures_wait_for_a_receipt
            c6_a_pause_delays_only_durability
            c6_complete_shapes_survive_a_reopen
            c6_an_empty_store_reopens
            c6_repeated_reopens_change_nothing
            c14_a_wait_for_what_is_so_is_ready
            c14_a_mark_ends_the_waits_for_it
            c14_a_wait_ends_when_its_shape_goes
            c14_a_shape_is_awaited_until_it_is_durable
            c14_thousands_of_waits_end
            c14_no_wake_up_is_lost
        }
    };
}

/// A test for each of these checks.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_checks {
    ([$kind:ident] $fixture:expr; $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::conformance::$kind::$check(&$fixture);
            }
        )*
    };
}
