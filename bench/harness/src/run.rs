//! A run of the workloads: its candidates, their filled databases, and the figures so far.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use shape_meta::NewShape;
use tempfile::TempDir;

use crate::{
    Candidate, Kind, Result, Store,
    candidate::{Backend, FULL_STACK, Schema},
    data::Scale,
    probe::Latencies,
    result::{Figure, Measure},
};

/// The context of a workload.
pub(crate) struct Run<'a> {
    pub(crate) backend: Backend,
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    /// Set if the command line names the candidates. Then they are measured at every size.
    named: bool,
    root: &'a Path,
    candidates: Vec<&'a dyn Candidate>,
    workload: &'static str,
    figures: Vec<Figure>,
    filled: HashMap<(&'static str, String, u64), PathBuf>,
}

/// The content of a filled database.
#[derive(Clone, Copy)]
pub(crate) struct Filling {
    /// The name of the function `shape`.
    pub(crate) name: &'static str,
    pub(crate) shapes: u64,
    pub(crate) shape: fn(u64) -> NewShape,
}

/// The rounds of one candidate.
#[derive(Debug)]
pub(crate) struct Row<R> {
    pub(crate) candidate: &'static str,
    pub(crate) rounds: Vec<R>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        backend: Backend,
        scale: Scale,
        rounds: usize,
        root: &'a Path,
        candidates: Vec<&'a dyn Candidate>,
        named: bool,
    ) -> Self {
        Self {
            backend,
            scale,
            rounds,
            named,
            root,
            candidates,
            workload: "",
            figures: Vec::new(),
            filled: HashMap::new(),
        }
    }

    /// Begins a workload: later figures belong to it.
    pub(crate) fn begin(&mut self, workload: &'static str) {
        self.workload = workload;
    }

    /// Returns the figures of all workloads.
    pub(crate) fn figures(&self) -> &[Figure] {
        &self.figures
    }

    pub(crate) fn into_figures(self) -> Vec<Figure> {
        self.figures
    }

    /// Returns the figures of the current workload.
    pub(crate) fn current_figures(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(|figure| figure.workload == self.workload)
    }

    /// Returns the candidates for this number of shapes. With more than a million shapes that is the full
    /// stack, unless the command line names the candidates.
    pub(crate) fn candidates(&self, shapes: u64) -> Vec<&'a dyn Candidate> {
        let is_included =
            |one: &&&dyn Candidate| self.named || shapes <= 1_000_000 || one.name() == FULL_STACK.name();
        self.candidates.iter().filter(is_included).copied().collect()
    }

    /// Returns whether the full stack is a candidate.
    pub(crate) fn has_full_stack(&self) -> bool {
        self.candidates.iter().any(|one| one.name() == FULL_STACK.name())
    }

    /// Creates a directory that is removed when it is dropped.
    pub(crate) fn directory(&self) -> Result<Directory> {
        Ok(Directory(tempfile::tempdir_in(self.root)?))
    }

    /// Measures all rounds. Each round measures every candidate once, and the first round is a discarded
    /// warm-up.
    pub(crate) fn measure_rounds<C, R>(
        &self,
        candidates: &mut [(&'static str, C)],
        mut round: impl FnMut(&mut C) -> Result<R>,
    ) -> Result<Vec<Row<R>>> {
        let mut rows: Vec<_> =
            candidates.iter().map(|(candidate, _)| Row { candidate, rounds: Vec::new() }).collect();
        for number in 0..=self.rounds {
            for ((name, candidate), row) in candidates.iter_mut().zip(&mut rows) {
                let measured = round(candidate).map_err(|error| format!("{name}: {error}"))?;
                if number > 0 {
                    row.rounds.push(measured);
                }
            }
        }
        Ok(rows)
    }

    /// Measures all rounds, each in a new directory.
    pub(crate) fn measure_in_new_directories<R>(
        &self,
        candidates: &[&dyn Candidate],
        mut round: impl FnMut(&dyn Candidate, &Path) -> Result<R>,
    ) -> Result<Vec<Row<R>>> {
        let mut candidates: Vec<_> = candidates.iter().map(|one| (one.name(), *one)).collect();
        self.measure_rounds(&mut candidates, |candidate| round(*candidate, self.directory()?.path()))
    }

    /// Opens these candidates over filled databases.
    pub(crate) fn open_filled(
        &mut self,
        candidates: &[&dyn Candidate],
        filling: Filling,
    ) -> Result<Vec<(&'static str, Box<dyn Store>)>> {
        let opened = candidates.iter().map(|candidate| {
            let directory = self.filled(*candidate, filling)?;
            Ok((candidate.name(), candidate.open(&directory, filling.shapes)?))
        });
        opened.collect::<Result<_>>().map_err(|error| format!("filling: {error}").into())
    }

    /// Returns the directory of a filled database of this candidate. Workloads share it, and restore its
    /// content.
    pub(crate) fn filled(&mut self, candidate: &dyn Candidate, filling: Filling) -> Result<PathBuf> {
        // Compositions share one file format. They differ in their indexes, which opening adjusts. In
        // PostgreSQL a copy names the same schema. In SQLite the limit writes its own rows: ours are
        // compressed.
        let bare = self.backend.bare().name();
        let shares_schema = self.backend == Backend::Postgres && candidate.name().starts_with(bare);
        let is_ours = candidate.kind() == Kind::Composition || shares_schema;
        let id = |name: &str| (filling.name, name.to_owned(), filling.shapes);
        if let Some(directory) = self.filled.get(&id(candidate.name())) {
            return Ok(directory.clone());
        }
        let directory = self.directory_of(candidate, filling);
        if candidate.kind() == Kind::Limit && !candidate.name().starts_with(bare) {
            fs::create_dir_all(&directory)?;
        } else if is_ours && candidate.name() != FULL_STACK.name() {
            let template = self.filled(self.backend.full_stack(), filling)?;
            copy(&template, &directory)?;
        } else {
            fs::create_dir_all(&directory)?;
            let store = candidate.open(&directory, filling.shapes)?;
            for from in (0..filling.shapes).step_by(100_000) {
                let to = (from + 100_000).min(filling.shapes);
                let shapes: Vec<_> = (from..to).map(filling.shape).collect();
                store.fill(&shapes)?;
            }
        }
        self.filled.insert(id(candidate.name()), directory.clone());
        Ok(directory)
    }

    /// Creates the directory of a database that the caller fills at once with this content.
    pub(crate) fn new_filled(&mut self, candidate: &dyn Candidate, filling: Filling) -> Result<PathBuf> {
        let directory = self.directory_of(candidate, filling);
        let created = fs::create_dir(&directory);
        created.map_err(|error| format!("{}: {error}; choose an empty directory", directory.display()))?;
        self.filled.insert((filling.name, candidate.name().to_owned(), filling.shapes), directory.clone());
        Ok(directory)
    }

    fn directory_of(&self, candidate: &dyn Candidate, filling: Filling) -> PathBuf {
        let name = candidate.name().replace([' ', '+'], "-");
        self.root.join(format!("{}-{}-{name}", filling.name, filling.shapes))
    }

    /// Records one figure of each row. Skips rows without a value.
    pub(crate) fn record<R>(&mut self, rows: &[Row<R>], measure: Measure, value: impl Fn(&R) -> Option<f64>) {
        let figures = self.figures_of(rows, &measure, value);
        self.figures.extend(figures);
    }

    /// Records the median, the 99th percentile and the maximum of each row's latencies, in microseconds.
    pub(crate) fn record_latencies<R>(
        &mut self,
        rows: &[Row<R>],
        measure: Measure,
        latencies: impl Fn(&R) -> &Latencies,
    ) {
        let at = |quantile: f64| {
            let latencies = &latencies;
            move |round: &R| Some(latencies(round).at(quantile))
        };
        self.record(rows, measure.prefixed_with_limit("p50 of"), at(0.5));
        let mut figures = self.figures_of(rows, &measure.prefixed_with_target("p99 of"), at(0.99));
        for figure in &mut figures {
            // The distribution of all rounds is drawn in the charts.
            let row = rows.iter().find(|row| row.candidate == figure.candidate);
            let all: Option<Latencies> =
                row.map(|row| row.rounds.iter().map(|round| latencies(round).clone()).collect());
            figure.quantiles = all.map(|all| all.quantiles());
        }
        self.figures.extend(figures);
        self.record(rows, measure.prefixed("max of"), |round| Some(latencies(round).max()));
    }

    fn figures_of<R>(
        &self,
        rows: &[Row<R>],
        measure: &Measure,
        value: impl Fn(&R) -> Option<f64>,
    ) -> Vec<Figure> {
        let rounds = |row: &Row<R>| row.rounds.iter().map(&value).collect::<Option<Vec<_>>>();
        let rows: Vec<_> = rows.iter().filter_map(|row| Some((row.candidate, rounds(row)?))).collect();
        measure.figures(self.workload, &rows, FULL_STACK.name())
    }
}

/// A directory that is removed when it is dropped, with its schema if it has one.
pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let removed = Schema::known(self.path()).and_then(|schema| schema.map_or(Ok(()), |one| one.remove()));
        if let Err(error) = removed {
            eprintln!("a schema was not removed: {error}");
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}
