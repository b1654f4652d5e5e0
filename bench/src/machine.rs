use std::{fs, thread};

/// The machine and the versions, since a figure without them says nothing.
pub(crate) fn describe() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kilobytes: u64 = text.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{} GiB", kilobytes >> 20))
    });
    format!(
        "shape-meta {}, SQLite {}, {} with {} cores, {}",
        env!("CARGO_PKG_VERSION"),
        rusqlite::version(),
        processor.as_deref().unwrap_or("unknown processor"),
        thread::available_parallelism().map_or(0, usize::from),
        memory.as_deref().unwrap_or("unknown memory"),
    )
}
