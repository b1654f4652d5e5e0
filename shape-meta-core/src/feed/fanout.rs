use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use super::{
    Feed, FeedChange, FeedError, FeedOptions, FeedStage,
    queue::{End, Message, QueueState},
    recent::RecentChanges,
};
use crate::{
    Seq,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
};

/// The subscribers of one store, for implementors of a layer on top, which emits changes.
///
/// Changes are emitted under a lock of that layer, so that they have an order, and they are given to the
/// subscribers without it: [`accept`](Self::accept) appends to a short list, and [`deliver`](Self::deliver)
/// passes it on. No subscriber is ever waited for.
///
/// Locks: the list of accepted changes is taken under that of the subscribers, and both under the lock of the
/// layer, never the other way round. Each is held for a few instructions, or for one pass over the
/// subscribers.
#[derive(Debug, Default)]
pub struct Feeds {
    /// A bit for each stage that has a subscriber, or had one that may resume. Written under the lock of the
    /// subscribers.
    watched: AtomicU8,
    /// Visible changes that are not delivered yet: at most a few for each thread that mutates, since a
    /// mutation delivers before it returns.
    accepted: Mutex<Vec<FeedChange>>,
    subscribers: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    all: Vec<Subscriber>,
    next_id: u64,
    is_closed: bool,
    /// The latest changes of each stage that had a subscriber.
    recent: [Option<RecentChanges>; 2],
    /// The change log does not say what became of all that was visible up to here: changes were rejected, or
    /// a repair may have lost shapes.
    corrected_through: Option<Seq>,
    /// The commits within which shapes were added and then changed, each by its first and its last sequence
    /// number, the oldest first. The change log does not have these changes, which a list in between lacks.
    cancelled: VecDeque<(Seq, Seq)>,
    /// Such commits up to here are forgotten.
    cancelled_through: Seq,
    /// An allocation to take the accepted changes with.
    spare: Vec<FeedChange>,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    stage: FeedStage,
    capacity: usize,
    sender: flume::Sender<Message>,
    queue: Arc<QueueState>,
}

/// The stages that have subscribers, or had one that may resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched(u8);

impl Watched {
    /// Whether nothing has to be emitted.
    pub fn by_none(self) -> bool {
        self.0 == 0
    }

    /// Whether the changes of this stage have to be emitted.
    pub fn at(self, stage: FeedStage) -> bool {
        self.0 & bit(stage) != 0
    }
}

/// The commits that are remembered because they have cancelled shapes: some seconds of a storm.
const MAX_CANCELLED: usize = 256;

/// Why feeds end with a repair.
const REPAIRED: &str = "the database was repaired, and may have lost shapes";

const STAGES: [FeedStage; 2] = [FeedStage::Visible, FeedStage::Durable];

/// Returns the index of a stage in [`STAGES`].
fn index(stage: FeedStage) -> usize {
    match stage {
        FeedStage::Visible => 0,
        FeedStage::Durable => 1,
    }
}

fn bit(stage: FeedStage) -> u8 {
    1 << index(stage)
}

impl Subscribers {
    fn check_not_corrected(&self, after: Seq) -> Result<(), FeedError> {
        if self.corrected_through.is_some_and(|corrected| after <= corrected) {
            let why = "changes that were visible have been rejected, or lost by a repair, since then";
            return Err(FeedError::ListAnew { why });
        }
        Ok(())
    }
}

impl Feeds {
    /// Returns the stages whose changes have to be emitted: those that have subscribers, or had one that may
    /// resume. One atomic load: what a change costs that no one follows.
    ///
    /// The caller holds the lock under which it emits changes. A subscriber that joins under the same lock
    /// is seen by every later change.
    pub fn watched(&self) -> Watched {
        Watched(self.watched.load(Ordering::Relaxed))
    }

