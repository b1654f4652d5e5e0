//! The report: one file to read in a browser, and pictures for documents.

mod chart;
mod page;
mod theme;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Result, run::Outcome, workload};

/// Writes `index.html`, which needs no other file, and says where.
pub(crate) fn write(outcome: &Outcome, directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("index.html");
    fs::write(&path, page::of(outcome)?)?;
    Ok(path)
}

/// Writes those charts that documents show, as files of their own that follow light and dark by themselves.
pub(crate) fn pictures(outcome: &Outcome, directory: &Path) -> Result {
    fs::create_dir_all(directory)?;
    for workload in workload::ALL {
        for chart in workload.charts {
            let Some(file) = chart.file else { continue };
            if let Some(svg) = chart::of(outcome, workload, chart)? {
                fs::write(directory.join(format!("{file}.svg")), theme::standalone(&svg))?;
            }
        }
    }
    if let Some(svg) = chart::shares(outcome)? {
        fs::write(directory.join("limits.svg"), theme::standalone(&svg))?;
    }
    Ok(())
}
