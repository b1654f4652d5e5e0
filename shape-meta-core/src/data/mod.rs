//! A shape as memory and disk keep it.

mod counts;
mod definition;
mod entry;
mod keyed;
mod metadata;
mod record;
mod stamp;

pub use counts::Counts;
pub use definition::{Definition, DefinitionExt};
pub use entry::Entry;
pub use keyed::Keyed;
pub use metadata::Metadata;
pub use record::{Record, ScanItem};
pub use stamp::{OnOtherStamp, Rekey, Stamp, StampCheck, StampOutcome};
