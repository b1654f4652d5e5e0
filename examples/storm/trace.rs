use std::{
    collections::HashSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use shape_meta::{Definition, Shape, Trace};

use crate::Result;

/// How many bad lines are told one by one.
const TOLD: usize = 20;

pub(crate) struct Definitions {
    pub(crate) path: PathBuf,
    /// In the order of the trace; the same definition may be asked for many times.
    pub(crate) asked: Vec<Shape>,
    pub(crate) different: usize,
}

/// Reads the whole trace. Bad lines are told with file and line, and nothing is played then.
pub(crate) fn read(path: &Path) -> Result<Definitions> {
    let mut asked = Vec::new();
    let mut bad = 0;
    let file =
        File::open(path).map_err(|error| format!("{}: cannot open the trace: {error}", path.display()))?;
    for line in Trace::new(BufReader::new(file)) {
        match line {
            Ok((_, shape)) => asked.push(shape),
            Err(error) => {
                bad += 1;
                if bad <= TOLD {
                    eprintln!("storm: {}: {error}", path.display());
                }
            }
        }
    }
    if bad > 0 {
        return Err(format!("{} bad lines in {}; nothing was played", bad, path.display()).into());
    }
    let different = asked.iter().map(Definition::key).collect::<HashSet<_>>().len();
    Ok(Definitions { path: path.to_path_buf(), asked, different })
}
