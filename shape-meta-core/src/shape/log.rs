use serde::{Deserialize, Serialize};

/// What the log of a shape begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// With all rows that are there, then the changes.
    #[default]
    Full,
    /// With the first change after the shape was made.
    ChangesOnly,
}
