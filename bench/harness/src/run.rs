//! One run: what is measured on what, and where it ends up.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use serde::{Deserialize, Serialize};
use shape_meta::NewShape;
use tempfile::TempDir;

use crate::{
    Candidate, Kind, Result, Subject, baseline,
    figure::{At, Better, Figure, Limit, Target},
    latency::Latencies,
    machine::Machine,
    options::Options,
    report,
    scale::Scale,
    spread::Spread,
    subject::{self, FULL},
    table, workload,
};

/// A run, as `--json` keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    /// Names of candidates, and what they are.
    pub(crate) candidates: Vec<(String, String)>,
    pub(crate) figures: Vec<Figure>,
}

pub(crate) fn run(peers: Vec<Box<dyn Candidate>>) -> Result<ExitCode> {
    let options = Options::parse();
    let mut all = subject::compositions();
    all.extend(peers);
    if options.list {
        list(&all);
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(name), Some(directory)) = (&options.boot, &options.dir) {
        return workload::boot::child(named(&all, name)?, directory).map(|()| ExitCode::SUCCESS);
    }
    if let (Some(stores), Some(directory)) = (options.tenants, &options.dir) {
        return workload::tenants::child(directory, stores).map(|()| ExitCode::SUCCESS);
    }
    let before = options.baseline.as_deref().map(read).transpose()?;
    let outcome = match &options.from {
        Some(earlier) => read(earlier)?,
        None => measure(&options, &all)?,
    };
    println!("\n{}", table::of(&outcome.figures));
    if let Some(directory) = &options.report {
        println!("{}", report::write(&outcome, directory)?.display());
    }
    if let Some(directory) = &options.pictures {
        report::pictures(&outcome, directory)?;
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&outcome)?)?;
    }
    Ok(match before.map(|before| baseline::compare(&before, &outcome)).transpose()? {
        Some(comparison) => {
            println!("{comparison}");
            if comparison.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => ExitCode::SUCCESS,
    })
}

fn read(path: &Path) -> Result<Outcome> {
    let wrong = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
    let text = fs::read(path).map_err(|error| wrong(&error))?;
    Ok(serde_json::from_slice(&text).map_err(|error| wrong(&error))?)
}

fn list(all: &[Box<dyn Candidate>]) {
    println!("Workloads:\n");
    workload::ALL.iter().for_each(|one| println!("  {}: {}", one.name, one.about));
    println!("\nCompositions and peers:\n");
    all.iter().for_each(|one| println!("  {}: {}", one.name(), one.about()));
}

fn named<'a>(all: &'a [Box<dyn Candidate>], name: &str) -> Result<&'a dyn Candidate> {
    let found = all.iter().find(|one| one.name() == name);
    let names = || all.iter().map(|one| format!("{:?}", one.name())).collect::<Vec<_>>().join(", ");
    Ok(&**found.ok_or_else(|| format!("there is no candidate {name:?}; there are {}", names()))?)
}

/// Those that are asked for.
fn chosen<'a>(options: &Options, all: &'a [Box<dyn Candidate>]) -> Result<Vec<&'a dyn Candidate>> {
    if !options.subjects.is_empty() {
        return options.subjects.iter().map(|name| named(all, name)).collect();
    }
    let quick =
        |one: &&dyn Candidate| one.kind() == Kind::Peer || ["full stack", "direct"].contains(&one.name());
    let all = all.iter().map(|one| &**one);
    Ok(if options.scale() <= Scale::Quick { all.filter(quick).collect() } else { all.collect() })
}

pub(crate) fn measure(options: &Options, all: &[Box<dyn Candidate>]) -> Result<Outcome> {
    let temporary = tempfile::tempdir()?;
    let root = options.dir.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(root)?;
    let machine = Machine::here(root);
    machine.facts().iter().for_each(|(name, fact)| println!("{name}: {fact}"));
    println!();

    let candidates = chosen(options, all)?;
    let described = candidates.iter().map(|one| (one.name().to_owned(), one.about().to_owned())).collect();
    let begun = Instant::now();
    let mut run = Run {
        scale: options.scale(),
        rounds: options.rounds(),
        everything: !options.subjects.is_empty(),
        root,
        candidates,
        workload: "",
        figures: Vec::new(),
        filled: HashMap::new(),
    };
    for workload in workload::ALL {
        if options.only.is_empty() || options.only.iter().any(|name| name == workload.name) {
            let begun = Instant::now();
            run.workload = workload.name;
            (workload.run)(&mut run).map_err(|error| format!("{}: {error}", workload.name))?;
            eprintln!("{} took {:.1} s", workload.name, begun.elapsed().as_secs_f64());
        }
    }
    Ok(Outcome {
        machine,
        command: command(),
        scale: run.scale,
        rounds: run.rounds,
        seconds: begun.elapsed().as_secs(),
        candidates: described,
        figures: run.figures,
    })
}

