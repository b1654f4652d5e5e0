//! The memory of a shape and the duration of an open: `cargo bench -p shape-meta-bench-criterion --bench
//! memory`. The variable `SHAPES=100000,1000000` sets the numbers of shapes. Each case runs in its own
//! process, which isolates the resident set.

use std::{env, fs, process::Command, time::Instant};

use shape_meta_bench_criterion::null_store::open;
use shape_meta_cache::{CacheOptions, LookupIndex};

fn main() {
    if let Ok(case) = env::var("CASE") {
        return measure(&case);
    }
    println!(
        "{:>10} {:>14} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "shapes", "look-ups", "keys", "resident", "memory()", "entries", "table", "list", "open ms"
    );
    let program = env::current_exe().expect("the path of the program");
    let sizes = env::var("SHAPES").unwrap_or_else(|_| "100000,900000,1000000,1500000".to_owned());
    for shapes in sizes.split(',') {
        for (lookup_index, keys) in [("Memory", 1), ("Memory", 4), ("Memory", 8), ("Disk", 1)] {
            let case = format!("{shapes} {lookup_index} {keys}");
            Command::new(&program).env("CASE", case).status().expect("it runs itself");
        }
    }
}

fn measure(case: &str) {
    let parts: Vec<_> = case.split(' ').collect();
    let [shapes, lookup_index, keys] = parts[..] else { panic!("{case}: three words") };
    let count: u64 = shapes.parse().expect("a number");
    let on_disk = if lookup_index == "Disk" { LookupIndex::Disk } else { LookupIndex::Memory };
    let options = CacheOptions::default()
        .lookup_index(on_disk)
        .keys_per_slot(keys.parse().expect("a number"))
        .exact_key_slots_up_to(0);
    let before = resident();
    let started_at = Instant::now();
    let cached = open(count, options);
    let took = started_at.elapsed().as_millis();
    let per_shape = (resident() - before) / count as usize;
    let memory = cached.memory();
    let [total, entries, table, list] =
        [memory.total(), memory.entries, memory.table, memory.entry_list].map(|bytes| bytes / count as usize);
    println!(
        "{shapes:>10} {lookup_index:>14} {keys:>5} {per_shape:>9} {total:>9} {entries:>9} {table:>9} {list:>9} {took:>9}"
    );
}

fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
}
