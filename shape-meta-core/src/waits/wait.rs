use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake},
    time::Instant,
};

use super::{AwaitShapes, Milestone, NotReached};
use crate::{Error, ErrorKind, Handle, Metadata, NotDurable, Seq, Signal, SnapshotState, Waiter};

/// Where a wait looks up its shape if memory has no answer.
#[derive(Clone, Copy)]
pub(crate) enum ReadsBelow {
    /// On the thread that polls it, which may block.
    Here,
    /// On a thread of the store, if it has one.
    Elsewhere,
}

/// The shape that a wait is for.
struct Shape<'a, S: ?Sized> {
    store: &'a S,
    handle: Handle,
    reads_below: ReadsBelow,
}

/// Waits until the shape that has this handle now has reached the milestone.
pub(crate) async fn wait_for<S: AwaitShapes + ?Sized>(
    store: &S,
    handle: &str,
    milestone: Milestone,
    reads_below: ReadsBelow,
) -> Result<(), NotReached> {
    let not_live = if milestone == Milestone::Removed { Ok(()) } else { Err(NotReached::Removed) };
    // A text that is no handle is that of no live shape.
    let Ok(handle) = Handle::new(handle) else { return not_live };
    let shape = Shape { store, handle, reads_below };
    let Some(found) = shape.metadata().await? else { return not_live };
    match milestone {
        Milestone::Snapshot(_) if is_reached(found.state, milestone) => return Ok(()),
        Milestone::Durable => {
            let Some(receipt) = store.shown_receipt() else { return Ok(()) };
            let durable = pin!(receipt.durable());
            return shape.until(&found, milestone, durable).await;
        }
        Milestone::Snapshot(_) | Milestone::Removed => {}
    }
    shape.until(&found, milestone, pin!(std::future::pending())).await
}

impl<S: AwaitShapes + ?Sized> Shape<'_, S> {
    /// Waits until a look at the shape that was found decides, or until it is `durable`.
    async fn until(
        &self,
        found: &Metadata,
        milestone: Milestone,
        mut durable: Pin<&mut (impl Future<Output = Result<(), NotDurable>> + Send)>,
    ) -> Result<(), NotReached> {
        let created = found.created;
        loop {
            let waits = self.store.shape_waits();
            let watch = waits.watch(self.handle.clone());
            loop {
                // Listen, then look: what changes in between is not missed.
                let mut waiter = watch.listen();
                if !Arc::ptr_eq(&waits, &self.store.shape_waits()) {
                    // A standby was promoted: its shapes are changed by another layer from now on.
                    break;
                }
                // Read before the shape: after a close no shape changes.
                let is_closed = waits.is_closed();
                if watch.marked(created).is_some_and(|state| is_reached(state, milestone)) {
                    return Ok(());
                }
                if let Some(outcome) = self.look(created, milestone).await? {
                    return outcome;
                }
                if is_closed && milestone != Milestone::Durable {
                    return Err(NotReached::Closed);
                }
                let settled = poll_fn(|context| first(&mut durable, &mut waiter, context)).await;
                if let Some(outcome) = settled {
                    outcome.map_err(NotReached::NotDurable)?;
                    // What was found is committed, or the store below has rejected it.
                    return match self.live(created).await? {
                        None => Err(NotReached::Removed),
                        Some(live) if live.state < found.state => Err(undone(found.state, live.state)),
                        Some(_) => Ok(()),
                    };
                }
            }
        }
    }

    /// Looks at the shape with this id. Returns `None` if the milestone can still be reached.
    async fn look(
        &self,
        created: Seq,
        milestone: Milestone,
    ) -> Result<Option<Result<(), NotReached>>, NotReached> {
        Ok(match self.live(created).await? {
            None if milestone == Milestone::Removed => Some(Ok(())),
            None => Some(Err(NotReached::Removed)),
            Some(live) => is_reached(live.state, milestone).then_some(Ok(())),
        })
    }

    /// Returns the shape with this id, if it is live.
    async fn live(&self, created: Seq) -> Result<Option<Metadata>, NotReached> {
        Ok(self.metadata().await?.filter(|live| live.created == created))
    }

    async fn metadata(&self) -> Result<Option<Metadata>, NotReached> {
        let elsewhere = match self.reads_below {
            ReadsBelow::Here => None,
            ReadsBelow::Elsewhere => self.store.look_up_elsewhere(&self.handle),
        };
        let found = match elsewhere {
            Some(look_up) => look_up.await,
            None => self.store.metadata(&self.handle),
        };
        found.map_err(NotReached::Failed)
    }
}

/// Returns the error of a wait for the durability of a snapshot state that was undone since.
fn undone(state: SnapshotState, left: SnapshotState) -> NotReached {
    let message = format!(
        "the snapshot state {state}, which the shape had when the wait began, was undone; the shape is live, \
         and its snapshot state is {left}; mark it again"
    );
    NotReached::NotDurable(NotDurable::Rejected(Error::new(ErrorKind::Rejected, message)))
}

/// Whether a live shape with this snapshot state has reached the milestone.
fn is_reached(state: SnapshotState, milestone: Milestone) -> bool {
    matches!(milestone, Milestone::Snapshot(wanted) if state >= wanted)
}

/// Returns the outcome of the first future, or `None` once the waiter is woken.
fn first<T>(
    durable: &mut Pin<&mut (impl Future<Output = T> + Send)>,
    waiter: &mut Waiter,
    context: &mut Context<'_>,
) -> Poll<Option<T>> {
    match durable.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => Pin::new(waiter).poll(context).map(|()| None),
    }
}

/// Runs a future on this thread until the deadline. Returns `None` if that passes first.
pub(super) fn block_on<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Option<T> {
    let woken = Arc::new(Woken(Signal::new()));
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut has_time = true;
    loop {
        // Listen, then poll: a wake-up during the poll is not missed.
        let waiter = woken.0.listen();
        match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return Some(outcome),
            Poll::Pending if !has_time => return None,
            Poll::Pending => has_time = waiter.wait(deadline),
        }
    }
}

struct Woken(Signal);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.raise();
    }
}
