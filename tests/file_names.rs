//! File names are never made from text: a name that is not UTF-8 would become another name.

use crate::sources::sources;

/// Crates that name files.
const CRATES: &[&str] = &["shape-meta-sqlite/src/", "shape-meta-cli/src/"];
/// Methods that lose bytes of a name, or refuse it.
const LOSSY: &[&str] =
    &[".to_string_lossy(", ".into_string()", "os_str().to_str()", "path.to_str()", "file_name().to_str()"];
/// Words of a statement that makes a message, and no name.
const MESSAGES: &[&str] = &[
    "Error::new(",
    "message",
    "opening",
    "operation",
    "Failure",
    "writeln!",
    "json!",
    "failed(",
    "refused(",
    "Usage(",
];

#[test]
fn c11_no_file_name_is_made_from_text() {
    let mut violations = Vec::new();
    for source in sources(&["rs"]) {
        let path = source.path.display().to_string();
        if !CRATES.iter().any(|name| path.starts_with(name)) {
            continue;
        }
        let product = source.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for lossy in LOSSY {
            if product.contains(lossy) {
                violations.push(format!("{path}: {lossy}"));
            }
        }
        for (at, _) in product.match_indices(".display()") {
            let statement = product[..at].rfind(";\n").map_or(0, |start| start + 1);
            let statement = &product[statement..at];
            if statement.contains("format!(") && !MESSAGES.iter().any(|word| statement.contains(word)) {
                let line = product[..at].lines().count();
                violations.push(format!("{path}:{line}: a text with `Path::display` that is no message"));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
