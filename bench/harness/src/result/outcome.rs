use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    candidate::Backend,
    data::Scale,
    result::{figure::Figure, machine::Machine},
};

/// The results of a run, as `--json` writes them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) machine: Machine,
    #[serde(default)]
    pub(crate) store: Backend,
    pub(crate) command: String,
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    /// The names and descriptions of the candidates.
    pub(crate) candidates: Vec<(String, String)>,
    pub(crate) figures: Vec<Figure>,
}

impl Outcome {
    /// Reads the file of an earlier `--json`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let with_path = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
        let text = std::fs::read(path).map_err(|error| with_path(&error))?;
        Ok(serde_json::from_slice(&text).map_err(|error| with_path(&error))?)
    }

    /// Returns the figures of one workload.
    pub(crate) fn figures_of<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.figures.iter().filter(move |figure| figure.workload == workload)
    }
}
