use std::time::Duration;

/// The reaction of an open, or of a promotion, to another live owner of the database on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnLiveOwner {
    /// Fails with [`ErrorKind::AlreadyOpen`](shape_meta_core::ErrorKind::AlreadyOpen). Nothing is changed.
    #[default]
    Fail,
    /// Waits at most this long until the other owner has closed or its process has ended, then fails with
    /// `AlreadyOpen`. For deploys that start the new process before the old one has ended: nothing is lost.
    /// Tries the lock every ten milliseconds.
    Wait(Duration),
    /// Fences the other owner and takes the database over. From then on every write of that owner fails with
    /// [`Fenced`](shape_meta_core::ErrorKind::Fenced). Mutations that it has acknowledged and not committed
    /// never reach the database; it can still read them. For an owner that hangs.
    ///
    /// Fails with `Corrupt` on a damaged database, which is never moved aside under a live owner. Fails with
    /// `Busy` in [`Mode::Exclusive`](crate::Mode::Exclusive), whose only connection keeps the file locked.
    Fence,
}
