//! The oldest Rust that the packages promise to build with.

use serde_json::Value;

use crate::{Result, cargo};

/// All packages of the workspace promise the same Rust, and no dependency needs a newer one.
pub(crate) fn check() -> Result {
    consistent(&cargo::metadata()?)
}

fn consistent(metadata: &Value) -> Result {
    let (members, others): (Vec<_>, Vec<_>) =
        cargo::packages(metadata)?.iter().partition(|package| cargo::is_member(metadata, package));
    let promised = members.first().and_then(|package| version(package)).ok_or("no rust-version is set")?;

    let differ = members.iter().filter(|package| version(package) != Some(promised));
    let differ = differ
        .map(|package| format!("{} has rust-version {}", cargo::name(package), package["rust_version"]));
    let newer = others.iter().filter(|package| version(package).is_some_and(|needed| needed > promised));
    let newer =
        newer.map(|package| format!("{} needs Rust {}", cargo::name(package), package["rust_version"]));

    let complaints: Vec<_> = differ.chain(newer).collect();
    if complaints.is_empty() {
        return Ok(());
    }
    let (major, minor) = promised;
    Err(format!("the promise is Rust {major}.{minor}, but {}", complaints.join(", ")).into())
}

/// Major and minor; patch releases bring no features.
fn version(package: &Value) -> Option<(u32, u32)> {
    let mut numbers = package["rust_version"].as_str()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().unwrap_or(Ok(0)).ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(second: Value, dependency: Value) -> String {
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
    fn one_promise_that_the_dependencies_allow() {
        assert_eq!(told(json!("1.89.0"), json!("1.9")), "");
        assert_eq!(told(json!("1.89"), json!(null)), "");
        assert!(told(json!("1.88"), json!(null)).contains("b has rust-version \"1.88\""));
        assert!(told(json!(null), json!(null)).contains("b has rust-version null"));
        assert!(told(json!("1.89"), json!("1.90")).contains("c needs Rust \"1.90\""));
    }
}
