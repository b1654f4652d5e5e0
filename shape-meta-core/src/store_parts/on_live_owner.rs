use std::time::Duration;

/// The reaction of an open, or of a promotion, to another live owner of the database.
///
/// An owner of a SQLite database is live while it holds the lock on a file next to it, on this machine. An
/// owner of a stack in PostgreSQL is live until it has closed it, or its lease has run out by the clock of
/// the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnLiveOwner {
    /// Fails with [`ErrorKind::AlreadyOpen`](crate::ErrorKind::AlreadyOpen). Nothing is changed.
    #[default]
    Fail,
    /// Waits at most this long until the other owner is not live any more, then fails with `AlreadyOpen`. For
    /// deploys that start the new process before the old one has ended: nothing is lost. Looks again every
    /// ten milliseconds (SQLite), or every tenth of a second and when the lease ends (PostgreSQL).
    /// `Duration::MAX` waits without a limit.
    Wait(Duration),
    /// Fences the other owner and takes the database over. From then on every write of that owner fails with
    /// [`Fenced`](crate::ErrorKind::Fenced). Mutations that it has acknowledged and not committed never reach
    /// the database; it can still read them. For an owner that hangs.
    ///
    /// With SQLite it fails with `Corrupt` on a damaged database, which is never moved aside under a live
    /// owner, and with `Busy` in exclusive mode, whose only connection keeps the file locked.
    Fence,
}
