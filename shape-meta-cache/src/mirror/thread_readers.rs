use std::sync::{Mutex, MutexGuard, PoisonError};

use thread_local::ThreadLocal;

use crate::table::TableReader;

/// Dropped when a thread ends; a look at it then fails.
struct ThreadEnds;

impl Drop for ThreadEnds {
    fn drop(&mut self) {}
}

thread_local! {
    static THREAD_ENDS: ThreadEnds = const { ThreadEnds };
}

/// The read handles of the table, one for each thread.
///
/// A read handle is `Send` but not `Sync`, so threads cannot share one. Creating one for each read would cost
/// five times the read. When a thread ends, the next new thread takes over its handle.
pub(crate) struct ThreadReaders {
    per_thread: ThreadLocal<TableReader>,
    /// The first is the template; the others are created in advance. Creating a handle blocks while the table
    /// is published, which takes milliseconds for a large batch. The first read of a thread should not wait
    /// for the writer.
    spare: Mutex<Vec<TableReader>>,
    target: usize,
}

impl ThreadReaders {
    /// Creates `spares` read handles in advance.
    pub(crate) fn new(template: TableReader, spares: usize) -> Self {
        let readers =
            Self { per_thread: ThreadLocal::new(), spare: Mutex::new(vec![template]), target: 1 + spares };
        readers.refill();
        readers
    }

    /// Runs `read` with the read handle of this thread.
    ///
    /// In the destructor of a thread-local the thread may have returned its handle already: the read then
    /// creates one for itself.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&TableReader) -> T) -> T {
        match self.per_thread.get() {
            Some(reader) => read(reader),
            None => self.with_new(read),
        }
    }

    #[cold]
    fn with_new<T>(&self, read: impl FnOnce(&TableReader) -> T) -> T {
        // If it is not dropped yet, the thread-local of `per_thread` is not either: both are used here first,
        // or that one before, and they are dropped in reverse order.
        if THREAD_ENDS.try_with(|_| ()).is_err() {
            let reader = self.spare()[0].new_handle();
            return read(&reader);
        }
        let reader = self.per_thread.get_or(|| {
            let mut spare = self.spare();
            match spare.pop() {
                Some(reader) if !spare.is_empty() => reader,
                Some(template) => {
                    let reader = template.new_handle();
                    spare.push(template);
                    reader
                }
                None => unreachable!("the template always stays"),
            }
        });
        read(reader)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<TableReader>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the spare handles that threads have taken. For the writer, while it does not publish.
    pub(crate) fn refill(&self) {
        let mut spare = self.spare();
        while spare.len() < self.target {
            let reader = spare[0].new_handle();
            spare.push(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        sync::{Arc, mpsc},
        thread,
    };

    use shape_meta_core::{Counts, Seq};

    use super::*;
    use crate::table::{Grouping, Groupings, Table, Totals};

    /// Reads when its thread ends.
    struct Reads(Arc<ThreadReaders>, mpsc::Sender<bool>);

    impl Drop for Reads {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.with(|_| true));
        }
    }

    thread_local! {
        static FIRST: RefCell<Option<Reads>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<Reads>> = const { RefCell::new(None) };
    }

    /// Once, it aborted the process: the crate of the thread-locals panics there.
    #[test]
    fn c1_a_read_in_the_destructor_of_a_thread_local_works() {
        let groupings = Groupings::settled(Grouping::EXACT);
        let totals = Totals { counts: Counts::default(), last_seq: Seq::ZERO, groupings };
        let (_table, reader) = Table::new(totals, 0);
        let readers = Arc::new(ThreadReaders::new(reader, 2));
        for reads_before in [true, false] {
            let (sender, received) = mpsc::channel();
            let readers = Arc::clone(&readers);
            thread::spawn(move || {
                FIRST.with_borrow_mut(|first| *first = Some(Reads(Arc::clone(&readers), sender.clone())));
                if reads_before {
                    readers.with(|_| ());
                }
                LAST.with_borrow_mut(|last| *last = Some(Reads(readers, sender)));
            })
            .join()
            .expect("it does not panic");
            assert_eq!(received.iter().collect::<Vec<_>>(), [true, true]);
        }
    }

    #[test]
    fn threads_take_spare_readers_until_they_are_refilled() {
        let groupings = Groupings::settled(Grouping::EXACT);
        let totals = Totals { counts: Counts::default(), last_seq: Seq::ZERO, groupings };
        let (_table, reader) = Table::new(totals, 0);
        let readers = ThreadReaders::new(reader, 2);
        let spare = || readers.spare.lock().expect("no thread panics").len();
        assert_eq!(spare(), 3, "two and the template");
        readers.with(|_| ());
        assert_eq!(spare(), 2);
        readers.with(|_| ());
        assert_eq!(spare(), 2, "each thread takes one");
        thread::scope(|scope| scope.spawn(|| readers.with(|_| ())).join().expect("it does not panic"));
        assert_eq!(spare(), 1);
        readers.refill();
        assert_eq!(spare(), 3);
        readers.refill();
        assert_eq!(spare(), 3);
    }
}
