use std::sync::Arc;

use shape_meta_core::Result;

use super::PostgresStandby;
use crate::notify::{Owned, Subscription};

impl PostgresStandby {
    /// Calls `hook` soon after each commit of the owner, on a thread that may block: refresh the layer above
    /// there. It is called with whether a live process owns the stack; if none does, also each time that the
    /// pool [polls](crate::PoolOptions::poll_interval). While it runs, further calls become one. It returns
    /// whether it has succeeded; if not, the next poll calls it again.
    ///
    /// At most four hooks of a pool run at the same time. Ends when the standby is dropped or promoted. A
    /// second call replaces the hook. Does not wait for the server.
    ///
    /// # Errors
    ///
    /// None that an open standby can have.
    pub fn follow(&self, hook: impl Fn(bool) -> bool + Send + Sync + 'static) -> Result<()> {
        let subscription =
            Subscription::new(self.reader.stack.number, Arc::new(move |owned| hook(owned == Owned::Yes)));
        let schema = self.reader.options.schema_name()?;
        self.reader.pool.listeners().follow(&self.reader.pool, &schema, &subscription)?;
        if let Some(former) = self.subscription().replace(subscription) {
            former.end();
        }
        Ok(())
    }

    /// Calls the hook no more.
    pub(super) fn unfollow(&self) {
        if let Some(subscription) = self.subscription().take() {
            subscription.end();
        }
    }
}
