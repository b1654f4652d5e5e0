use std::time::Duration;

use crate::backpressure::DrainRate;

const MS: Duration = Duration::from_millis(1);

fn after(flushes: &[(usize, u64)]) -> DrainRate {
    let drain = DrainRate::default();
    flushes.iter().for_each(|(changes, millis)| drain.flushed(*changes, Duration::from_millis(*millis)));
    drain
}

#[test]
fn c7_the_first_estimate_assumes_an_ordinary_disk() {
    let drain = DrainRate::default();
    let times = [0, 500, 5_000, 1_000_000, usize::MAX].map(|changes| drain.time_for(changes));
    assert_eq!(times, [1, 10, 100, 20_000, 30_000].map(|millis| millis * MS));
}

#[test]
fn c7_while_flushes_fail_the_estimate_covers_the_next_attempt() {
    let drain = DrainRate::default();
    drain.failed(2_000 * MS);
    assert_eq!([0, 5_000].map(|changes| drain.time_for(changes)), [2_000 * MS, 2_100 * MS]);
    drain.failed(40_000 * MS);
    assert_eq!(drain.time_for(0), 30_000 * MS, "the longest estimate");
    drain.flushed(1_000, 20 * MS);
    assert_eq!(drain.time_for(5_000), 100 * MS, "flushes succeed again, at the rate of an ordinary disk");
}

#[test]
fn c7_a_quiet_store_gives_short_estimates_as_a_storm_begins() {
    assert_eq!(after(&[]).rate(), 0.0);
    let quiet = after(&[(1, 5); 1_000]);
    assert!(quiet.time_for(50_000) < Duration::from_secs(3), "{quiet:?}");
    let stormed = after(&[&[(1, 5); 1_000][..], &[(20_000, 200)]].concat());
    assert!((80_000.0..110_000.0).contains(&stormed.rate()), "{stormed:?}");
}

#[test]
fn c7_the_estimate_follows_a_slow_disk() {
    let slow = after(&[(1_000, 2_000); 3]);
    assert!((400.0..800.0).contains(&slow.rate()), "{slow:?}");
    let slow_and_quiet = after(&[(1, 1_000); 10]);
    assert!(slow_and_quiet.time_for(50_000) > Duration::from_secs(20), "{slow_and_quiet:?}");
    let recovered = after(&[&[(1_000, 2_000); 3][..], &[(20_000, 200); 10]].concat());
    assert!((80_000.0..110_000.0).contains(&recovered.rate()), "{recovered:?}");
}
