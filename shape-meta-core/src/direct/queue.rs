use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    time::Instant,
};

use crate::{
    AttemptContext, Error, ErrorKind, Handle, MutateError, Mutation, Seq, Signal,
    sync::{Mutex, MutexGuard},
};

/// How many tickets are taken for one transaction: some milliseconds of work.
const MAX_TAKEN: usize = 1_024;

/// The callers that wait for a transaction, in the order in which they came.
///
/// At most one thread leads at any time. It takes the tickets at the front, commits them, answers them, and
/// hands over once its own is answered. So a caller waits for the transactions of those before it, and for
/// nothing that came later.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    tickets: VecDeque<Arc<Ticket>>,
    has_leader: bool,
    /// The number of tickets at the front that are taken one at a time.
    alone: usize,
}

/// What a caller waits for in the queue.
#[derive(Debug)]
pub(super) struct Ticket {
    /// `None` for a caller that wants to lead and do something else, such as close.
    pub(super) request: Option<Request>,
    pub(super) queued_at: Instant,
    /// Whether a thread waits that can lead; a future cannot.
    can_lead: bool,
    state: Mutex<TicketState>,
    changed: Signal,
}

/// A mutation of a caller.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) mutation: Mutation,
    /// Whether a live shape with the key of an add is an answer, and not a refusal.
    pub(super) or_get: bool,
    pub(super) attempt: AttemptContext,
}

/// The answer to a mutation that was not refused.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The sequence number that the outcome rests on, which is committed.
    pub(super) seq: Seq,
    /// The shape that has the key already, if the request was to get it.
    pub(super) existing: Option<Handle>,
}

#[derive(Debug)]
enum TicketState {
    Waiting,
    Leads,
    Answered(Result<Answer, MutateError>),
    Collected,
}

/// What a caller does next.
pub(super) enum Turn {
    Wait,
    Lead,
    Return(Result<Answer, MutateError>),
}

/// Who leads after a handover.
pub(super) enum NextLeader {
    /// No one waits, or the one that leads now knows.
    Known,
    /// Futures wait, and a thread is needed.
    Thread,
}

impl Ticket {
    /// Returns the ticket of a request. A thread that waits `can_lead`, and a future cannot.
    pub(super) fn new(request: Option<Request>, can_lead: bool) -> Arc<Self> {
        Arc::new(Self {
            request,
            queued_at: Instant::now(),
            can_lead,
            state: Mutex::new(TicketState::Waiting),
            changed: Signal::new(),
        })
    }

    pub(super) fn answer(&self, outcome: Result<Answer, MutateError>) {
        let mut state = self.state();
        if !matches!(*state, TicketState::Answered(_) | TicketState::Collected) {
            *state = TicketState::Answered(outcome);
        }
        drop(state);
        self.changed.raise();
    }

    /// Whether it was answered, or given up.
    pub(super) fn is_answered(&self) -> bool {
        matches!(*self.state(), TicketState::Answered(_) | TicketState::Collected)
    }

    /// Returns what its caller does next. Listen to [`changed`](Self::changed) before.
    pub(super) fn turn(&self) -> Turn {
        let mut state = self.state();
        match *state {
            TicketState::Waiting => Turn::Wait,
            TicketState::Leads => {
                *state = TicketState::Waiting;
                Turn::Lead
            }
            TicketState::Answered(_) => match std::mem::replace(&mut *state, TicketState::Collected) {
                TicketState::Answered(outcome) => Turn::Return(outcome),
                _ => Turn::Wait,
            },
            // The caller has its answer and does not ask again.
            TicketState::Collected => Turn::Wait,
        }
    }

    /// Gives the answer up, because the future was dropped. Unless the request was taken, nothing is
    /// committed.
    pub(super) fn abandon(&self) {
        *self.state() = TicketState::Collected;
    }

    pub(super) fn changed(&self) -> &Signal {
        &self.changed
    }

    fn lead(&self) {
        *self.state() = TicketState::Leads;
        self.changed.raise();
    }

    fn state(&self) -> MutexGuard<'_, TicketState> {
        // Each change is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Appends a ticket. Returns whether the caller leads now.
    pub(super) fn push(&self, ticket: &Arc<Ticket>) -> bool {
        let mut waiting = self.waiting();
        let leads = !std::mem::replace(&mut waiting.has_leader, true);
        // One that wants to do something else has it at once, and is not taken for a mutation.
        if ticket.request.is_some() || !leads {
            waiting.tickets.push_back(Arc::clone(ticket));
        }
        leads
    }

