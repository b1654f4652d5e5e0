use serde::{Deserialize, Serialize};

/// How much of a row an update carries to the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replica {
    /// The primary key and the columns that changed.
    #[default]
    Default,
    /// The whole row.
    Full,
}
