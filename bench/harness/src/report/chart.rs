//! Charts of figures as SVG, about as wide as a phone, so that their text stays readable there.

use plotters::{
    coord::{Shift, combinators::IntoLogRange},
    prelude::*,
};

use super::theme::{self, FAINT, GRID, Ink, LIMIT, PAPER, TEXT};
use crate::{
    error::Result,
    result::{At, Better, Figure, Outcome},
    workload::{Chart, Form, Workload},
};

const WIDTH: u32 = 480;
const PLOT: u32 = 290;
/// The space between the name of the x axis and the legend.
const GAP: u32 = 8;
const HEADER: u32 = 52;
const ENTRY: u32 = 22;
const FOOTER: u32 = 24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

struct Series<'a> {
    name: &'a str,
    ink: Ink,
    is_limit: bool,
    points: Vec<(f64, f64)>,
}

/// The name of an axis, and the format of its numbers.
struct Axis {
    name: String,
    number: fn(&f64) -> String,
}

/// Returns the chart, if its figures were measured.
pub(super) fn chart(outcome: &Outcome, workload: &Workload, chart: &Chart) -> Result<Option<String>> {
    let figures: Vec<_> = outcome
        .figures
        .iter()
        .filter(|figure| figure.workload == workload.name && figure.measure == chart.measure)
        .collect();
    let Some(first) = figures.first() else { return Ok(None) };
    let (series, x, y) = match chart.form {
        Form::Lines => {
            let unit = first.at.as_ref().map_or("", |at| &at.unit);
            let x = Axis { name: unit.to_owned(), number: short };
            (against(outcome, &figures), x, Axis { name: first.unit.clone(), number: short })
        }
        Form::Distribution => {
            let x = Axis { name: "percentile of the operations".into(), number: percentile };
            (distributions(outcome, &figures), x, Axis { name: "latency".into(), number: duration })
        }
    };
    let series: Vec<_> = series.into_iter().filter(|series| !series.points.is_empty()).collect();
    if series.is_empty() {
        return Ok(None);
    }
    let subtitle = match (chart.form, first.better) {
        (_, Better::Higher) => format!("{}, higher is better", y.name),
        (Form::Lines, _) => format!("{}, lower is better", y.name),
        (Form::Distribution, _) => {
            let at = largest_at(&figures).map(|at| format!(", {} {}", short(&(at.value as f64)), at.unit));
            format!("latency{}, lower is better", at.unwrap_or_default())
        }
    };
    let rows = series.len().div_ceil(2) as u32;
    let height = HEADER + PLOT + GAP + rows * ENTRY + FOOTER;
    drawn(height, |root| {
        heading(root, chart.title, &subtitle)?;
        let (_, below) = root.split_vertically(HEADER);
        let (plot, below) = below.split_vertically(PLOT);
        let (_, below) = below.split_vertically(GAP);
        draw(&plot, &series, &x, &y)?;
        legend(&below, &series)?;
        footer(root, height, outcome, Some(workload.name))
    })
    .map(Some)
}

/// Returns the chart with the share of its limit that each figure of the full stack reaches.
pub(super) fn shares(outcome: &Outcome) -> Result<Option<String>> {
    const BAR: u32 = 44;
    let mut bars: Vec<(String, f64)> = Vec::new();
    for figure in outcome.figures.iter().filter(|figure| figure.candidate == "full stack") {
        let (Some(share), Some(limit)) = (figure.share(), &figure.limit) else { continue };
        // Distributions have charts of their own, and the rate while growing has many parameters.
        if figure.workload == "growth" || ["p50", "p99"].iter().any(|start| figure.measure.starts_with(start))
        {
            continue;
        }
        let at = figure.at.as_ref().map(|at| format!(", {} {}", short(&(at.value as f64)), at.unit));
        bars.push((format!("{}{} (of {})", figure.measure, at.unwrap_or_default(), limit.name), share));
    }
    if bars.is_empty() {
        return Ok(None);
    }
    let height = HEADER + bars.len() as u32 * BAR + 6 + FOOTER;
    let (left, right) = (14, WIDTH as i32 - 64);
    // A figure that is far better than its limit would compress the other bars.
    let widest = bars.iter().map(|(_, share)| *share).fold(1.0, f64::max).min(1.6);
    let position = |share: f64| left + ((right - left) as f64 * share.min(widest) / widest) as i32;
    drawn(height, |root| {
        heading(root, "The full stack against its limits", "share of the limit; 100% equals the limit")?;
        for (at, (name, share)) in bars.iter().enumerate() {
            let top = (HEADER + at as u32 * BAR) as i32;
            root.draw(&Text::new(name.as_str(), (left, top + 2), font(14, TEXT)))?;
            root.draw(&Rectangle::new(
                [(left, top + 22), (position(*share).max(left + 1), top + 36)],
                theme::line(0).color().filled(),
            ))?;
            let bare = vec![(position(1.0), top + 19), (position(1.0), top + 39)];
            root.draw(&PathElement::new(bare, LIMIT.color().stroke_width(2)))?;
            let percent = if *share < 0.095 {
                format!("{:.1}%", 100.0 * share)
            } else {
                format!("{:.0}%", 100.0 * share)
            };
            let end = position(*share).max(left + 1);
            // Moves the text behind the mark of the limit, where they would overlap.
            let end = if (position(1.0) - 44..position(1.0)).contains(&end) { position(1.0) } else { end };
            root.draw(&Text::new(percent, (end + 5, top + 22), font(14, FAINT)))?;
        }
        footer(root, height, outcome, None)
    })
    .map(Some)
}

