//! A load client: `cargo run --release --bin load -- --port 8080 --clients 100 --seconds 10`.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use shape_meta_example_axum::load::{Load, lock};

/// Requests shapes and checks the answers.
#[derive(Parser)]
struct Options {
    /// The ports of the processes on the local host. A client that is refused tries another one.
    #[arg(long, default_values_t = [8080])]
    port: Vec<u16>,
    /// The number of clients, each with one request in progress.
    #[arg(long, default_value_t = 100)]
    clients: u64,
    /// The duration.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[tokio::main]
async fn main() {
    let Options { port: ports, clients, seconds } = Options::parse();
    let (totals, shape_of) = Default::default();
    let load = Arc::new(Load { ports, tenants: 4, definitions: 1_000, totals, shape_of });
    let mut clients = load.start(clients);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    clients.shutdown().await;
    println!("{:#?}", lock(&load.totals));
}
