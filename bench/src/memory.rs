//! Opening a filled database, and the memory that it takes then: in a process of its own.

use std::{path::Path, process::Command, time::Instant};

use shape_meta::Lookups;

use crate::{
    Result,
    figure::{Figure, Target},
    sample,
};

/// What the child prints: milliseconds, and bytes of its resident set more than before.
pub(crate) fn measure(directory: &Path, on_disk: bool) -> Result {
    let lookups = if on_disk { Lookups::OnDisk } else { Lookups::InMemory };
    let before = resident()?;
    let begun = Instant::now();
    let store = sample::open(directory, lookups, 0)?;
    let took = begun.elapsed();
    let memory = resident()?.saturating_sub(before);
    println!("{} {memory}", took.as_secs_f64() * 1e3);
    drop(store);
    Ok(())
}

pub(crate) fn run(directory: &Path, shapes: u64) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, argument, most) in
        [("full mirror", None, 750.0), ("look-ups on disk", Some("--on-disk"), 420.0)]
    {
        let (mut boots, mut sizes) = (Vec::new(), Vec::new());
        // The first does not count: look-ups are built or dropped when a file is opened the other way.
        for round in 0..4 {
            let (boot, size) = child(directory, argument)?;
            if round > 0 {
                boots.push(boot);
                sizes.push(size / shapes as f64);
            }
        }
        let boot = Figure::of("boot", format!("opening {shapes} shapes, {name}"), "ms", boots);
        figures.push(boot.target(Target::Most(1_500.0 * shapes as f64 / 1e6)));
        let memory = Figure::of("memory", format!("resident bytes a shape, {name}"), "bytes", sizes);
        figures.push(memory.target(Target::Most(most)));
    }
    Ok(figures)
}

fn child(directory: &Path, argument: Option<&str>) -> Result<(f64, f64)> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--measure-memory")
        .arg(directory)
        .args(argument)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    match (words.next(), words.next()) {
        (Some(Ok(boot)), Some(Ok(size))) => Ok((boot, size)),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

fn resident() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has a second field")?.parse()?;
    Ok(pages * 4096)
}
