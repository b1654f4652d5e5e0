use std::fmt;

/// The state of a shape's initial snapshot. It only moves forward, and complete implies started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SnapshotState {
    /// The snapshot has not started.
    #[default]
    Pending,
    /// The snapshot has started; what exists of it can be served.
    Started,
    /// The snapshot is complete. Only such a shape survives reopening the store.
    Complete,
}

impl SnapshotState {
    /// Returns the encoding that is stored: bit 0 means started, bit 1 means complete.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Started => 1,
            Self::Complete => 3,
        }
    }

    /// Decodes these bits. Complete (2) implies started; unknown bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Pending,
            1 => Self::Started,
            _ => Self::Complete,
        }
    }

    /// Returns whether the snapshot has started.
    pub fn is_started(self) -> bool {
        self >= Self::Started
    }

    /// Returns whether the snapshot is complete.
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
