use std::sync::{Mutex, PoisonError};

use thread_local::ThreadLocal;

use crate::table::Reader;

/// A reader's end of the table for every thread.
///
/// Making one for each read would cost five times the read, and one that threads share does not exist:
/// it is `Send` and not `Sync`. When a thread ends, its reader is left for the next thread that begins.
pub(crate) struct Readers {
    own: ThreadLocal<Reader>,
    /// The first is the template; the others are made ahead of need. Making one blocks while the table is
    /// published, which takes milliseconds for a large batch, and a thread's first read should not wait
    /// for the writer.
    spare: Mutex<Vec<Reader>>,
    wanted: usize,
}

impl Readers {
    /// With so many ends made ahead for threads to come.
    pub(crate) fn new(template: Reader, ahead: usize) -> Self {
        let readers = Self { own: ThreadLocal::new(), spare: Mutex::new(vec![template]), wanted: 1 + ahead };
        readers.refill();
        readers
    }

    /// The end that belongs to this thread.
    pub(crate) fn get(&self) -> &Reader {
        self.own.get_or(|| {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            match spare.pop() {
                Some(reader) if !spare.is_empty() => reader,
                Some(template) => {
                    let reader = template.another();
                    spare.push(template);
                    reader
                }
                None => unreachable!("the template is never given away"),
            }
        })
    }

    /// Makes up for the ends that threads have taken. For the writer, while it does not publish.
    pub(crate) fn refill(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        while spare.len() < self.wanted {
            let reader = spare[0].another();
            spare.push(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use shape_meta_core::{Counts, Seq};

    use super::*;
    use crate::{
        slots::Grouping,
        table::{Table, Totals},
    };

    #[test]
    fn threads_take_what_was_made_ahead_until_it_is_made_up_for() {
        let totals = Totals { counts: Counts::default(), last_seq: Seq::ZERO, grouping: Grouping::EXACT };
        let (_table, reader) = Table::new(totals, 0);
        let readers = Readers::new(reader, 2);
        let spare = || readers.spare.lock().expect("nobody panics").len();
        assert_eq!(spare(), 3, "and the template");
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
