//! The conformance suite over the buffer.

use crate::support::OverFailing;

mod stepped {
    shape_meta_core::conformance_tests!(composition: super::OverFailing::stepped());
}

mod threaded {
    shape_meta_core::conformance_tests!(composition: super::OverFailing::threaded());
}

mod shared_flushers {
    shape_meta_core::conformance_tests!(composition: super::OverFailing::sharing());
}

mod deferred_publish_stepped {
    shape_meta_core::conformance_tests!(composition: super::OverFailing::late_and_stepped());
}

mod deferred_publish_threaded {
    shape_meta_core::conformance_tests!(composition: super::OverFailing::late_and_threaded());
}
