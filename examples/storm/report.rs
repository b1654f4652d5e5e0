use std::{fmt::Write as _, time::Duration};

use crate::{
    check::Checked, composition::Composition, latencies::Latencies, play::Played, trace::Definitions,
};

type Row = (Composition, Played, Checked);

/// Returns a table with a column for each composition.
pub(crate) fn table(results: &[Row]) -> String {
    let mut table = String::new();
    let mut line = |name: &str, value: &dyn Fn(&Row) -> String| {
        // Writing to a string cannot fail.
        let _ = write!(table, "{name:<26}");
        for result in results {
            let _ = write!(table, " {:>16}", value(result));
        }
        table.push('\n');
    };
    line("", &|(composition, ..)| composition.name().to_owned());
    line("shapes/s acknowledged", &|(_, played, checked)| rate(checked.shapes, played.acknowledged));
    line("shapes/s durable", &|(_, played, checked)| rate(checked.shapes, played.durable));
    line("creation p50", &|(_, played, _)| quantile(&played.creation, 0.50));
    line("creation p99", &|(_, played, _)| quantile(&played.creation, 0.99));
    line("creation max", &|(_, played, _)| quantile(&played.creation, 1.0));
    line("reads (key, then handle)", &|(_, played, _)| grouped(played.reads.count()));
    line("read p50", &|(_, played, _)| quantile(&played.reads, 0.50));
    line("read p99", &|(_, played, _)| quantile(&played.reads, 0.99));
    line("read max", &|(_, played, _)| quantile(&played.reads, 1.0));
    line("max pending (sampled)", &|(_, played, _)| grouped(played.max_pending as u64));
    line("disk transactions", &|(_, played, _)| grouped(played.transactions));
    line("reopening", &|(_, _, checked)| time(checked.reopening.as_nanos() as u64));
    table
}

pub(crate) fn verdict(results: &[Row], trace: &Definitions) -> String {
    let problems: usize = results.iter().map(|(_, _, checked)| checked.problems.len()).sum();
    if problems == 0 {
        format!("check passed: after reopening, all {} shapes equal the trace", trace.different)
    } else {
        format!("CHECK FAILED: {problems} problems after reopening")
    }
}

fn rate(shapes: usize, elapsed: Duration) -> String {
    grouped((shapes as f64 / elapsed.as_secs_f64().max(1e-9)) as u64)
}

fn quantile(latencies: &Latencies, share: f64) -> String {
    time(latencies.quantile(share))
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanoseconds as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.2} s", nanoseconds as f64 / 1e9),
    }
}

/// Writes a number with a comma after each group of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
