use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    bare_postgres::BARE,
    bare_sqlite::BareSqlite,
    composition::{Composition, FULL_STACK, POSTGRES},
    interface::Candidate,
};

/// The database below the full stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    #[default]
    Sqlite,
    Postgres,
}

impl Backend {
    /// Returns the value for SQLite or the one for PostgreSQL.
    pub(crate) fn pick<T>(self, sqlite: T, postgres: T) -> T {
        match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
        }
    }

    /// Returns its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        self.pick("sqlite", "postgres")
    }

    pub(crate) fn full_stack(self) -> &'static Composition {
        self.pick(&FULL_STACK, &POSTGRES)
    }

    /// Returns the limit: the database without shape-meta.
    pub(crate) fn bare(self) -> &'static dyn Candidate {
        self.pick(&BareSqlite as &dyn Candidate, &BARE)
    }
}
