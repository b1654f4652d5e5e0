use serde::{Deserialize, Serialize};

/// The initial content of the log of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// All existing rows, then the changes.
    #[default]
    Full,
    /// Only the changes after the shape was created.
    ChangesOnly,
}