    /// Adds a subscriber to a store that has accepted everything up to `last`. The caller holds the lock
    /// under which it emits changes. A recovery may have appended to the changes of `appended_to`, or may
    /// still do so: a subscriber that resumes after that number needs the change log.
    ///
    /// A subscriber that resumes is given what memory has. Where it does not reach back, the caller
    /// [catches up](Feed::catch_up_from) from the change log, unless the feed
    /// [is complete](Feed::is_complete).
    ///
    /// # Errors
    ///
    /// [`Closed`](FeedError::Closed) after [`close`](Self::close). [`ListAnew`](FeedError::ListAnew) if the
    /// options begin after a number that is not reached yet, or after one since which changes were rejected.
    pub fn subscribe(
        self: &Arc<Self>,
        options: &FeedOptions,
        last: Seq,
        appended_to: Seq,
    ) -> Result<Feed, FeedError> {
        let mut subscribers = self.subscribers();
        if subscribers.is_closed {
            return Err(FeedError::Closed);
        }
        if let Some(after) = options.after
            && after > last
        {
            return Err(FeedError::ListAnew { why: "the store has not reached that sequence number" });
        }
        // What was accepted before is not for the queue of the new subscriber.
        self.pass_on(&mut subscribers);
        let recent = subscribers.recent[index(options.stage)].as_ref();
        let missed = options.after.and_then(|after| recent.and_then(|recent| recent.since(after)));
        if let Some(after) = options.after
            && missed.is_none()
        {
            subscribers.check_not_corrected(after)?;
        }
        let is_corrected = subscribers.corrected_through.is_some_and(|corrected| last <= corrected);
        let is_divided = is_corrected || last == appended_to && last > Seq::ZERO;
        subscribers.recent[index(options.stage)]
            .get_or_insert_with(|| RecentChanges::after(last, is_divided));
        let (sender, receiver) = flume::bounded(options.capacity);
        let queue = Arc::new(QueueState::default());
        let id = subscribers.next_id;
        subscribers.next_id += 1;
        let (stage, capacity) = (options.stage, options.capacity);
        subscribers.all.push(Subscriber { id, stage, capacity, sender, queue: Arc::clone(&queue) });
        self.set_watched(&subscribers);
        let mut feed = Feed::new(Arc::downgrade(self), id, receiver, queue, options.after.unwrap_or(last));
        if let (Some(after), Some(missed)) = (options.after, missed) {
            feed.resume(after, missed);
        }
        Ok(feed)
    }

    /// Emits a change that is visible now. The caller holds the lock that gives changes their order, and
    /// calls [`deliver`](Self::deliver) without it.
    pub fn accept(&self, change: FeedChange) {
        self.accepted().push(change);
    }

    /// Emits the corrections of visible changes that were rejected, when everything up to `last` is accepted.
    /// As [`accept`](Self::accept) does, also without a subscriber.
    pub fn correct(&self, last: Seq, corrections: impl IntoIterator<Item = FeedChange>) {
        let mut subscribers = self.subscribers();
        subscribers.corrected_through = subscribers.corrected_through.max(Some(last));
        drop(subscribers);
        self.accepted().extend(corrections);
    }

    /// Records that a commit of the mutations from `first` to `last` leaves out changes that a list in
    /// between lacks: removals and marks of shapes that are added in the same commit.
    pub fn cancelled(&self, first: Seq, last: Seq) {
        let mut subscribers = self.subscribers();
        subscribers.cancelled.push_back((first, last));
        if subscribers.cancelled.len() > MAX_CANCELLED
            && let Some((_, last)) = subscribers.cancelled.pop_front()
        {
            subscribers.cancelled_through = last;
        }
    }

    /// Checks that the change log names all that has become of a list as of the sequence number after which
    /// the options begin. Everything that was accepted before the subscription must be committed.
    ///
    /// # Errors
    ///
    /// [`ListAnew`](FeedError::ListAnew) if a visible list of that number may have shapes that were never
    /// committed. Durable changes are given whole commits at a time.
    pub fn check_not_cancelled(&self, options: &FeedOptions) -> Result<(), FeedError> {
        let Some(after) = options.after.filter(|_| options.stage == FeedStage::Visible) else {
            return Ok(());
        };
        let subscribers = self.subscribers();
        // By the flush that the subscription has asked for.
        subscribers.check_not_corrected(after)?;
        let is_within = |(first, last): &(Seq, Seq)| *first <= after && after < *last;
        if after < subscribers.cancelled_through || subscribers.cancelled.iter().any(is_within) {
            let why = "shapes that were visible at that sequence number have been removed or marked before they \
                       were on disk";
            return Err(FeedError::ListAnew { why });
        }
        Ok(())
    }

