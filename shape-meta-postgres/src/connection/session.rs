//! The settings of a connection.

use std::time::Duration;

use crate::config::PoolOptions;

/// Returns the statements that a new connection executes.
///
/// They are no parameters of the connection string, since proxies do not pass those on. Time-outs are
/// settings of the server, so that a statement ends there too, and frees its locks.
pub(crate) fn settings(options: &PoolOptions) -> String {
    let millis = |timeout: Duration| timeout.as_millis().max(1);
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET client_min_messages = warning",
        millis(options.statement_timeout),
        millis(options.lock_timeout),
        millis(options.transaction_timeout),
    )
}
