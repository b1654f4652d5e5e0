use std::fmt;

/// How far the initial snapshot of a shape has come. It moves one way only, and complete implies started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SnapshotState {
    /// The shape exists, its snapshot has not begun.
    #[default]
    Pending,
    /// The snapshot has begun: readers may be served what there is of it.
    Started,
    /// The snapshot is whole. Only such a shape survives a reopening.
    Complete,
}

impl SnapshotState {
    /// The form kept on disk: bit 1 is started, bit 2 is complete.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Started => 1,
            Self::Complete => 3,
        }
    }

    /// The state that these bits say; complete (2) implies started, and unknown bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Pending,
            1 => Self::Started,
            _ => Self::Complete,
        }
    }

    /// Whether the snapshot has begun.
    pub fn is_started(self) -> bool {
        self >= Self::Started
    }

    /// Whether the snapshot is whole.
    pub fn is_complete(self) -> bool {
        self == Self::Complete
    }
}

impl fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Complete => "complete",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_read_back_and_complete_implies_started() {
        for state in [SnapshotState::Pending, SnapshotState::Started, SnapshotState::Complete] {
            assert_eq!(SnapshotState::from_bits(state.bits()), state);
        }
        assert_eq!(SnapshotState::from_bits(2), SnapshotState::Complete);
        assert_eq!(SnapshotState::from_bits(4 | 1), SnapshotState::Started, "unknown bits are ignored");
    }

    #[test]
    fn each_state_says_how_far_it_has_come() {
        use SnapshotState::{Complete, Pending, Started};
        assert_eq!([Pending, Started, Complete].map(SnapshotState::is_started), [false, true, true]);
        assert_eq!([Pending, Started, Complete].map(SnapshotState::is_complete), [false, false, true]);
    }
}