fn drawn(height: u32, draw: impl FnOnce(&Area<'_>) -> Result) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&PAPER.color())?;
        draw(&root)?;
        root.present()?;
    }
    Ok(svg)
}

fn font<'a>(size: u32, ink: Ink) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&ink.color())
}

fn heading(root: &Area<'_>, title: &str, subtitle: &str) -> Result {
    root.draw(&Text::new(title.to_owned(), (14, 8), font(18, TEXT)))?;
    root.draw(&Text::new(subtitle.to_owned(), (14, 31), font(14, FAINT)))?;
    Ok(())
}

fn footer(root: &Area<'_>, height: u32, outcome: &Outcome, workload: Option<&str>) -> Result {
    let only = workload.map(|name| format!(" --only {name}")).unwrap_or_default();
    let peers = if outcome.command.contains("--peers") { " --peers" } else { "" };
    let scale = format!("{:?}", outcome.scale).to_lowercase();
    let command = format!("cargo xtask bench --scale {scale}{peers}{only}");
    root.draw(&Text::new(command, (14, height as i32 - 17), font(11, FAINT)))?;
    Ok(())
}

/// Draws the legend with two entries in a row.
fn legend(area: &Area<'_>, series: &[Series<'_>]) -> Result {
    for (at, one) in series.iter().enumerate() {
        let left = if at % 2 == 0 { 14 } else { WIDTH as i32 / 2 };
        let top = (at / 2) as i32 * ENTRY as i32;
        let middle = top + 9;
        let stroke = one.ink.color().stroke_width(if one.is_limit { 1 } else { 3 });
        area.draw(&PathElement::new(vec![(left, middle), (left + 18, middle)], stroke))?;
        if !one.is_limit {
            area.draw(&Circle::new((left + 9, middle), 4, one.ink.color().filled()))?;
        }
        area.draw(&Text::new(one.name.to_owned(), (left + 26, top + 2), font(14, TEXT)))?;
    }
    Ok(())
}

fn draw(area: &Area<'_>, series: &[Series<'_>], x: &Axis, y: &Axis) -> Result {
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let range = |of: fn((f64, f64)) -> f64| {
        let values = points().map(of);
        values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    // At least one decade, so that a flat curve looks flat.
    let (low, high) = (low / 1.6, (high * 1.6).max(low * 10.0));
    let mut chart = ChartBuilder::on(area)
        .margin_right(18)
        .margin_left(6)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (left / 1.08..right.max(left * 1.2) * 1.08).log_scale(),
            (low..high).log_scale(),
        )?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.color())
        .light_line_style(PAPER.color())
        .max_light_lines(1)
        .axis_style(FAINT.color())
        .label_style(font(13, FAINT))
        .axis_desc_style(font(14, TEXT))
        .x_labels(6)
        .y_labels(7)
        .x_label_formatter(&x.number)
        .y_label_formatter(&y.number)
        .x_desc(x.name.as_str())
        .draw()?;
    // The full stack is drawn last, so that no other curve covers it.
    for one in series.iter().rev() {
        let stroke = one.ink.color().stroke_width(if one.is_limit { 1 } else { 2 });
        chart.draw_series(LineSeries::new(one.points.iter().copied(), stroke))?;
        if !one.is_limit {
            let dots = one.points.iter().map(|point| Circle::new(*point, 3, one.ink.color().filled()));
            chart.draw_series(dots)?;
        }
    }
    Ok(())
}

