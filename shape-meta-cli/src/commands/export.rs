use std::io::Write;

use shape_meta_core::{ScanItem, Timestamp};

use super::Outcome;
use crate::{
    args::{Database, Filter},
    database::Opened,
    exit::{Failure, Success},
    json::ShapeJson,
    output,
};

pub(super) fn run(database: &Database, filter: &Filter, out: &mut dyn Write) -> Outcome {
    let is_complete =
        for_each_match(database, filter, None, |item| Ok(output::json(out, &ShapeJson::of(item))?))?;
    Ok(if is_complete { Success::Clean } else { Success::Findings })
}

/// Calls `each` with every shape that matches the filter, at most `limit` times.
///
/// Reports each damaged shape on standard error and skips it. Returns whether none was skipped.
pub(super) fn for_each_match(
    database: &Database,
    filter: &Filter,
    limit: Option<usize>,
    mut each: impl FnMut(&ScanItem) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let inspector = Opened::open(&database.place()?)?;
    let now = Timestamp::now();
    let (mut matches, mut damaged) = (0, 0_u64);
    let mut outcome = Ok(());
    let limit = limit.unwrap_or(usize::MAX);
    inspector.scan(|item| {
        match item {
            Err(error) => {
                damaged += 1;
                output::note(output::safe(&format!("skipped: {error}")));
            }
            Ok(item) if matches < limit && filter.matches(&item, now) => {
                matches += 1;
                outcome = each(&item);
            }
            Ok(_) => {}
        }
        outcome.is_ok() && matches < limit
    })?;
    outcome?;
    inspector.finish()?;
    Ok(damaged == 0)
}
