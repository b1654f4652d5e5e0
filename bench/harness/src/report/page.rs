use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{chart, theme};
use crate::{
    error::Result,
    result::{Figure, Outcome, number},
    workload::Workload,
};

const STYLE: &str = include_str!("page.css");

/// Returns the whole report as HTML.
pub(super) fn page(outcome: &Outcome, workloads: &[Workload]) -> Result<String> {
    let sections = workloads.iter().map(|workload| section(outcome, workload)).collect::<Result<Vec<_>>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "shape-meta: benchmarks" }
                style { (PreEscaped(STYLE)) (PreEscaped(theme::style())) }
            }
            body {
                h1 { "shape-meta: benchmarks" }
                p { code { (outcome.command) } }
                p {
                    "Medians of " (outcome.rounds) " rounds, which alternate between the candidates, in one run of "
                    (outcome.seconds) " seconds. The method is in docs/performance.md."
                }
                dl.machine {
                    @for (name, fact) in outcome.machine.facts() { dt { (name) } dd { (fact) } }
                }
                h2 { "Candidates" }
                dl.candidates {
                    @for (name, about) in &outcome.candidates { dt { (name) } dd { (about) } }
                }
                @if let Some(svg) = chart::shares(outcome)? {
                    h2 { "Limits" }
                    .charts { (picture(&svg)) }
                }
                @for section in sections { (section) }
            }
        }
    };
    Ok(page.into_string())
}

fn section(outcome: &Outcome, workload: &Workload) -> Result<Markup> {
    let figures: Vec<_> = outcome.figures_of(workload.name).collect();
    if figures.is_empty() {
        return Ok(html! {});
    }
    let charts = workload.charts.iter().map(|one| chart::chart(outcome, workload, one));
    let charts: Vec<_> = charts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    Ok(html! {
        section id=(workload.name) {
            h2 { (workload.name) }
            p { (capitalized(workload.about)) "." }
            .charts { @for svg in &charts { (picture(svg)) } }
            details open[charts.is_empty()] {
                summary { (figures.len()) " figures" }
                .scroll { (table(&figures)) }
            }
        }
    })
}

fn picture(svg: &str) -> Markup {
    html! { figure { (PreEscaped(svg)) } }
}

fn table(figures: &[&Figure]) -> Markup {
    html! {
        table {
            thead { tr {
                th { "figure" } th { "at" } th { "candidate" } th.number { "median" } th.number { "lowest" }
                th.number { "highest" } th { "unit" } th.number { "of limit" } th { "target" }
            } }
            tbody { @for figure in figures { tr {
                td { (figure.measure) }
                td { @if let Some(at) = &figure.at { (number(at.value as f64)) " " (at.unit) } }
                td { (figure.candidate) }
                td.number { (number(figure.spread.median)) }
                td.number { (number(figure.spread.lowest)) }
                td.number { (number(figure.spread.highest)) }
                td { (figure.unit) }
                td.number { @if let Some(share) = figure.share() { (number(100.0 * share)) "%" } }
                td { @if let Some((reached, target)) = figure.verdict() {
                    (target) " " @if reached { span.well { "✓ reached" } } @else { span.missed { "✗ missed" } }
                } }
            } } }
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
