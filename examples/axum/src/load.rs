//! Clients that request shapes from one process or another, and check what they get.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The sender of requests over a connection.
type Connection = http1::SendRequest<Empty<Bytes>>;

/// How long a client waits after a refusal. A real one honours `Retry-After`.
const PAUSE: Duration = Duration::from_millis(20);

/// The answers so far, and the wrong ones.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub served: u64,
    /// Refused or unreachable.
    pub refused: u64,
    pub wrong: Vec<String>,
}

/// What all clients share.
pub struct Load {
    pub ports: Vec<u16>,
    pub tenants: u64,
    /// The number of different definitions for each tenant.
    pub definitions: u64,
    pub totals: Mutex<Totals>,
    /// The shape that each handle was given for. It never serves another one.
    pub shape_of: Mutex<HashMap<String, String>>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects to the process at this port of the local host.
pub async fn connect(port: u16) -> Result<Connection, BoxError> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Returns status and JSON body.
pub async fn get(connection: &mut Connection, path: &str) -> Result<(StatusCode, Value), BoxError> {
    connection.ready().await?;
    let request = Request::get(path).header("host", "localhost").body(Empty::new())?;
    let response = connection.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

impl Load {
    /// Starts clients, which run until they are aborted.
    pub fn start(self: &Arc<Self>, clients: u64) -> JoinSet<()> {
        (0..clients).map(|number| Arc::clone(self).run(number)).collect()
    }

    async fn run(self: Arc<Self>, number: u64) {
        let mut random = fastrand::Rng::with_seed(number);
        let (mut handles, mut connection) = (HashMap::<String, String>::new(), None);
        loop {
            // Some definitions are far more popular than others.
            let definition = random.u64(..self.definitions).min(random.u64(..self.definitions));
            let tenant = random.u64(..self.tenants);
            let shape = format!("/v1/shape/tenant-{tenant}?table=public.todos&filter=id={definition}");
            let held = handles.get(&shape).map_or(String::new(), |handle| format!("&handle={handle}"));
            let answer = self.request(&mut connection, &mut random, &format!("{shape}{held}")).await;
            match answer {
                Ok((StatusCode::OK | StatusCode::CONFLICT, body)) => {
                    let handle = body["handle"].as_str().unwrap_or_default().to_owned();
                    let known = lock(&self.shape_of).entry(handle.clone()).or_insert(shape.clone()).clone();
                    let mut totals = lock(&self.totals);
                    totals.served += 1;
                    if known != shape || handle.is_empty() || body["filter"] != format!("id={definition}") {
                        totals.wrong.push(format!("{shape}: {body}, whose handle is that of {known}"));
                    }
                    drop(totals);
                    handles.insert(shape, handle);
                    continue;
                }
                Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_) => lock(&self.totals).refused += 1,
                Ok((status, body)) => lock(&self.totals).wrong.push(format!("{shape}: {status} {body}")),
            }
            connection = None;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends a request, over a new connection to any process if there is none.
    async fn request(
        &self,
        connection: &mut Option<Connection>,
        random: &mut fastrand::Rng,
        path: &str,
    ) -> Result<(StatusCode, Value), BoxError> {
        let connected = match connection {
            Some(connected) => connected,
            None => connection.insert(connect(self.ports[random.usize(..self.ports.len())]).await?),
        };
        get(connected, path).await
    }
}
