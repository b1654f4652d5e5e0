use std::sync::{Mutex, PoisonError};

use thread_local::ThreadLocal;

use crate::table::TableReader;

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

    /// Returns the read handle of this thread.
    pub(crate) fn get(&self) -> &TableReader {
        self.per_thread.get_or(|| {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            match spare.pop() {
                Some(reader) if !spare.is_empty() => reader,
                Some(template) => {
                    let reader = template.new_handle();
                    spare.push(template);
                    reader
                }
                None => unreachable!("the template always stays"),
            }
        })
    }

    /// Replaces the spare handles that threads have taken. For the writer, while it does not publish.
    pub(crate) fn refill(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        while spare.len() < self.target {
            let reader = spare[0].new_handle();
            spare.push(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use shape_meta_core::{Counts, Seq};

    use super::*;
    use crate::table::{Grouping, Table, Totals};

    #[test]
    fn threads_take_spare_readers_until_they_are_refilled() {
        let totals = Totals { counts: Counts::default(), last_seq: Seq::ZERO, grouping: Grouping::EXACT };
        let (_table, reader) = Table::new(totals, 0);
        let readers = ThreadReaders::new(reader, 2);
        let spare = || readers.spare.lock().expect("no thread panics").len();
        assert_eq!(spare(), 3, "two and the template");
        readers.get();
        assert_eq!(spare(), 2);
        readers.get();
        assert_eq!(spare(), 2, "each thread takes one");
        thread::scope(|scope| scope.spawn(|| _ = readers.get()).join().expect("it does not panic"));
        assert_eq!(spare(), 1);
        readers.refill();
        assert_eq!(spare(), 3);
        readers.refill();
        assert_eq!(spare(), 3);
    }
}
