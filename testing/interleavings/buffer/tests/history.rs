use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::model::{Answer, Model, Op};

/// What was called when, and what came of it.
///
/// Its lock and its clock are the standard library's: to write something down is no moment at which the
/// scheduler may switch.
#[derive(Default)]
pub(crate) struct History {
    clock: AtomicUsize,
    calls: Mutex<Vec<Call>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) answer: Answer,
    begun: usize,
    ended: usize,
}

impl History {
    pub(crate) fn record(&self, op: Op, call: impl FnOnce(&Op) -> Answer) {
        let begun = self.clock.fetch_add(1, Ordering::SeqCst);
        let answer = call(&op);
        let ended = self.clock.fetch_add(1, Ordering::SeqCst);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(Call { op, answer, begun, ended });
    }

    pub(crate) fn into_calls(self) -> Vec<Call> {
        self.calls.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An order of the calls in which each comes before all that began after it had ended, and in which the model
/// gives the same answers, if there is one (Wing and Gong's search; a history has some ten calls).
pub(crate) fn explain(calls: &[Call], model: &Model) -> Option<Vec<Op>> {
    let Some(earliest_end) = calls.iter().map(|call| call.ended).min() else { return Some(Vec::new()) };
    (0..calls.len()).filter(|next| calls[*next].begun < earliest_end).find_map(|next| {
        let mut model = model.clone();
        let mut rest = calls.to_vec();
        let Call { op, answer, .. } = rest.swap_remove(next);
        if !model.step(&op).fits(&answer) {
            return None;
        }
        let mut order = explain(&rest, &model)?;
        order.insert(0, op);
        Some(order)
    })
}

#[test]
fn the_search_bites() {
    let call = |op, answer, begun, ended| Call { op, answer, begun, ended };
    let added = call(Op::Add("a", 1), Answer::At(1), 0, 3);
    let seen = |total, begun, ended| call(Op::Counts, Answer::Total(total), begun, ended);
    let is = |calls: &[Call]| explain(calls, &Model::default()).is_some();
    assert!(is(&[added.clone(), seen(0, 1, 2), seen(1, 4, 5)]), "either, while it is being added");
    assert!(is(&[added.clone(), seen(1, 1, 2), seen(1, 4, 5)]));
    assert!(!is(&[added.clone(), seen(0, 4, 5)]), "it was added before");
    assert!(!is(&[added, seen(1, 1, 2), seen(0, 2, 6)]), "it was seen before");
}
