//! The process that owns the database at first.

use std::{
    env,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use shape_meta::StoreControl;

use super::{
    process::DIRECTORY,
    talk::{TrustedState, read, say, told, write},
};
use shape_meta_harness::compositions::{PATIENT, PRODUCT};

pub(super) const NAME: &str = "deploy::old::works";
pub(super) const WRITERS: u64 = 3;

#[test]
#[ignore = "a child of the tests of deploys; by itself it does nothing"]
fn works() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let store = PRODUCT.open(Path::new(&directory));
    say("\nopen");
    let (known, written, ends) = (TrustedState::default(), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                scope.spawn({
                    let (store, known, written) = (&store, &known, &written);
                    move || write(store, (number..).step_by(WRITERS as usize), known, written)
                })
            })
            .collect();
        scope.spawn(|| read(&store, &known, &ends));
        assert_eq!(told(), "end");
        written.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("no panic");
        }
        let report = store.close(PATIENT);
        ends.store(true, Ordering::Relaxed);
        say(&format!("closed {}", report.unwritten));
    });
}
