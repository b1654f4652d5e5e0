//! Opening a database.

pub(crate) mod inspect;
pub(crate) mod pipeline;
pub(crate) mod report;
pub(crate) mod unread;

pub use report::SqliteOpenReport;
