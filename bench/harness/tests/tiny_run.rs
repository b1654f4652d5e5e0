//! Every workload runs on the smallest data, and produces the known figures.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

/// Runs the program in this directory. Returns whether it succeeded, and its output.
fn bench(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shape-meta-bench"));
    let output = command.args(arguments).current_dir(directory).output().expect("the program starts");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Returns the names of the figures. Checks that each is a number; not the values.
fn names(outcome: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = outcome["figures"]
        .as_array()
        .expect("figures")
        .iter()
        .map(|figure| {
            let median = figure["spread"]["median"].as_f64();
            assert!(median.is_some_and(|median| median.is_finite() && median >= 0.0), "{figure}");
            format!("{}: {} [{}]", text(&figure["workload"]), text(&figure["measure"]), text(&figure["unit"]))
        })
        .collect();
    names.into_iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_tiny_run_over_postgres_produces_the_known_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let (passed, output) =
        bench(directory.path(), &["--store", "postgres", "--scale", "tiny", "--json", "all.json"]);
    // Where a server is required, the program panics instead.
    if output.contains("bench: there is no PostgreSQL") {
        return;
    }
    assert!(passed, "{output}");
    let written = fs::read(directory.path().join("all.json")).expect("written");
    insta::assert_snapshot!(names(&serde_json::from_slice(&written).expect("valid JSON")));
}

#[test]
fn a_tiny_run_produces_the_known_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let bench = |arguments: &[&str]| bench(directory.path(), arguments);
    let (passed, output) =
        bench(&["--scale", "tiny", "--json", "all.json", "--report", "report", "--pictures", "."]);
    assert!(passed, "{output}");

    let outcome: Value =
        serde_json::from_slice(&fs::read(at("all.json")).expect("written")).expect("valid JSON");
    insta::assert_snapshot!(names(&outcome));

    let page = fs::read_to_string(at("report").join("index.html")).expect("written");
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http"), "it needs no network");
    assert!(page.matches("<svg").count() > 10, "there are charts");
    assert!(fs::read_to_string(at("acknowledged.svg")).expect("written").contains("prefers-color-scheme"));

    // The same figures pass the comparison, and ten times worse ones fail.
    let (passed, output) = bench(&["--from", "all.json", "--baseline", "all.json"]);
    assert!(passed, "{output}");
    let mut worse = outcome.clone();
    for figure in worse["figures"].as_array_mut().expect("figures") {
        for round in ["median", "lowest", "highest"] {
            let factor = if figure["better"] == "higher" { 0.1 } else { 10.0 };
            let value = figure["spread"][round].as_f64().expect("a number");
            figure["spread"][round] = (value * factor).into();
        }
    }
    fs::write(at("worse.json"), worse.to_string()).expect("written");
    let (passed, output) = bench(&["--from", "worse.json", "--baseline", "all.json"]);
    assert!(!passed && output.contains("WORSE"), "{output}");
}
