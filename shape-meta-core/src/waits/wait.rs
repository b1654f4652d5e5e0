use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake},
    time::Instant,
};

use super::{AwaitShapes, Milestone, NotReached};
use crate::{Handle, NotDurable, Seq, Signal, SnapshotState, Waiter};

/// Waits until the shape that has this handle now has reached the milestone.
pub(super) async fn wait_for<S: AwaitShapes + ?Sized>(
    store: &S,
    handle: &str,
    milestone: Milestone,
) -> Result<(), NotReached> {
    let found = store.metadata(handle).map_err(NotReached::Failed)?;
    // A text that is no handle is that of no live shape.
    let (Some(found), Ok(watched)) = (found, Handle::new(handle)) else {
        return if milestone == Milestone::Removed { Ok(()) } else { Err(NotReached::Removed) };
    };
    let shape = found.created;
    match milestone {
        Milestone::Snapshot(_) if is_reached(found.state, milestone) => return Ok(()),
        Milestone::Durable => {
            let Some(receipt) = store.shown_receipt() else { return Ok(()) };
            let durable = pin!(receipt.durable());
            return until(store, &watched, shape, milestone, durable).await;
        }
        Milestone::Snapshot(_) | Milestone::Removed => {}
    }
    until(store, &watched, shape, milestone, pin!(std::future::pending())).await
}

/// Waits until a look at the shape decides, or until it is `durable`.
async fn until<S: AwaitShapes + ?Sized>(
    store: &S,
    handle: &Handle,
    shape: Seq,
    milestone: Milestone,
    mut durable: Pin<&mut (impl Future<Output = Result<(), NotDurable>> + Send)>,
) -> Result<(), NotReached> {
    loop {
        let waits = store.shape_waits();
        let watch = waits.watch(handle.clone());
        loop {
            // Listen, then look: what changes in between is not missed.
            let mut waiter = watch.listen();
            if !Arc::ptr_eq(&waits, &store.shape_waits()) {
                // A standby was promoted: its shapes are changed by another layer from now on.
                break;
            }
            // Read before the shape: after a close no shape changes.
            let is_closed = waits.is_closed();
            if watch.marked(shape).is_some_and(|state| is_reached(state, milestone)) {
                return Ok(());
            }
            if let Some(outcome) = look(store, handle, shape, milestone)? {
                return outcome;
            }
            if is_closed && milestone != Milestone::Durable {
                return Err(NotReached::Closed);
            }
            let settled = poll_fn(|context| first(&mut durable, &mut waiter, context)).await;
            if let Some(outcome) = settled {
                outcome.map_err(NotReached::NotDurable)?;
                // It was committed, or the store below has rejected it.
                return look(store, handle, shape, milestone)?.unwrap_or(Ok(()));
            }
        }
    }
}

/// Looks at the shape. Returns `None` if the milestone can still be reached.
fn look<S: AwaitShapes + ?Sized>(
    store: &S,
    handle: &str,
    shape: Seq,
    milestone: Milestone,
) -> Result<Option<Result<(), NotReached>>, NotReached> {
    let live = store.metadata(handle).map_err(NotReached::Failed)?.filter(|live| live.created == shape);
    Ok(match live {
        None if milestone == Milestone::Removed => Some(Ok(())),
        None => Some(Err(NotReached::Removed)),
        Some(live) => is_reached(live.state, milestone).then_some(Ok(())),
    })
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
