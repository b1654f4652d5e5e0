use std::{
    collections::HashSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use shape_meta::{Definition, Shape, Trace};

use crate::Result;

/// The number of invalid lines that are printed.
const MAX_PRINTED: usize = 20;

pub(crate) struct Definitions {
    pub(crate) path: PathBuf,
    /// The definitions in the order of the trace, which may repeat one.
    pub(crate) requested: Vec<Shape>,
    pub(crate) different: usize,
}

/// Reads the whole trace. If lines are invalid, prints them with file and line, and fails.
pub(crate) fn read(path: &Path) -> Result<Definitions> {
    let mut requested = Vec::new();
    let mut invalid = 0;
    let file =
        File::open(path).map_err(|error| format!("{}: cannot open the trace: {error}", path.display()))?;
    for line in Trace::new(BufReader::new(file)) {
        match line {
            Ok((_, shape)) => requested.push(shape),
            Err(error) => {
                invalid += 1;
                if invalid <= MAX_PRINTED {
                    eprintln!("storm: {}: {error}", path.display());
                }
            }
        }
    }
    if invalid > 0 {
        return Err(format!("{} invalid lines in {}; nothing was played", invalid, path.display()).into());
    }
    let different = requested.iter().map(Definition::key).collect::<HashSet<_>>().len();
    Ok(Definitions { path: path.to_path_buf(), requested, different })
}
