use std::{sync::Arc, thread, time::Instant};

use shape_meta_core::{Error, ErrorKind};

use super::{pace::Rest, worker::Cleanup};

impl Cleanup {
    /// Makes the worker look for tasks. Starts its thread if there is none.
    pub(crate) fn wake(self: &Arc<Self>) {
        let mut state = self.state();
        state.has_news = true;
        if state.has_thread {
            self.notify();
            return;
        }
        if state.is_closed || !self.background || self.store.get().is_none() {
            return;
        }
        let worker = Arc::clone(self);
        let spawned = thread::Builder::new().name("shape-meta-clean".to_owned()).spawn(move || worker.run());
        match spawned {
            Ok(_) => state.has_thread = true,
            // The next removal or open tries again.
            Err(error) => {
                let message = format!("the cleanup thread could not be started: {error}; it is tried again");
                state.last_error = Some(Error::new(ErrorKind::Io, message).with_source(error));
            }
        }
    }

    /// Runs parts until nothing is left to do, or the store is closed.
    fn run(self: Arc<Self>) {
        loop {
            let outcome = self.step();
            let mut state = self.state();
            let rest = match outcome {
                Ok(true) => None,
                Ok(false) => state.pace.rest(),
                Err(_) => {
                    let delay = state.pace.retry_delay();
                    Some(Rest { longest: delay, with_news: delay })
                }
            };
            let is_done = matches!(outcome, Ok(false)) && rest.is_none() && !state.has_news;
            if let Some(rest) = rest {
                let begun = Instant::now();
                loop {
                    let limit = if state.has_news { rest.with_news } else { rest.longest };
                    let left = limit.saturating_sub(begun.elapsed());
                    if state.is_closed || left.is_zero() {
                        break;
                    }
                    state = self.wait(state, left);
                }
            }
            if is_done || state.is_closed {
                // Under the same lock as the look at the news: what comes later starts another thread.
                state.has_thread = false;
                return;
            }
        }
    }
}
