use crate::support::OverFailing;

mod stepped {
    shape_meta_core::conformance_tests!(super::OverFailing::stepped());
}

mod threaded {
    shape_meta_core::conformance_tests!(super::OverFailing::threaded());
}

mod sharing {
    shape_meta_core::conformance_tests!(super::OverFailing::sharing());
}

mod late_and_stepped {
    shape_meta_core::conformance_tests!(super::OverFailing::late_and_stepped());
}

mod late_and_threaded {
    shape_meta_core::conformance_tests!(super::OverFailing::late_and_threaded());
}

#[test]
fn control_with_a_background_flusher() {
    shape_meta_core::conformance::control::run_all(&OverFailing::threaded());
    shape_meta_core::conformance::control::run_all(&OverFailing::sharing());
    shape_meta_core::conformance::control::run_all(&OverFailing::late_and_threaded());
}
