//! The cost of observers for a read, a mutation and a flush:
//! `cargo bench -p shape-meta-bench-criterion --bench observers`.
//!
//! The cases run alternately, in another order each round. The result is the difference from the case without
//! an observer in the same round, so that other load on the machine affects all cases equally. The stores are
//! created several times, because a few nanoseconds depend on their position in memory.

#![forbid(unsafe_code)]

use std::time::Duration;

mod case;
mod work;

use case::{CASES, Case};
use work::{Work, Workload};

/// How often the stores are created, and how often each is measured.
const REPETITIONS: usize = 12;
const ROUNDS: usize = 100;

fn main() {
    // Cargo passes `--bench` to every benchmark.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for work in Work::ALL {
        if wanted.is_empty() || wanted.iter().any(|part| work.name().contains(&**part)) {
            print(work, &measure(work));
        }
    }
}

/// Returns the nanoseconds of one operation, by round and case.
fn measure(work: Work) -> Vec<[f64; CASES.len()]> {
    let mut rounds = Vec::new();
    let mut order: Vec<usize> = (0..CASES.len()).collect();
    for _ in 0..REPETITIONS {
        fastrand::shuffle(&mut order);
        let mut stores = CASES.map(|_| None);
        for &at in &order {
            stores[at] = Some(Workload::new(work, CASES[at]));
        }
        // The first round is a warm-up.
        for round in 0..=ROUNDS {
            let mut took = [0.0; CASES.len()];
            fastrand::shuffle(&mut order);
            for &at in &order {
                let store = stores[at].as_mut().expect("created above");
                took[at] = store.sample().as_nanos() as f64 / f64::from(work.times());
            }
            if round > 0 {
                rounds.push(took);
            }
        }
    }
    rounds
}

fn print(work: Work, rounds: &[[f64; CASES.len()]]) {
    println!(
        "\n| {} | median | quartiles | more than without | quartiles |\n|---|---|---|---|---|",
        work.name()
    );
    for (at, case) in CASES.iter().enumerate() {
        let [low, median, high] = quartiles(rounds.iter().map(|took| took[at]));
        let more = match case {
            Case::Unobserved => "| |".to_owned(),
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

/// Formats nanoseconds in a suitable unit.
fn time(nanos: f64) -> String {
    match nanos.abs() {
        ..0.05 => "0.0 ns".to_owned(),
        ..1e3 => format!("{nanos:.1} ns"),
        1e3..1e6 => format!("{:.2} us", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

/// The limit on a flush.
const TIMEOUT: Duration = Duration::from_secs(60);
