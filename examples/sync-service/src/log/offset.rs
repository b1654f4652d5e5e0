use std::fmt;

/// The position of a client in a log: a transaction, and the file position after its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offset {
    /// The position of the commit in the WAL; 0 for the header and the snapshot.
    pub(crate) transaction: u64,
    /// The position in the file at which the next frame begins. 0 if it is not known: a client that follows
    /// server-sent events knows only the transaction.
    pub(crate) position: u64,
}

/// What a client asks for: everything after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// `-1`: the snapshot and everything after it.
    Nothing,
    /// `now`: only what comes later.
    Now,
    Offset(Offset),
}

impl After {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "-1" => Some(Self::Nothing),
            "now" => Some(Self::Now),
            _ => {
                let (transaction, position) = text.split_once('_')?;
                let (transaction, position) = (transaction.parse().ok()?, position.parse().ok()?);
                Some(Self::Offset(Offset { transaction, position }))
            }
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.transaction, self.position)
    }
}
