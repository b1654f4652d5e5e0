//! The old process: the first owner of the database.

use std::{
    env,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use shape_meta::StoreControl;

use super::{
    process::DIRECTORY,
    protocol::{KnownShapes, read, receive, report, write},
};
use shape_meta_harness::compositions::{PRODUCT, TIMEOUT};

pub(super) const NAME: &str = "deploy::old::works";
pub(super) const WRITERS: u64 = 3;

#[test]
#[ignore = "a child process of the deploy tests; it does nothing on its own"]
fn works() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let store = PRODUCT.open(Path::new(&directory));
    report("\nopen");
    let (known, written, ends) = (KnownShapes::default(), AtomicBool::new(false), AtomicBool::new(false));
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
        assert_eq!(receive(), "end");
        written.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("no panic");
        }
        let closed = store.close(TIMEOUT);
        ends.store(true, Ordering::Relaxed);
        report(&format!("closed {}", closed.unwritten));
    });
}
