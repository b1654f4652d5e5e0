use std::time::Duration;

use crate::drain::Drain;

const MS: Duration = Duration::from_millis(1);

#[test]
fn c7_before_the_first_flush_a_usual_disk_is_assumed() {
    let drain = Drain::default();
    let times = [0, 500, 5_000, 1_000_000, usize::MAX].map(|changes| drain.time_for(changes));
    assert_eq!(times, [1, 10, 100, 20_000, 30_000].map(|millis| millis * MS));
}

#[test]
fn c7_while_flushes_fail_nobody_is_asked_to_come_before_the_next_attempt() {
    let drain = Drain::default();
    drain.failed(2_000 * MS);
    assert_eq!([0, 5_000].map(|changes| drain.time_for(changes)), [2_000 * MS, 2_100 * MS]);
    drain.failed(40_000 * MS);
    assert_eq!(drain.time_for(0), 30_000 * MS, "and for no longer than that");
    drain.flushed(1_000, 20 * MS);
    assert_eq!(drain.time_for(5_000), 100 * MS, "it goes on, and is as fast as usual");
}
