//! Every workload runs on the smallest data, and produces the known figures.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

#[test]
fn a_tiny_run_produces_the_known_figures() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let bench = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shape-meta-bench"));
        let output =
            command.args(arguments).current_dir(directory.path()).output().expect("the program starts");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (passed, output) =
        bench(&["--scale", "tiny", "--json", "all.json", "--report", "report", "--pictures", "."]);
    assert!(passed, "{output}");

    let outcome: Value =
        serde_json::from_slice(&fs::read(at("all.json")).expect("written")).expect("valid JSON");
    let figures = outcome["figures"].as_array().expect("figures");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Checks the names of the figures, and that each is a number; not the values.
    let names: BTreeSet<String> = figures
        .iter()
        .map(|figure| {
            format!("{}: {} [{}]", text(&figure["workload"]), text(&figure["measure"]), text(&figure["unit"]))
        })
        .collect();
    insta::assert_snapshot!(names.into_iter().collect::<Vec<_>>().join("\n"));
    for figure in figures {
        let median = figure["spread"]["median"].as_f64();
        assert!(median.is_some_and(|median| median.is_finite() && median >= 0.0), "{figure}");
    }

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
