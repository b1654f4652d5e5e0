//! Checks that the commands in the documentation find what they name.

use crate::sources::{root, sources};

/// An example that is a file of the root package, or of a default member, runs without `-p`. Others need it.
#[test]
fn every_example_that_is_named_can_be_run() {
    let mut commands = 0;
    for source in sources(&["md", "rs", "yml"]) {
        for line in source.text.lines().filter(|line| line.contains("cargo run ")) {
            let Some((_, after)) = line.split_once("--example ") else { continue };
            let end = |next: char| !next.is_ascii_lowercase() && next != '_';
            let name = after.split(end).next().unwrap_or_default();
            if name.is_empty() {
                // A placeholder, or a text like this one.
                continue;
            }
            let is_default = name == "storm" || root().join(format!("examples/{name}.rs")).exists();
            let package = format!("-p shape-meta-example-{name} ");
            let is_found =
                is_default || line.contains(&package) && root().join("examples").join(name).exists();
            assert!(is_found, "{}: cargo finds no such example: {line}", source.path.display());
            commands += 1;
        }
    }
    assert!(commands > 8, "only {commands} commands were found");
}
