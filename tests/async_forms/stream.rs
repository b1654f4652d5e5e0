//! The stream of shapes: the same as a scan, with bounded memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use shape_meta::{Error, ErrorKind, NoopCleaner, ShapeMeta, prelude::*};
use shape_meta_core::{
    Batch, Entry, MemoryStore, Record, Result, Scan, Seq, ShapeStore, Usage,
    conformance::{block_on, shape},
};
use shape_meta_harness::compositions::{ALL, TIMEOUT, WAIT, directory};

const SHAPES: u64 = 1_000;

#[test]
fn c1_a_stream_is_a_scan() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        (0..200).for_each(|number| drop(store.add(shape(number), WAIT).expect("it is new")));
        store.flush(TIMEOUT).expect("the disk works");
        (200..300).for_each(|number| drop(store.add(shape(number), WAIT).expect("it is new")));
        let scanned: Vec<_> = store.scan().expect("reads").map(|item| item.expect("reads").record).collect();
        let mut stream = store.scan_async();
        let mut streamed = Vec::new();
        while let Some(item) = block_on(stream.next()) {
            streamed.push(item.expect("reads").record);
        }
        assert_eq!(streamed.len(), scanned.len());
        assert!(streamed.iter().zip(&scanned).all(|(one, other)| one.handle() == other.handle()));
        assert!(block_on(stream.next()).is_none(), "it stays at its end");
    }
}

/// How a scan of a [`Counting`] store ends.
#[derive(Clone, Copy)]
enum End {
    Normal,
    Error,
    Panic,
}

/// A store that counts the shapes that scans have read.
struct Counting {
    inner: MemoryStore,
    read: Arc<AtomicUsize>,
    end: End,
}

impl ReadShapes for Counting {
    shape_meta_core::forward_reads!(self => self.inner; except scan);

    fn scan(&self) -> Result<Scan<'_>> {
        let read = Arc::clone(&self.read);
        let end = self.end;
        let shapes = self.inner.scan()?.map(move |item| {
            let count = read.fetch_add(1, Ordering::SeqCst) + 1;
            match end {
                End::Error if count == 10 => Err(Error::new(ErrorKind::Io, "on purpose")),
                End::Panic if count == 10 => panic!("on purpose"),
                _ => item,
            }
        });
        Ok(Box::new(shapes))
    }
}

impl ShapeStore for Counting {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.inner.apply(batch)
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.inner.load(each)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner.record_of(entry)
    }

    fn resource_usage(&self) -> Usage {
        self.inner.resource_usage()
    }
}

fn counting(end: End) -> (ShapeMeta, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let store = Counting { inner: MemoryStore::new(), read: Arc::clone(&read), end };
    let store = ShapeMeta::builder(NoopCleaner).over(store).expect("memory");
    (0..SHAPES).for_each(|number| drop(store.add(shape(number), WAIT).expect("it is new")));
    (store, read)
}

/// A consumer that stops does not make the thread read on.
#[test]
fn c7_a_stream_reads_64_shapes_ahead_at_most() {
    let (store, read) = counting(End::Normal);
    let mut streams = [store.scan_async(), store.scan_async()];
    for taken in 1..=100 {
        for stream in &mut streams {
            block_on(stream.next()).expect("there are more").expect("memory");
        }
        // Those in the channel, and one in the hand of each thread.
        assert!(read.load(Ordering::SeqCst) <= 2 * (taken + 64 + 1), "{taken}");
    }
    // A third stream waits for one of the two, and a read does not.
    let third = std::thread::spawn({
        let mut third = store.scan_async();
        move || block_on(third.next())
    });
    block_on(store.counts_async()).expect("memory");
    drop(streams);
    third.join().expect("no panic").expect("there are shapes").expect("memory");
}

#[test]
fn c9_a_stream_that_is_cut_short_says_so() {
    for (end, kind) in [(End::Error, ErrorKind::Io), (End::Panic, ErrorKind::Panicked)] {
        let (store, _) = counting(end);
        let mut stream = store.scan_async();
        for _ in 1..10 {
            block_on(stream.next()).expect("there are more").expect("memory");
        }
        let error = block_on(stream.next()).expect("an error is no end").expect_err("it fails");
        assert_eq!(error.kind(), kind);
        assert!(block_on(stream.next()).is_none());
    }
}
