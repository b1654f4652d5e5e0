use std::collections::VecDeque;

use super::{FeedChange, queue::Message};
use crate::Seq;

/// The changes that are kept of each stage: as many as the default queue of a subscriber has.
const MAX_CHANGES: usize = 65_536;
/// The messages that are kept of each stage. A resume clones each of them, in some nanoseconds.
const MAX_MESSAGES: usize = 4_096;
/// Changes that were emitted one by one are kept in messages of this length.
const RUN: usize = 256;

/// The latest changes of a stage, from which a subscriber resumes without a gap or a repeat.
///
/// It is kept from the first subscription on, until no subscriber has followed the stage for as many changes
/// as are kept.
#[derive(Debug)]
pub(super) struct RecentChanges {
    messages: VecDeque<Message>,
    /// The number of changes in `messages`.
    changes: usize,
    /// Changes that were emitted one by one, to become a message.
    run: Vec<FeedChange>,
    /// Every later change is kept.
    complete_after: Seq,
    /// The sequence numbers after which no subscriber can resume, in order: with each, one step ended and
    /// another one began. A recovery appends to the last commit, and a correction to the last change. A
    /// subscriber there may have been given the first step alone.
    divided: VecDeque<Seq>,
    /// The number of changes since the last subscriber has left.
    unfollowed: usize,
}

impl RecentChanges {
    /// Keeps what is emitted from now on. Everything up to `last` is accepted. If `is_divided`, more was
    /// appended to that sequence number before, or will be.
    pub(super) fn after(last: Seq, is_divided: bool) -> Self {
        let (messages, run) = (VecDeque::new(), Vec::new());
        let divided = is_divided.then_some(last).into_iter().collect();
        Self { messages, changes: 0, run, complete_after: last, divided, unfollowed: 0 }
    }

