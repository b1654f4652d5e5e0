use comfy_table::{Cell, CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::result::{Figure, number};

/// Returns the figures of one workload as a table: a row for each measure, and a column for each candidate.
///
/// A cell holds the median with its relative deviation, and below it the share of the limit. The target
/// belongs to the full stack.
pub(crate) fn table(figures: &[&Figure]) -> Table {
    let mut candidates: Vec<&str> = Vec::new();
    let mut measures: Vec<&Figure> = Vec::new();
    for figure in figures {
        if !candidates.contains(&&*figure.candidate) {
            candidates.push(&figure.candidate);
        }
        if !measures.iter().any(|measure| is_same_measure(measure, figure)) {
            measures.push(figure);
        }
    }
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let header = ["figure", "at", "unit"].into_iter().chain(candidates.iter().copied());
    table.set_header(header.chain(["limit", "target"]));
    let mut previous = "";
    for measure in measures {
        let row: Vec<&Figure> =
            figures.iter().copied().filter(|figure| is_same_measure(measure, figure)).collect();
        let name = if previous == measure.measure { "" } else { &measure.measure };
        previous = &measure.measure;
        let at = measure.at.as_ref().map(|at| format!("{} {}", number(at.value as f64), at.unit));
        let mut cells = vec![Cell::new(name), right(at.unwrap_or_default()), Cell::new(&measure.unit)];
        cells.extend(candidates.iter().map(|candidate| {
            let figure = row.iter().find(|figure| figure.candidate == *candidate);
            right(figure.map(|figure| value(figure)).unwrap_or_default())
        }));
        let limit = row.iter().find_map(|figure| figure.limit.as_ref());
        cells.push(right(
            limit.map(|limit| format!("{}\n{}", number(limit.median), limit.name)).unwrap_or_default(),
        ));
        let verdict = row.iter().find_map(|figure| figure.verdict());
        let verdict = verdict
            .map(|(reached, target)| format!("{target}\n{}", if reached { "✓ reached" } else { "✗ missed" }));
        cells.push(Cell::new(verdict.unwrap_or_default()));
        table.add_row(cells);
    }
    table
}

fn is_same_measure(one: &Figure, other: &Figure) -> bool {
    one.measure == other.measure && one.at == other.at
}

fn value(figure: &Figure) -> String {
    let spread = &figure.spread;
    let mut text = number(spread.median);
    if figure.rounds.len() > 1 && spread.median != 0.0 {
        text += &format!(" ±{:.0}%", 100.0 * spread.deviation / spread.median.abs());
    }
    if let Some(share) = figure.share() {
        text += &format!("\n{}% of limit", number(100.0 * share));
    }
    text
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Better, Limit, Target, example};

    #[test]
    fn a_row_for_each_measure_and_a_column_for_each_candidate() {
        let mut read = example(&[98.0, 101.0, 150.0], Better::Lower);
        read.limit = Some(Limit { name: "bare evmap".into(), median: 50.0 });
        read.target = Some(Target::MostTimesLimit(1.5));
        let mut later = read.clone();
        later.at = None;
        let mut limit = example(&[50.0], Better::Lower);
        limit.candidate = "bare evmap".into();
        let mut rate = example(&[1_234_567.0], Better::Higher);
        rate.measure = "acknowledged".into();
        rate.at = None;
        rate.unit = "shapes/s".into();
        rate.target = Some(Target::Least(1e6));
        insta::assert_snapshot!(table(&[&read, &limit, &later, &rate]));
    }
}
