use std::time::Duration;

/// What happens at open, and when a standby is promoted, if another owner of the database is alive on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnLiveOwner {
    /// It is refused with [`ErrorKind::AlreadyOpen`](shape_meta_core::ErrorKind::AlreadyOpen), and nothing is touched.
    #[default]
    Fail,
    /// It is waited for, at most so long, until it has closed or its process has ended; then it is refused. For
    /// deploys that start the new process before the old one has ended: nothing is lost. Looks every ten
    /// milliseconds.
    Wait(Duration),
    /// The database is taken over: from then on the other one gets
    /// [`Fenced`](shape_meta_core::ErrorKind::Fenced) for whatever it tries to write. What it had acknowledged and not
    /// written yet is lost to the database; it can still read, and tell what that was. For an owner that hangs.
    ///
    /// Nothing of a damaged database is moved aside while somebody else has it open: then this fails.
    /// [`Mode::Exclusive`](crate::Mode::Exclusive) has one connection alone, so there it fails as `Busy`.
    Fence,
}
