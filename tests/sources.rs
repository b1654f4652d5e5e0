//! The text files of the repository, for tests that check them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Directories without text of the project: build output, packages, and sample data.
const EXCLUDED: &[&str] =
    &["target", "corpus", "dist", "fixtures", "node_modules", "pictures", "proptest-regressions"];
/// Hidden directories of the project.
const HIDDEN: &[&str] = &[".cargo", ".ci", ".config", ".github"];

/// A text file with its path relative to the root of the repository.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// Returns the extension of the file, or the file name if it has none.
    pub(crate) fn kind(&self) -> &str {
        let kind = self.path.extension().or(self.path.file_name());
        kind.and_then(|kind| kind.to_str()).unwrap_or_default()
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

/// Returns all files of these kinds (see [`Source::kind`]), sorted by path.
pub(crate) fn sources(kinds: &[&str]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !EXCLUDED.contains(&name) && (!name.starts_with('.') || HIDDEN.contains(&name)) {
                    directories.push(path);
                }
                continue;
            }
            let relative = path.strip_prefix(root()).expect("it is below the root").to_owned();
            let mut source = Source { path: relative, text: String::new() };
            if kinds.contains(&source.kind()) {
                source.text = fs::read_to_string(&path).expect("it can be read");
                sources.push(source);
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}
