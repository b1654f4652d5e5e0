use crate::support::OverFailing;

mod stepped {
    shape_meta_core::conformance_tests!(super::OverFailing::stepped());
}

mod threaded {
    shape_meta_core::conformance_tests!(super::OverFailing::threaded());
}