    /// Keeps a message, and forgets the oldest ones. O(1).
    pub(super) fn push(&mut self, message: &Message, is_followed: bool) {
        self.unfollowed = if is_followed { 0 } else { self.unfollowed + message.changes().len() };
        match message {
            Message::One(change) => {
                if self.run.len() >= RUN {
                    self.end_run();
                }
                self.run.push(change.clone());
            }
            Message::Run(_) | Message::Batch(_) => {
                self.end_run();
                self.keep(message.clone());
            }
        }
        while self.changes > MAX_CHANGES || self.messages.len() > MAX_MESSAGES {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.changes -= oldest.changes().len();
            self.complete_after = self.complete_after.max(oldest.last_seq());
            while self.divided.front().is_some_and(|divided| *divided < self.complete_after) {
                self.divided.pop_front();
            }
            let is_correction = oldest.changes().last().is_some_and(FeedChange::is_rejection);
            if is_correction && matches!(oldest, Message::Run(_)) {
                // From here on, the correction is missing.
                self.divided.push_front(oldest.last_seq());
            }
        }
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            let run = std::mem::replace(&mut self.run, Vec::with_capacity(RUN));
            self.keep(Message::Run(run.into()));
        }
    }

    fn keep(&mut self, message: Message) {
        let last = self.messages.back().map_or(self.complete_after, Message::last_seq);
        if matches!(message, Message::Batch(_)) && message.first_seq() <= last {
            self.divided.push_back(last);
        }
        self.changes += message.changes().len();
        self.messages.push_back(message);
    }

    /// Whether no subscriber has followed for as many changes as are kept.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.unfollowed > MAX_CHANGES
    }

    /// Returns what was emitted after this sequence number, in order; `None` if some of it is forgotten.
    ///
    /// A rejection has the sequence number before it, so one with this sequence number may be repeated.
    pub(super) fn since(&self, seq: Seq) -> Option<VecDeque<Message>> {
        if seq < self.complete_after || self.divided.binary_search(&seq).is_ok() {
            return None;
        }
        let is_later = |change: &FeedChange| change.seq > seq || change.is_rejection() && change.seq == seq;
        let later = self.messages.partition_point(|message| message.last_seq() < seq);
        let mut since = VecDeque::new();
        for message in self.messages.range(later..) {
            match message {
                _ if message.first_seq() > seq => since.push_back(message.clone()),
                // A subscriber has received the whole message, or its position is before it.
                Message::Batch(_) if message.last_seq() == seq => {}
                Message::Batch(changes) => {
                    let changes: Vec<_> = changes.iter().filter(|change| is_later(change)).cloned().collect();
                    since.push_back(Message::Batch(changes.into()));
                }
                Message::Run(_) | Message::One(_) => {
                    let changes = message.changes().iter().filter(|change| is_later(change)).cloned();
                    let changes: Vec<_> = changes.collect();
                    if !changes.is_empty() {
                        since.push_back(Message::Run(changes.into()));
                    }
                }
            }
        }
        let run: Vec<_> = self.run.iter().filter(|change| is_later(change)).cloned().collect();
        if !run.is_empty() {
            since.push_back(Message::Run(run.into()));
        }
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{conformance::shape, feed::FeedEvent};

    fn change(seq: u64) -> FeedChange {
        let entry = Arc::clone(&shape(seq).record(Seq::new(seq)).entry);
        FeedChange::new(Seq::new(seq), FeedEvent::Removed((&entry).into()))
    }

    fn correction(seq: u64) -> FeedChange {
        let entry = Arc::clone(&shape(seq).record(Seq::new(seq)).entry);
        let error = crate::Error::new(crate::ErrorKind::Rejected, "injected by a test");
        FeedChange::new(Seq::new(seq), FeedEvent::Rejected { entry, state: None, error })
    }

    fn batch(seqs: impl IntoIterator<Item = u64>) -> Message {
        Message::Batch(seqs.into_iter().map(change).collect())
    }

    fn since(recent: &RecentChanges, seq: u64) -> Option<Vec<u64>> {
        let messages = recent.since(Seq::new(seq))?;
        Some(messages.iter().flat_map(Message::changes).map(|change| change.seq.get()).collect())
    }

    #[test]
    fn c15_recent_changes_are_complete_or_forgotten() {
        let last = 2 * MAX_CHANGES as u64;
        let mut recent = RecentChanges::after(Seq::new(4), false);
        for seq in 5..=last {
            recent.push(&Message::One(change(seq)), true);
        }
        let oldest = (0..=last).find(|seq| recent.since(Seq::new(*seq)).is_some()).expect("the last one");
        let kept = MAX_CHANGES - RUN..=MAX_CHANGES + RUN;
        assert!(kept.contains(&((last - oldest) as usize)));
        for seq in [oldest, oldest + 1, oldest + RUN as u64, last - 1, last] {
            assert_eq!(since(&recent, seq), Some((seq + 1..=last).collect()), "after {seq}");
        }
        // More than all that is kept, in one step.
        recent.push(&batch(last + 1..=last + 1 + MAX_CHANGES as u64), true);
        assert_eq!(since(&recent, last), None);
        assert_eq!(since(&recent, last + 1 + MAX_CHANGES as u64), Some(Vec::new()));
    }

    #[test]
    fn c15_recent_steps_are_bounded() {
        let mut recent = RecentChanges::after(Seq::ZERO, false);
        for seq in 1..=2 * MAX_MESSAGES as u64 {
            recent.push(&batch([seq]), true);
        }
        assert_eq!(since(&recent, MAX_MESSAGES as u64 - 1), None);
        assert_eq!(since(&recent, MAX_MESSAGES as u64).map(|later| later.len()), Some(MAX_MESSAGES));
    }

    /// A correction has the sequence number of the change before it, which a subscriber may have received
    /// alone.
    #[test]
    fn c15_a_forgotten_correction_cannot_be_resumed_before() {
        let corrected = RUN as u64 - 1;
        let mut recent = RecentChanges::after(Seq::ZERO, false);
        (1..=corrected).for_each(|seq| recent.push(&Message::One(change(seq)), true));
        recent.push(&Message::One(correction(corrected)), true);
        assert_eq!(since(&recent, corrected), Some(vec![corrected]));
        // The first run is forgotten, and no other one.
        let last = (MAX_CHANGES + RUN) as u64;
        (corrected + 1..=last).for_each(|seq| recent.push(&Message::One(change(seq)), true));
        let is_complete = |seq| recent.since(Seq::new(seq)).is_some();
        assert_eq!([corrected - 1, corrected, corrected + 1].map(is_complete), [false, false, true]);
    }

    /// A recovery appends to the last step, whose sequence number a subscriber may have received before.
    #[test]
    fn c15_a_step_that_goes_on_cannot_be_resumed_after() {
        let mut recent = RecentChanges::after(Seq::new(2), false);
        recent.push(&batch([2]), true);
        assert_eq!(since(&recent, 2), None);
        recent.push(&batch([3, 4]), true);
        assert_eq!((since(&recent, 3), since(&recent, 4)), (Some(vec![4]), Some(vec![])));
        recent.push(&batch([4]), true);
        assert_eq!((since(&recent, 3), since(&recent, 4)), (Some(vec![4, 4]), None));
        recent.push(&batch([5]), true);
        recent.push(&batch([5]), true);
        assert_eq!((since(&recent, 4), since(&recent, 5)), (None, None));
    }

    #[test]
    fn recent_changes_end_some_time_after_the_last_subscriber() {
        let mut recent = RecentChanges::after(Seq::ZERO, false);
        for seq in 1..=MAX_CHANGES as u64 {
            recent.push(&Message::One(change(seq)), false);
        }
        assert!(!recent.is_out_of_reach());
        recent.push(&Message::One(change(MAX_CHANGES as u64 + 1)), true);
        for seq in 2..=MAX_CHANGES as u64 + 2 {
            assert!(!recent.is_out_of_reach());
            recent.push(&Message::One(change(MAX_CHANGES as u64 + seq)), false);
        }
        assert!(recent.is_out_of_reach());
    }
}
