use std::io::Write;

use shape_meta_core::{ScanItem, Timestamp};
use shape_meta_sqlite::Inspector;

use super::Outcome;
use crate::{
    args::{Database, Filter},
    exit::{Done, Failure},
    json::ShapeJson,
    output,
};

pub(super) fn run(database: &Database, filter: &Filter, out: &mut dyn Write) -> Outcome {
    let whole = each_wanted(database, filter, None, |listed| Ok(output::json(out, &ShapeJson::of(listed))?))?;
    Ok(if whole { Done::Well } else { Done::Found })
}

/// Every shape that the filter wants, up to so many. Damaged ones are told on standard error; whether there were
/// none is returned.
pub(super) fn each_wanted(
    database: &Database,
    filter: &Filter,
    limit: Option<usize>,
    mut each: impl FnMut(&ScanItem) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let inspector = Inspector::open(&database.directory)?;
    let now = Timestamp::now();
    let (mut shown, mut damaged) = (0, 0_u64);
    let mut outcome = Ok(());
    let wanted = limit.unwrap_or(usize::MAX);
    inspector.scan(|listed| {
        match listed {
            Err(error) => {
                damaged += 1;
                eprintln!("shape-meta: left out: {error}");
            }
            Ok(listed) if shown < wanted && filter.wants(&listed, now) => {
                shown += 1;
                outcome = each(&listed);
            }
            Ok(_) => {}
        }
        outcome.is_ok() && shown < wanted
    })?;
    outcome?;
    inspector.finish()?;
    Ok(damaged == 0)
}
