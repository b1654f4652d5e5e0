//! The step `msrv`: the minimum Rust version of the packages.

use serde_json::Value;

use crate::{Result, cargo};

/// Checks that all packages of the workspace have the same minimum Rust version, and that no dependency needs
/// a newer one.
pub(crate) fn check() -> Result {
    consistent(&cargo::metadata()?)
}

fn consistent(metadata: &Value) -> Result {
    let (members, others): (Vec<_>, Vec<_>) =
        cargo::packages(metadata)?.iter().partition(|package| cargo::is_member(metadata, package));
    let minimum = members.first().and_then(|package| version(package)).ok_or("no rust-version is set")?;

    let differ = members.iter().filter(|package| version(package) != Some(minimum));
    let differ = differ
        .map(|package| format!("{} has rust-version {}", cargo::name(package), package["rust_version"]));
    let newer = others.iter().filter(|package| version(package).is_some_and(|needed| needed > minimum));
    let newer =
        newer.map(|package| format!("{} needs Rust {}", cargo::name(package), package["rust_version"]));

    let violations: Vec<_> = differ.chain(newer).collect();
    if violations.is_empty() {
        return Ok(());
    }
    let (major, minor) = minimum;
    Err(format!("the minimum is Rust {major}.{minor}, but {}", violations.join(", ")).into())
}

/// Returns major and minor. Patch releases add no features.
fn version(package: &Value) -> Option<(u32, u32)> {
    let mut numbers = package["rust_version"].as_str()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().unwrap_or(Ok(0)).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn violations(second: Value, dependency: Value) -> String {
        let metadata = json!({
            "packages": [
                {"id": "a", "name": "a", "rust_version": "1.89"},
                {"id": "b", "name": "b", "rust_version": second},
                {"id": "c", "name": "c", "rust_version": dependency},
            ],
            "workspace_members": ["a", "b"],
        });
        consistent(&metadata).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn one_minimum_that_the_dependencies_allow() {
        assert_eq!(violations(json!("1.89.0"), json!("1.9")), "");
        assert_eq!(violations(json!("1.89"), json!(null)), "");
        assert!(violations(json!("1.88"), json!(null)).contains("b has rust-version \"1.88\""));
        assert!(violations(json!(null), json!(null)).contains("b has rust-version null"));
        assert!(violations(json!("1.89"), json!("1.90")).contains("c needs Rust \"1.90\""));
    }
}