/// What was typed, about.
fn command() -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    if std::env::args().next().is_some_and(|program| program.ends_with("peers")) {
        words.push("--peers".to_owned());
    }
    words.extend(std::env::args().skip(1));
    words.join(" ")
}

/// What a workload has at hand.
pub(crate) struct Run<'a> {
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    /// Somebody has chosen the candidates, and shall have them at any size.
    everything: bool,
    root: &'a Path,
    candidates: Vec<&'a dyn Candidate>,
    workload: &'static str,
    figures: Vec<Figure>,
    filled: HashMap<(&'static str, String, u64), PathBuf>,
}

/// What fills a database: so many of these shapes.
#[derive(Clone, Copy)]
pub(crate) struct Filling {
    /// Different for different shapes.
    pub(crate) name: &'static str,
    pub(crate) shapes: u64,
    pub(crate) shape: fn(u64) -> NewShape,
}

/// The rounds of one candidate.
#[derive(Debug)]
pub(crate) struct Row<R> {
    pub(crate) subject: &'static str,
    pub(crate) rounds: Vec<R>,
}

/// What is measured, whoever it is measured on.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    what: String,
    unit: &'static str,
    better: Better,
    at: Option<At>,
    limit: Option<&'static str>,
    target: Option<Target>,
}

impl Measure {
    pub(crate) fn higher(what: impl Into<String>, unit: &'static str) -> Self {
        Self { what: what.into(), unit, better: Better::Higher, at: None, limit: None, target: None }
    }

    pub(crate) fn lower(what: impl Into<String>, unit: &'static str) -> Self {
        Self { better: Better::Lower, ..Self::higher(what, unit) }
    }

    pub(crate) fn at(mut self, value: u64, unit: &str) -> Self {
        self.at = Some(At { value, unit: unit.to_owned() });
        self
    }

    /// The row with this name is the limit of the others.
    pub(crate) fn limit(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    /// What the full stack should reach.
    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// The same where the target applies, and otherwise none.
    pub(crate) fn target_if(self, applies: bool, target: Target) -> Self {
        if applies { self.target(target) } else { self }
    }
}

impl<'a> Run<'a> {
    /// Those that are measured at this size: beyond a million shapes only the product, unless somebody has
    /// chosen others.
    pub(crate) fn candidates(&self, shapes: u64) -> Vec<&'a dyn Candidate> {
        let wanted =
            |one: &&&dyn Candidate| self.everything || shapes <= 1_000_000 || one.name() == FULL.name();
        self.candidates.iter().filter(wanted).copied().collect()
    }

    /// Whether the product itself is measured.
    pub(crate) fn wants_full(&self) -> bool {
        self.candidates.iter().any(|one| one.name() == FULL.name())
    }

