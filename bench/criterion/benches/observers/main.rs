//! What observers cost, for a read, a mutation and a flush: `cargo bench --features full --bench observers`.
//!
//! The cases take turns, in another order each time, and what is told is by how much each differs from nobody in the same
//! round: what else the machine does meets all of them alike. Stores are made anew some times, since a few nanoseconds depend on where
//! in memory they lie.

#![forbid(unsafe_code)]

use std::time::Duration;

mod case;
mod work;

use case::{CASES, Case};
use work::{Work, Worked};

/// How often the stores are made anew, and how often each of them is measured then.
const LIVES: usize = 12;
const ROUNDS: usize = 100;

fn main() {
    // What cargo says to every benchmark.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for work in Work::ALL {
        if wanted.is_empty() || wanted.iter().any(|part| work.name().contains(&**part)) {
            tell(work, &measure(work));
        }
    }
}

/// The nanoseconds that one operation took, by round and case.
fn measure(work: Work) -> Vec<[f64; CASES.len()]> {
    let mut rounds = Vec::new();
    let mut order: Vec<usize> = (0..CASES.len()).collect();
    for _ in 0..LIVES {
        fastrand::shuffle(&mut order);
        let mut stores = CASES.map(|_| None);
        for &at in &order {
            stores[at] = Some(Worked::new(work, CASES[at]));
        }
        // The first one warms up.
        for round in 0..=ROUNDS {
            let mut took = [0.0; CASES.len()];
            fastrand::shuffle(&mut order);
            for &at in &order {
                let store = stores[at].as_mut().expect("made above");
                took[at] = store.sample().as_nanos() as f64 / f64::from(work.times());
            }
            if round > 0 {
                rounds.push(took);
            }
        }
    }
    rounds
}

fn tell(work: Work, rounds: &[[f64; CASES.len()]]) {
    println!(
        "\n| {} | median | quartiles | more than nobody | quartiles |\n|---|---|---|---|---|",
        work.name()
    );
    for (at, case) in CASES.iter().enumerate() {
        let [low, median, high] = quartiles(rounds.iter().map(|took| took[at]));
        let more = match case {
            Case::Nobody => "| |".to_owned(),
            _ => {
                let [low, median, high] = quartiles(rounds.iter().map(|took| took[at] - took[0]));
                format!("{} | {} to {} |", time(median), time(low), time(high))
            }
        };
        println!("| {} | {} | {} to {} | {more}", case.name(), time(median), time(low), time(high));
    }
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

/// Nanoseconds, in the unit that fits them.
fn time(nanos: f64) -> String {
    match nanos.abs() {
        ..0.05 => "0.0 ns".to_owned(),
        ..1e3 => format!("{nanos:.1} ns"),
        1e3..1e6 => format!("{:.2} us", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

/// Long enough for memory.
const PATIENT: Duration = Duration::from_secs(60);
