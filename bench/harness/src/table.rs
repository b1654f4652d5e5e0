use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::figure::{Figure, number};

/// All figures, as text.
pub(crate) fn of(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "workload", "figure", "at", "subject", "median", "lowest", "highest", "unit", "of limit", "target",
    ]);
    let mut workload = "";
    for figure in figures {
        let is_new = workload != figure.workload;
        workload = &figure.workload;
        let verdict =
            figure.verdict().map(|(well, target)| format!("{target} {}", if well { "✓" } else { "✗" }));
        table.add_row([
            if is_new { workload.to_owned() } else { String::new() },
            figure.what.clone(),
            figure
                .at
                .as_ref()
                .map(|at| format!("{} {}", number(at.value as f64), at.unit))
                .unwrap_or_default(),
            figure.subject.clone(),
            number(figure.spread.median),
            number(figure.spread.lowest),
            number(figure.spread.highest),
            figure.unit.clone(),
            figure.share().map(|share| format!("{}%", number(100.0 * share))).unwrap_or_default(),
            verdict.unwrap_or_default(),
        ]);
    }
    for column in 4..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Better, Limit, Target, example};

    #[test]
    fn every_figure_beside_its_limit_and_its_target() {
        let mut read = example(&[98.0, 101.0, 150.0], Better::Lower);
        read.limit = Some(Limit { name: "bare evmap".into(), median: 50.0 });
        read.target = Some(Target::MostTimesLimit(1.5));
        let mut rate = example(&[1_234_567.0], Better::Higher);
        rate.workload = "creation".into();
        rate.at = None;
        rate.unit = "shapes/s".into();
        rate.target = Some(Target::Least(1e6));
        insta::assert_snapshot!(of(&[read.clone(), read, rate]));
    }
}