    /// Takes the tickets for the next transaction from the front, for the leader. None if no one waits, or
    /// the next one wants to lead.
    pub(super) fn take(&self) -> Callers {
        let mut waiting = self.waiting();
        let most = if waiting.alone > 0 { 1 } else { MAX_TAKEN };
        let mut taken = VecDeque::new();
        while taken.len() < most && waiting.tickets.front().is_some_and(|next| next.request.is_some()) {
            taken.extend(waiting.tickets.pop_front().filter(|ticket| !ticket.is_answered()));
        }
        waiting.alone = waiting.alone.saturating_sub(taken.len());
        Callers(taken)
    }

    /// Returns a list of tickets that go back to the front.
    pub(super) fn postpone(&self) -> Postponed<'_> {
        Postponed { queue: self, tickets: Vec::new() }
    }

    /// Puts the callers of a transaction back to the front. Each gets a transaction of its own.
    pub(super) fn put_back_alone(&self, mut callers: Callers) {
        let mut postponed = self.postpone();
        postponed.tickets.extend(callers.drain());
        let alone = postponed.tickets.len();
        drop(postponed);
        self.waiting().alone = alone;
    }

    /// Makes the next caller lead.
    pub(super) fn hand_over(&self) -> NextLeader {
        let mut waiting = self.waiting();
        let Some(front) = waiting.tickets.front() else {
            (waiting.has_leader, waiting.alone) = (false, 0);
            return NextLeader::Known;
        };
        if front.request.is_none() {
            if let Some(next) = waiting.tickets.pop_front() {
                next.lead();
            }
            return NextLeader::Known;
        }
        match waiting.tickets.iter().find(|ticket| ticket.can_lead && ticket.request.is_some()) {
            Some(next) => {
                next.lead();
                NextLeader::Known
            }
            None => NextLeader::Thread,
        }
    }

    /// Removes a ticket, unless it was taken or has the lead. O(callers that wait).
    pub(super) fn withdraw(&self, ticket: &Arc<Ticket>) {
        self.waiting().tickets.retain(|one| !Arc::ptr_eq(one, ticket));
    }

    /// Takes the tickets at the front that wait for a thread to lead.
    pub(super) fn take_leaderless(&self) -> Callers {
        let mut waiting = self.waiting();
        let mut taken = VecDeque::new();
        while waiting.tickets.front().is_some_and(|next| next.request.is_some() && !next.can_lead) {
            taken.extend(waiting.tickets.pop_front());
        }
        Callers(taken)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Callers that were taken from the queue. Those that are left when this is dropped, which only a panic does,
/// are answered.
pub(super) struct Callers(VecDeque<Arc<Ticket>>);

impl Callers {
    pub(super) fn none() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn one(ticket: &Arc<Ticket>) -> Self {
        Self([Arc::clone(ticket)].into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, ticket: Arc<Ticket>) {
        self.0.push_back(ticket);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<Ticket>, &Request)> {
        self.0.iter().filter_map(|ticket| Some((ticket, ticket.request.as_ref()?)))
    }

    pub(super) fn first(&self) -> Option<(&Arc<Ticket>, &Request)> {
        self.iter().next()
    }

    pub(super) fn remove_first(&mut self) {
        self.0.pop_front();
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<Ticket>> {
        std::iter::from_fn(|| self.0.pop_front())
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        for ticket in self.0.drain(..) {
            let message = "the store below, or an observer, panicked in the transaction of this mutation, \
                           which may be committed all the same: read the shape to find out";
            ticket.answer(Err(Error::new(ErrorKind::Panicked, message).into()));
        }
    }
}

/// Tickets that go back to the front of the queue, in this order, when this is dropped.
pub(super) struct Postponed<'a> {
    queue: &'a Queue,
    tickets: Vec<Arc<Ticket>>,
}

impl Postponed<'_> {
    pub(super) fn push(&mut self, ticket: Arc<Ticket>) {
        self.tickets.push(ticket);
    }
}

impl Drop for Postponed<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        for ticket in self.tickets.drain(..).rev() {
            waiting.tickets.push_front(ticket);
        }
    }
}