/// Returns a series for each candidate, in the order of the figures.
fn named<'a>(
    outcome: &Outcome,
    figures: &[&'a Figure],
    points: impl Fn(&[&'a Figure]) -> Vec<(f64, f64)>,
) -> Vec<Series<'a>> {
    let mut names: Vec<&str> = Vec::new();
    for figure in figures {
        if !names.contains(&figure.candidate.as_str()) {
            names.push(&figure.candidate);
        }
    }
    let of = |name: &'a str| {
        let own: Vec<_> = figures.iter().copied().filter(|figure| figure.candidate == name).collect();
        let index = outcome.candidates.iter().position(|(candidate, _)| candidate == name);
        let ink = index.map_or(LIMIT, theme::line);
        Series { name, ink, is_limit: index.is_none(), points: points(&own) }
    };
    names.into_iter().map(of).collect()
}

fn against<'a>(outcome: &Outcome, figures: &[&'a Figure]) -> Vec<Series<'a>> {
    named(outcome, figures, |figures| {
        let points = figures
            .iter()
            .filter_map(|figure| Some((figure.at.as_ref()?.value as f64, figure.spread.median)));
        points.filter(|(_, y)| *y > 0.0).collect()
    })
}

fn largest_at<'a>(figures: &[&'a Figure]) -> Option<&'a At> {
    figures.iter().filter_map(|figure| figure.at.as_ref()).max_by_key(|at| at.value)
}

/// Returns the distributions at the largest parameter.
fn distributions<'a>(outcome: &Outcome, figures: &[&'a Figure]) -> Vec<Series<'a>> {
    let at = largest_at(figures);
    named(outcome, figures, |figures| {
        let figure = figures.iter().find(|figure| figure.at.as_ref() == at);
        let quantiles = figure.and_then(|figure| figure.quantiles.as_ref());
        let points = quantiles.into_iter().flatten().map(|one| (1.0 / (1.0 - one.quantile), one.us));
        points.filter(|(_, us)| *us > 0.0).collect()
    })
}

fn short(value: &f64) -> String {
    let (scaled, suffix) = match *value {
        large if large >= 1e6 => (large / 1e6, "M"),
        large if large >= 1e3 => (large / 1e3, "k"),
        small => (small, ""),
    };
    let digits = if scaled >= 10.0 || scaled == scaled.round() { 0 } else { 1 };
    match scaled < 0.1 {
        true => format!("{scaled:.2}{suffix}"),
        false => format!("{scaled:.digits$}{suffix}"),
    }
}

/// Formats microseconds.
fn duration(us: &f64) -> String {
    match *us {
        us if us >= 1e6 => format!("{} s", short(&(us / 1e6))),
        us if us >= 1e3 => format!("{} ms", short(&(us / 1e3))),
        us if us >= 1.0 => format!("{} us", short(&us)),
        us => format!("{} ns", short(&(us * 1e3))),
    }
}

/// Formats the percentile that one in `one_in` exceeds.
fn percentile(one_in: &f64) -> String {
    let share = 100.0 * (1.0 - 1.0 / one_in);
    let digits = (one_in.log10().round() as usize).saturating_sub(2);
    format!("{share:.digits$}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_axes_are_short() {
        let shorts = [0.02, 0.5, 1.0, 64.0, 1_500.0, 10_000.0, 2_000_000.0].map(|value| short(&value));
        assert_eq!(shorts, ["0.02", "0.5", "1", "64", "1.5k", "10k", "2M"]);
        let durations = [0.05, 1.0, 250.0, 20_000.0, 3e6].map(|us| duration(&us));
        assert_eq!(durations, ["50 ns", "1 us", "250 us", "20 ms", "3 s"]);
        let percentiles = [1.0, 10.0, 100.0, 1_000.0, 10_000.0].map(|one_in| percentile(&one_in));
        assert_eq!(percentiles, ["0%", "90%", "99%", "99.9%", "99.99%"]);
    }
}
