//! Some seconds of `cargo xtask churn`.

use std::time::Duration;

use shape_meta_torture::churn::{Load, churn};

#[test]
fn c7_a_short_churn_is_measured() {
    let load = Load {
        shapes: 500,
        rate: 200,
        duration: Duration::from_secs(2),
        interval: Duration::from_millis(400),
    };
    let Some(report) = churn(load).expect("nothing fails") else { return };
    let text = report.to_string();
    assert!(report.cycles >= 300 && text.contains("| `last_read`") && text.contains("% of"), "{text}");
}
