use serde::{Deserialize, Serialize};

/// How much of a row an update contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replica {
    /// The primary key and the changed columns.
    #[default]
    Default,
    /// The whole row.
    Full,
}