    /// Gives the accepted changes to the subscribers of visible changes. When it returns, everything that was
    /// accepted before the call is in their queues.
    ///
    /// Some 100 ns for each change and subscriber. Waits for another delivery, and for no subscriber.
    pub fn deliver(&self) {
        let mut subscribers = self.subscribers();
        self.pass_on(&mut subscribers);
    }

    /// Gives changes of one step (a commit, a refresh) to the subscribers of these stages. A subscriber gets
    /// all of them or none. The caller emits in the order of sequence numbers.
    pub fn publish(&self, stages: &[FeedStage], changes: Vec<FeedChange>) {
        if changes.is_empty() {
            return;
        }
        let batch: Arc<[FeedChange]> = changes.into();
        let mut subscribers = self.subscribers();
        let is_changed = subscribers.send(stages, &Message::Batch(batch));
        if is_changed {
            self.set_watched(&subscribers);
        }
    }

    /// Ends all feeds because what has changed cannot be named. Later subscribers are accepted.
    pub fn list_anew(&self, why: &'static str) {
        self.end(&mut self.subscribers(), &End::ListAnew(why));
    }

    /// Ends all feeds because a repair of the database may have lost shapes. What was accepted up to `last`
    /// cannot be resumed after.
    pub fn repaired(&self, last: Seq) {
        let mut subscribers = self.subscribers();
        subscribers.corrected_through = subscribers.corrected_through.max(Some(last));
        self.end(&mut subscribers, &End::ListAnew(REPAIRED));
    }

    /// Ends all feeds, and refuses later subscribers.
    pub fn close(&self) {
        let mut subscribers = self.subscribers();
        subscribers.is_closed = true;
        self.end(&mut subscribers, &End::Closed);
    }

    fn end(&self, subscribers: &mut Subscribers, end: &End) {
        self.pass_on(subscribers);
        for subscriber in subscribers.all.drain(..) {
            subscriber.queue.end(end.clone());
        }
        // What follows may not be what follows after these changes.
        subscribers.recent = [None, None];
        self.set_watched(subscribers);
    }

    /// Removes a subscriber that has dropped its feed.
    pub(super) fn unsubscribe(&self, id: u64) {
        let mut subscribers = self.subscribers();
        subscribers.all.retain(|subscriber| subscriber.id != id);
    }

    fn pass_on(&self, subscribers: &mut Subscribers) {
        let spare = std::mem::take(&mut subscribers.spare);
        let mut accepted = std::mem::replace(&mut *self.accepted(), spare);
        let mut is_changed = false;
        for change in accepted.drain(..) {
            is_changed |= subscribers.send(&[FeedStage::Visible], &Message::One(change));
        }
        subscribers.spare = accepted;
        if is_changed {
            self.set_watched(subscribers);
        }
    }

    fn set_watched(&self, subscribers: &Subscribers) {
        let is_watched = |stage: &&FeedStage| subscribers.recent[index(**stage)].is_some();
        let watched = STAGES.iter().filter(is_watched).fold(0, |watched, stage| watched | bit(*stage));
        self.watched.store(watched, Ordering::Relaxed);
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        // Each step under this lock is complete in itself.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepted(&self) -> MutexGuard<'_, Vec<FeedChange>> {
        // No code that can panic runs under this lock.
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscribers {
    /// Sends a message to the subscribers of these stages, ends those that lag or are gone, and keeps the
    /// message for those that resume. Returns whether the last one that may resume is gone.
    fn send(&mut self, stages: &[FeedStage], message: &Message) -> bool {
        let mut followed = 0;
        self.all.retain(|subscriber| {
            if !stages.contains(&subscriber.stage) {
                return true;
            }
            let message = message.clone();
            let fits = subscriber.queue.reserve(message.changes().len(), subscriber.capacity);
            if !fits {
                subscriber.queue.end(End::Lagged);
            }
            // A queue has at most as many messages as changes, so one that fits is not refused.
            let is_sent = fits && subscriber.sender.try_send(message).is_ok();
            followed |= if is_sent { bit(subscriber.stage) } else { 0 };
            is_sent
        });
        let mut is_changed = false;
        for stage in stages {
            let Some(recent) = &mut self.recent[index(*stage)] else { continue };
            recent.push(message, followed & bit(*stage) != 0);
            if recent.is_out_of_reach() {
                self.recent[index(*stage)] = None;
                is_changed = true;
            }
        }
        is_changed
    }
}
