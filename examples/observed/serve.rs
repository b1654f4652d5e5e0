//! A minimal HTTP server for scrapes.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use shape_meta::{Reporter, StoreControl, WeakShapeMeta};

use crate::Result;

pub(crate) fn start(
    port: u16,
    reporter: Reporter,
    exporter: PrometheusHandle,
    store: WeakShapeMeta,
) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    thread::Builder::new().name("metrics".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that disconnects is ignored.
            let _ = answer(stream, |path| match path {
                "/metrics" => {
                    // Gauges are recorded at each scrape. They need no thread, and are never older than the
                    // answer.
                    reporter.record();
                    exporter.run_upkeep();
                    ("200 OK", exporter.render())
                }
                "/health" => match store.upgrade().map(|store| store.health()) {
                    Some(health) if health.is_ready() => ("200 OK", format!("{health}\n")),
                    Some(health) => ("503 Service Unavailable", format!("{health}\n")),
                    None => ("503 Service Unavailable", "closed\n".to_owned()),
                },
                _ => ("404 Not Found", "the paths are /metrics and /health\n".to_owned()),
            });
        }
    })?;
    Ok(())
}

fn answer(mut stream: TcpStream, body: impl Fn(&str) -> (&'static str, String)) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The headers are read and ignored.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = body(request.split(' ').nth(1).unwrap_or("/"));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}
