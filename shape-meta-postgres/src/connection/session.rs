//! The settings of a connection.

use std::time::Duration;

use crate::config::PoolOptions;

/// Returns the statements that shorten the time-outs of a connection of the pool itself.
///
/// Its commits wait for the disk of the server alone. A renewal of a lease that a crash of the server undid
/// would end the lease early, and one that waits for a standby server might end it for nothing.
pub(crate) fn timeouts(timeout: Duration) -> String {
    let millis = timeout.as_millis().max(1);
    format!("SET statement_timeout = {millis}; SET lock_timeout = {millis}; SET synchronous_commit = local")
}

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
