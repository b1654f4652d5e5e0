/// Bucket bounds for the histograms of times, in seconds: from a mutation in memory, about a microsecond, to
/// a disk that hangs.
///
/// Without bounds, the exporter of Prometheus writes summaries, which cannot be aggregated over several
/// processes.
pub const TIME_BUCKETS: &[f64] = &[
    5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Bucket bounds for the histograms of changes and bytes (`shape_meta.flush.changes` and
/// `shape_meta.flush.bytes`).
pub const SIZE_BUCKETS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];
