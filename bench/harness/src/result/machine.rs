use std::{fs, path::Path, thread};

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    candidate::{Backend, SETTINGS, server},
};

/// The machine and the versions, which belong to every figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    /// The file system of the databases' directory, with its device.
    pub(crate) filesystem: String,
    pub(crate) rustc: String,
    pub(crate) flags: String,
    pub(crate) sqlite: String,
    /// The version of the server and its settings, if it was measured.
    #[serde(default)]
    pub(crate) postgres: Option<String>,
    pub(crate) shape_meta: String,
    /// The load average when the run began. If it is above the number of cores, the machine was busy.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn detect(directory: &Path, store: Backend) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let memory = read("/proc/meminfo");
        let kilobytes = memory.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
        let load = read("/proc/loadavg");
        let postgres = match store {
            Backend::Sqlite => None,
            Backend::Postgres => {
                Some(format!("{}, {}", server()?.query("SHOW server_version")?, SETTINGS.join(", ")))
            }
        };
        Ok(Self {
            postgres,
            processor: processor
                .and_then(|line| line.split_once(':'))
                .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory: kilobytes
                .map_or_else(|| "unknown".into(), |kilobytes| format!("{} GiB", kilobytes >> 20)),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            filesystem: filesystem(directory).unwrap_or_else(|| "unknown".into()),
            rustc: env!("BENCH_RUSTC").to_owned(),
            flags: env!("BENCH_FLAGS").trim().to_owned(),
            sqlite: rusqlite::version().to_owned(),
            shape_meta: env!("CARGO_PKG_VERSION").to_owned(),
            load: load.split_whitespace().next().unwrap_or("unknown").to_owned(),
        })
    }

    /// Returns the facts for the report, by name.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![
            ("processor", format!("{}, {} cores", self.processor, self.cores)),
            ("memory", self.memory.clone()),
            ("kernel", self.kernel.clone()),
            ("file system", self.filesystem.clone()),
            ("compiler", format!("{}, {}", self.rustc, self.flags)),
            ("SQLite", self.sqlite.clone()),
            ("shape-meta", self.shape_meta.clone()),
            ("load at the start", self.load.clone()),
        ];
        facts.extend(self.postgres.clone().map(|postgres| ("PostgreSQL", postgres)));
        facts
    }

    /// Returns the difference if the figures of the two machines cannot be compared.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        let facts = |machine: &Self| (machine.processor.clone(), machine.cores, machine.filesystem.clone());
        (facts(self) != facts(other)).then(|| format!("{:?} against {:?}", facts(self), facts(other)))
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn filesystem(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = read("/proc/mounts");
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let (device, _, kind) =
        fields.filter(|(_, at, _)| directory.starts_with(at)).max_by_key(|(_, at, _)| at.len())?;
    Some(format!("{kind} on {device}"))
}
