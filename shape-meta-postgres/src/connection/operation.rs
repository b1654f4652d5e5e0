/// The purpose of a checkout of a connection, reported to observers as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Metadata,
    HandleFor,
    Entry,
    Record,
    HandlesForRelations,
    Counts,
    Scan,
    Touch,
    LeastRecentlyUsed,
    LastSeq,
    Apply,
    Load,
    RecordOf,
    ChangesSince,
    SaveReads,
    SavedReads,
    Recover,
    CleanupTasks,
    AckCleanup,
    AddOrphans,
    TrustStorage,
    Owner,
}

impl Operation {
    /// Returns the label of its checkouts.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::HandleFor => "handle_for",
            Self::Entry => "entry",
            Self::Record => "record",
            Self::HandlesForRelations => "handles_for_relations",
            Self::Counts => "counts",
            Self::Scan => "scan",
            Self::Touch => "touch",
            Self::LeastRecentlyUsed => "least_recently_used",
            Self::LastSeq => "last_seq",
            Self::Apply => "apply",
            Self::Load => "load",
            Self::RecordOf => "record_of",
            Self::ChangesSince => "changes_since",
            Self::SaveReads => "save_reads",
            Self::SavedReads => "saved_reads",
            Self::Recover => "recover",
            Self::CleanupTasks => "cleanup_tasks",
            Self::AckCleanup => "ack_cleanup",
            Self::AddOrphans => "add_orphans",
            Self::TrustStorage => "trust_storage",
            Self::Owner => "owner",
        }
    }
}
