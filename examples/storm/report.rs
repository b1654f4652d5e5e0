use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use hdrhistogram::Histogram;

use crate::{check::Checked, composition::Composition, play::Played, trace::Definitions};

type Row = (Composition, Played, Checked);

pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([""].into_iter().chain(rows.iter().map(|(composition, ..)| composition.name())));
    let mut line = |name: &str, value: &dyn Fn(&Row) -> String| {
        table.add_row([name.to_owned()].into_iter().chain(rows.iter().map(value)));
    };
    line("shapes/s acknowledged", &|(_, played, checked)| rate(checked.shapes, played.acknowledged));
    line("shapes/s durable", &|(_, played, checked)| rate(checked.shapes, played.durable));
    line("creation p50", &|(_, played, _)| at(&played.creation, 0.50));
    line("creation p99", &|(_, played, _)| at(&played.creation, 0.99));
    line("creation max", &|(_, played, _)| time(played.creation.max()));
    line("reads (key, then handle)", &|(_, played, _)| count(played.reads.len()));
    line("read p50", &|(_, played, _)| at(&played.reads, 0.50));
    line("read p99", &|(_, played, _)| at(&played.reads, 0.99));
    line("read max", &|(_, played, _)| time(played.reads.max()));
    line("most pending (sampled)", &|(_, played, _)| count(played.most_pending as u64));
    line("disk transactions", &|(_, played, _)| count(played.transactions));
    line("reopening", &|(_, _, checked)| time(checked.reopening.as_nanos() as u64));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub(crate) fn verdict(rows: &[Row], trace: &Definitions) -> String {
    let problems: usize = rows.iter().map(|(_, _, checked)| checked.problems.len()).sum();
    if problems == 0 {
        format!(
            "check passed: after reopening, all {} shapes of the trace are as they should be",
            trace.different
        )
    } else {
        format!("CHECK FAILED: {problems} problems after reopening")
    }
}

fn rate(shapes: usize, took: Duration) -> String {
    count((shapes as f64 / took.as_secs_f64().max(1e-9)) as u64)
}

fn at(histogram: &Histogram<u64>, quantile: f64) -> String {
    time(histogram.value_at_quantile(quantile))
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanoseconds as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.2} s", nanoseconds as f64 / 1e9),
    }
}

fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
