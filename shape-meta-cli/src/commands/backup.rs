use std::{io::Write, path::Path};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shape_meta_sqlite::Inspector;

use super::Outcome;
use crate::{
    args::Directory,
    exit::{Failure, Success},
    output,
};

pub(super) fn run(database: &Directory, to: &Path, quiet: bool, out: &mut dyn Write) -> Outcome {
    let inspector = Inspector::open(&database.directory)?;
    // Drawn on standard error, and only if that is a terminal.
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% of {len} pages, {eta} left") {
        bar.set_style(style);
    }
    let mut pages = 0;
    inspector.backup(to, |copied, total| {
        pages = total;
        bar.set_length(total);
        bar.set_position(copied);
    })?;
    bar.finish_and_clear();
    inspector.finish()?;
    match report(database, to, pages, out).and_then(|()| Ok(out.flush()?)) {
        Err(Failure::Io(_, error)) => {
            Err(Failure::Io(format!("write the output (the backup in {} is complete)", to.display()), error))
        }
        reported => reported.map(|()| Success::Clean),
    }
}

fn report(database: &Directory, to: &Path, pages: u64, out: &mut dyn Write) -> Result<(), Failure> {
    if database.json {
        output::json(out, &json!({"to": to.display().to_string(), "pages": pages}))?;
    } else {
        writeln!(out, "pages: {pages}, to: {}", output::safe(&to.display().to_string()))?;
    }
    Ok(())
}
