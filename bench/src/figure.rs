use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

/// One measured figure: the median of some rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) workload: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// The same work without us.
    pub(crate) limit: Option<f64>,
    /// What the figure should be at most, or at least.
    pub(crate) target: Option<Target>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Target {
    Most(f64),
    Least(f64),
    /// In relation to the limit.
    MostTimesLimit(f64),
    /// In relation to the limit.
    LeastTimesLimit(f64),
}

impl Figure {
    pub(crate) fn of(
        workload: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        mut rounds: Vec<f64>,
    ) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |share: f64| rounds[((rounds.len() - 1) as f64 * share).round() as usize];
        Self {
            workload,
            name: name.into(),
            unit,
            median: at(0.5),
            lowest: at(0.0),
            highest: at(1.0),
            limit: None,
            target: None,
        }
    }

    pub(crate) fn limit(mut self, rounds: Vec<f64>) -> Self {
        self.limit = Some(Self::of("", "", "", rounds).median);
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.limit.map(|limit| self.median / limit)
    }

    fn verdict(&self) -> String {
        let said = |word: &str, bound: f64, times: &str, reached: bool| {
            format!("{word} {}{times} {}", number(bound), if reached { "✓" } else { "✗" })
        };
        let ratio = self.ratio().unwrap_or(f64::NAN);
        match self.target {
            None => String::new(),
            Some(Target::Most(most)) => said("≤", most, "", self.median <= most),
            Some(Target::Least(least)) => said("≥", least, "", self.median >= least),
            Some(Target::MostTimesLimit(most)) => said("≤", most, " × limit", ratio <= most),
            Some(Target::LeastTimesLimit(least)) => said("≥", least, " × limit", ratio >= least),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, name, unit, .. } = self;
        write!(f, "{workload}: {name}: {} {unit}", number(self.median))?;
        write!(f, " ({} to {})", number(self.lowest), number(self.highest))?;
        if let (Some(limit), Some(ratio)) = (self.limit, self.ratio()) {
            write!(f, ", limit {} ({ratio:.2} times)", number(limit))?;
        }
        Ok(())
    }
}

pub(crate) fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "workload", "figure", "median", "lowest", "highest", "unit", "limit", "× limit", "target",
    ]);
    for figure in figures {
        table.add_row([
            figure.workload.to_owned(),
            figure.name.clone(),
            number(figure.median),
            number(figure.lowest),
            number(figure.highest),
            figure.unit.to_owned(),
            figure.limit.map(number).unwrap_or_default(),
            figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            figure.verdict(),
        ]);
    }
    for column in 2..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn number(value: f64) -> String {
    if value >= 1_000.0 {
        indicatif::HumanCount(value.round() as u64).to_string()
    } else if value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
