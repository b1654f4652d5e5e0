/// The failures that a committed change survives: PostgreSQL's `synchronous_commit` for each transaction.
///
/// | | `synchronous_commit` | this process is killed | the server is killed, or its machine loses power | fail-over to a standby server |
/// |---|---|---|---|---|
/// | [`ProcessCrash`](Self::ProcessCrash) | `off` | all commits survive | the latest commits may be lost, about the last second | the latest commits may be lost |
/// | [`ServerCrash`](Self::ServerCrash) | `local` | all commits survive | all commits survive | the latest commits may be lost |
/// | [`FailOver`](Self::FailOver) | `on` | all commits survive | all commits survive | all commits survive, if the standby server is synchronous |
/// | [`FailOverApplied`](Self::FailOverApplied) | `remote_apply` | all commits survive | all commits survive | the same, and they are visible there at once |
///
/// What survives is always a prefix of the commits (C6). The last two levels need
/// `synchronous_standby_names` on the server; without it they equal [`ServerCrash`](Self::ServerCrash). With
/// it, commits wait while no synchronous standby server is connected.
///
/// The table assumes a server with `fsync = on`, and disks whose syncs are honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// A commit does not wait for any disk (`off`). The fastest level; for data that can be recreated.
    ProcessCrash,
    /// A commit waits for the disk of the server (`local`).
    ServerCrash,
    /// A commit waits for the disks of the server and of its synchronous standby servers (`on`).
    #[default]
    FailOver,
    /// A commit also waits until the synchronous standby servers show it (`remote_apply`).
    FailOverApplied,
}

impl Durability {
    /// Returns the value of `synchronous_commit`.
    pub(crate) fn synchronous_commit(self) -> &'static str {
        match self {
            Self::ProcessCrash => "off",
            Self::ServerCrash => "local",
            Self::FailOver => "on",
            Self::FailOverApplied => "remote_apply",
        }
    }
}
