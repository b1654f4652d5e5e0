//! The step `features`: every feature of every package compiles alone, and every package without features.

use serde_json::Value;

use crate::{Result, cargo};

/// Builds each package with each of its features alone, and without any. Warnings are errors, because an item
/// that only one feature uses causes a warning only there.
pub(crate) fn check() -> Result {
    let mut failures = Vec::new();
    for (package, feature) in combinations(&cargo::metadata()?)? {
        let arguments = ["clippy", "--quiet", "--package", &package, "--no-default-features"];
        let features = format!("--features={feature}");
        let all = [&arguments[..], &[&features, "--", "--deny=warnings"]].concat();
        if cargo::run(&all, &[]).is_err() {
            let with = if feature.is_empty() { "no feature" } else { &feature };
            failures.push(format!("{package} with {with}"));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join(", ").into()) }
}

/// Returns all packages of the workspace with each of their features, and with "" for none. Cargo's metadata
/// lists them, so a new feature is always included.
fn combinations(metadata: &Value) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for package in cargo::packages(metadata)?.iter().filter(|package| cargo::is_member(metadata, package)) {
        let features = package["features"].as_object().ok_or("a package without a map of features")?;
        let none = std::iter::once(String::new());
        all.extend(
            none.chain(features.keys().cloned()).map(|feature| (cargo::name(package).to_owned(), feature)),
        );
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_feature_of_each_member_and_none() {
        let metadata = json!({
            "packages": [
                {"id": "a#1", "name": "a", "features": {"default": ["x"], "x": [], "y": []}},
                {"id": "b#1", "name": "b", "features": {}},
                {"id": "elsewhere#1", "name": "elsewhere", "features": {"z": []}},
            ],
            "workspace_members": ["a#1", "b#1"],
        });
        let pairs = combinations(&metadata).expect("as cargo writes it");
        let pairs: Vec<_> =
            pairs.iter().map(|(package, feature)| (package.as_str(), feature.as_str())).collect();
        assert_eq!(pairs, [("a", ""), ("a", "default"), ("a", "x"), ("a", "y"), ("b", "")]);
    }
}
