//! The report: tables for the terminal, one file for a browser, and pictures for documents.

mod chart;
mod page;
mod table;
mod theme;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Result, result::Outcome, workload::Workload};

pub(crate) use table::table;

/// Writes `index.html`, which needs no other file, and returns its path.
pub(crate) fn write(outcome: &Outcome, workloads: &[Workload], directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("index.html");
    fs::write(&path, page::page(outcome, workloads)?)?;
    Ok(path)
}

/// Writes the charts that documents show as files of their own, which follow the reader's light or dark
/// theme.
pub(crate) fn pictures(outcome: &Outcome, workloads: &[Workload], directory: &Path) -> Result {
    fs::create_dir_all(directory)?;
    for workload in workloads {
        for chart in workload.charts {
            let Some(file) = chart.file else { continue };
            if let Some(svg) = chart::chart(outcome, workload, chart)? {
                fs::write(directory.join(format!("{file}.svg")), theme::standalone(&svg))?;
            }
        }
    }
    if let Some(svg) = chart::shares(outcome)? {
        fs::write(directory.join("limits.svg"), theme::standalone(&svg))?;
    }
    Ok(())
}