    /// A directory that is removed when it is dropped.
    pub(crate) fn directory(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(self.root)?)
    }

    /// One round of each contestant that does not count, then as many as are asked for, of each in turn.
    pub(crate) fn in_turn<C, R>(
        &self,
        contestants: &mut [(&'static str, C)],
        mut round: impl FnMut(&mut C) -> Result<R>,
    ) -> Result<Vec<Row<R>>> {
        let mut rows: Vec<_> =
            contestants.iter().map(|(subject, _)| Row { subject, rounds: Vec::new() }).collect();
        for turn in 0..=self.rounds {
            for ((name, contestant), row) in contestants.iter_mut().zip(&mut rows) {
                let measured = round(contestant).map_err(|error| format!("{name}: {error}"))?;
                if turn > 0 {
                    row.rounds.push(measured);
                }
            }
        }
        Ok(rows)
    }

    /// The same, each round in a fresh directory.
    pub(crate) fn afresh<R>(
        &self,
        contestants: &[&dyn Candidate],
        mut round: impl FnMut(&dyn Candidate, &Path) -> Result<R>,
    ) -> Result<Vec<Row<R>>> {
        let mut contestants: Vec<_> = contestants.iter().map(|one| (one.name(), *one)).collect();
        self.in_turn(&mut contestants, |candidate| round(*candidate, self.directory()?.path()))
    }

    /// These candidates over databases that are filled so.
    pub(crate) fn open_filled(
        &mut self,
        contestants: &[&dyn Candidate],
        filling: Filling,
    ) -> Result<Vec<(&'static str, Box<dyn Subject>)>> {
        let opened = contestants.iter().map(|candidate| {
            let directory = self.filled(*candidate, filling)?;
            Ok((candidate.name(), candidate.open(&directory, filling.shapes)?))
        });
        opened.collect::<Result<_>>().map_err(|error| format!("filling: {error}").into())
    }

    /// The directory of a database of this candidate that is filled so; workloads share it, and leave it as
    /// they found it.
    pub(crate) fn filled(&mut self, candidate: &dyn Candidate, filling: Filling) -> Result<PathBuf> {
        // Compositions differ in how they look things up, which opening puts right, but not in their file.
        let ours = candidate.kind() == Kind::Composition || candidate.name() == "bare rusqlite";
        let id = |name: &str| (filling.name, name.to_owned(), filling.shapes);
        if let Some(directory) = self.filled.get(&id(candidate.name())) {
            return Ok(directory.clone());
        }
        let place = |name: &str| {
            self.root.join(format!("{}-{}-{}", filling.name, filling.shapes, name.replace([' ', '+'], "-")))
        };
        let directory = place(candidate.name());
        if candidate.kind() == Kind::Limit && !ours {
            fs::create_dir_all(&directory)?;
        } else if ours && candidate.name() != FULL.name() {
            let template = self.filled(&FULL, filling)?;
            copy(&template, &directory)?;
        } else {
            fs::create_dir_all(&directory)?;
            let subject = candidate.open(&directory, filling.shapes)?;
            for from in (0..filling.shapes).step_by(100_000) {
                let to = (from + 100_000).min(filling.shapes);
                let shapes: Vec<_> = (from..to).map(filling.shape).collect();
                subject.fill(&shapes)?;
            }
        }
        self.filled.insert(id(candidate.name()), directory.clone());
        Ok(directory)
    }

    /// Tells one figure of each row. A row without it is passed over.
    pub(crate) fn tell<R>(
        &mut self,
        rows: &[Row<R>],
        measure: Measure,
        of: impl Fn(&R) -> Option<f64>,
    ) -> Result {
        self.tell_with(rows, measure, of, |_| None)
    }

    /// Tells the median, the 99th percentile and the longest of each row's latencies, in microseconds.
    pub(crate) fn tell_latencies<R>(
        &mut self,
        rows: &[Row<R>],
        measure: Measure,
        of: impl Fn(&R) -> &Latencies,
    ) -> Result {
        let called = |prefix: &str| Measure { what: format!("{prefix} {}", measure.what), ..measure.clone() };
        let free = |measure: Measure| Measure { target: None, ..measure };
        self.tell(rows, free(called("p50 of")), |round| Some(of(round).at(0.5)))?;
        self.tell_with(
            rows,
            called("p99 of"),
            |round| Some(of(round).at(0.99)),
            |row| Some(row.rounds.iter().map(|round| of(round).clone()).collect()),
        )?;
        self.tell(rows, Measure { limit: None, ..free(called("longest of")) }, |round| {
            Some(of(round).longest())
        })
    }

    fn tell_with<R>(
        &mut self,
        rows: &[Row<R>],
        measure: Measure,
        of: impl Fn(&R) -> Option<f64>,
        latencies: impl Fn(&Row<R>) -> Option<Latencies>,
    ) -> Result {
        let rounds = |row: &Row<R>| row.rounds.iter().map(&of).collect::<Option<Vec<_>>>();
        let limit = measure.limit.and_then(|name| {
            let row = rows.iter().find(|row| row.subject == name)?;
            Some(Limit { name: name.to_owned(), median: Spread::of(&rounds(row)?).median })
        });
        for row in rows {
            let Some(rounds) = rounds(row) else { continue };
            let is_limit = measure.limit == Some(row.subject);
            let figure = Figure {
                workload: self.workload.to_owned(),
                what: measure.what.clone(),
                subject: row.subject.to_owned(),
                at: measure.at.clone(),
                unit: measure.unit.to_owned(),
                better: measure.better,
                spread: Spread::of(&rounds),
                rounds,
                limit: limit.clone().filter(|_| !is_limit),
                target: measure.target.filter(|_| row.subject == FULL.name()),
                quantiles: latencies(row).map(|all| all.quantiles()),
            };
            println!("{figure}");
            self.figures.push(figure);
        }
        Ok(())
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
