use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::model::{Answer, Model, Op};

/// The calls of all threads, with their times and answers.
///
/// Its lock and its clock are those of the standard library, so that the scheduler does not switch while a
/// call is recorded.
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

/// Returns a sequence of the calls in which each comes before all that began after it ended, and in which the
/// model gives the same answers, if there is one. This is the search of Wing and Gong; a history has about
/// ten calls.
pub(crate) fn linearize(calls: &[Call], model: &Model) -> Option<Vec<Op>> {
    let Some(earliest_end) = calls.iter().map(|call| call.ended).min() else { return Some(Vec::new()) };
    (0..calls.len()).filter(|next| calls[*next].begun < earliest_end).find_map(|next| {
        let mut model = model.clone();
        let mut rest = calls.to_vec();
        let Call { op, answer, .. } = rest.swap_remove(next);
        if !model.step(&op).fits(&answer) {
            return None;
        }
        let mut sequence = linearize(&rest, &model)?;
        sequence.insert(0, op);
        Some(sequence)
    })
}

#[test]
fn the_search_detects_wrong_answers() {
    let call = |op, answer, begun, ended| Call { op, answer, begun, ended };
    let added = call(Op::Add("a", 1), Answer::At(1), 0, 3);
    let seen = |total, begun, ended| call(Op::Counts, Answer::Total(total), begun, ended);
    let is = |calls: &[Call]| linearize(calls, &Model::default()).is_some();
    assert!(is(&[added.clone(), seen(0, 1, 2), seen(1, 4, 5)]), "either answer is right during the add");
    assert!(is(&[added.clone(), seen(1, 1, 2), seen(1, 4, 5)]));
    assert!(!is(&[added.clone(), seen(0, 4, 5)]), "the add had ended");
    assert!(!is(&[added, seen(1, 1, 2), seen(0, 2, 6)]), "an earlier read had seen it");
}
