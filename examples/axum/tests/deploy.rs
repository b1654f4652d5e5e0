//! Two processes under load: one is killed with SIGKILL, another one is deployed over. No answer is wrong, no
//! directory of a shape is orphaned, and no executor stalls.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use shape_meta::{CacheOptions, NoopCleaner, prelude::*};
use shape_meta_example_axum::load::{Load, connect, get, lock};
use tokio::time::{Instant, sleep};

const TENANTS: u64 = 2;
const MAX_SHAPES: u64 = 200;
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long a task of the executor may wait, in microseconds.
const MAX_STALL: u64 = 10_000;
/// A machine that makes a single thread wait longer than this is busy. There, a task waits for several
/// threads in a row, and a stall is what is far longer than that.
const BUSY: u64 = 5_000;
const THREADS_IN_A_ROW: u64 = 8;

/// A process of the service, which is killed when the test ends.
struct Process(Child, u16);

impl Process {
    fn start(directory: &Path, port: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--port", &port.to_string(), "--tenants", &TENANTS.to_string()])
            .args(["--max-shapes", &MAX_SHAPES.to_string(), "--directory"])
            .arg(directory)
            .spawn()
            .expect("the service starts");
        Self(child, port)
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(status.expect("there is a command `kill`").success());
    }

    fn ended(&mut self) {
        let status = self.0.wait().expect("it is a child");
        assert!(status.success(), "{status}");
    }

    async fn get(&self, path: &str) -> Option<(u16, serde_json::Value)> {
        let (status, body) = get(&mut connect(self.1).await.ok()?, path).await.ok()?;
        Some((status.as_u16(), body))
    }

    /// Waits until the answer to this path is as wanted.
    async fn wait(&self, path: &str, wanted: impl Fn(u16, &serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let answer = self.get(path).await;
            match answer {
                Some((status, body)) if wanted(status, &body) => return body,
                answer => assert!(Instant::now() < deadline, "{path}: {answer:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn serves(&self) {
        self.wait("/livez", |status, _| status == 200).await;
    }

    async fn is_ready(&self) {
        self.wait("/readyz", |status, _| status == 200).await;
    }

    async fn assert_no_stalls(&self) {
        let (_, status) = self.get("/status").await.expect("it serves");
        let [executor, thread] =
            ["executor_stall_us", "thread_stall_us"].map(|name| status[name].as_u64().expect("a number"));
        println!("longest gap of the executor {executor} us, of a thread {thread} us");
        let limit = if thread <= BUSY { MAX_STALL } else { THREADS_IN_A_ROW * thread };
        assert!(executor <= limit, "the executor stalls: {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether nothing is left to evict and to clean.
fn is_clean(status: &serde_json::Value) -> bool {
    let is_clean = |store: &serde_json::Value| {
        store["cleanup_tasks"] == 0
            && store["swept"] == true
            && store["shapes"].as_u64().is_some_and(|shapes| shapes <= MAX_SHAPES)
    };
    status["stores"]
        .as_array()
        .is_some_and(|stores| stores.len() as u64 == TENANTS && stores.iter().all(is_clean))
}

/// Runs the load until this many more answers were served.
async fn serve_more(load: &Load, answers: u64) {
    let (wanted, deadline) = (lock(&load.totals).served + answers, Instant::now() + TIMEOUT);
    while lock(&load.totals).served < wanted {
        assert!(Instant::now() < deadline, "{:?}", lock(&load.totals));
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_kill_and_a_deploy_under_load_give_no_wrong_answer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let ports = sockets.map(|socket| socket.local_addr().expect("it is bound").port());
    let start = |number: usize| Process::start(directory.path(), ports[number]);

    let mut first = start(0);
    first.is_ready().await;
    // An empty storage belongs to the new database; later, data without a shape is garbage.
    first.wait("/status", |_, status| is_clean(status)).await;
    let (totals, shape_of) = Default::default();
    let (tenants, definitions) = (TENANTS, 3 * MAX_SHAPES);
    let load = Arc::new(Load { ports: ports.to_vec(), tenants, definitions, totals, shape_of });
    let mut clients = load.start(40);
    serve_more(&load, 2_000).await;
    first.assert_no_stalls().await;

    // The second process is a standby, and becomes the owner when the first one is killed.
    let second = start(1);
    second.serves().await;
    first.signal("-KILL");
    let _ = first.0.wait();
    second.is_ready().await;
    serve_more(&load, 2_000).await;

    // The third process is deployed over the second one, which ends in order.
    let third = start(2);
    third.serves().await;
    second.assert_no_stalls().await;
    second.signal("-TERM");
    let mut second = second;
    second.ended();
    third.is_ready().await;
    serve_more(&load, 2_000).await;
    third.assert_no_stalls().await;

    clients.shutdown().await;
    let totals = lock(&load.totals).clone();
    println!("{totals:?}");
    assert_eq!(totals.wrong, Vec::<String>::new());

    // The eviction and the cleaner come to their end.
    third.wait("/status", |_, status| is_clean(status)).await;
    third.signal("-TERM");
    let mut third = third;
    third.ended();

    for number in 0..TENANTS {
        let tenant = format!("tenant-{number}");
        let store = ShapeMeta::builder(NoopCleaner)
            .cached(CacheOptions::default())
            .open(directory.path().join("meta").join(&tenant))
            .expect("the service has released it");
        let shapes = store.list().expect("it can be read");
        let live: BTreeSet<_> =
            shapes.iter().map(|shape| shape.record.handle().file_name().expect("a name")).collect();
        let stored: BTreeSet<_> = std::fs::read_dir(directory.path().join("data").join(&tenant))
            .expect("it can be listed")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        let stored: BTreeSet<_> = stored.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let live: BTreeSet<_> = live.iter().map(|name| name.to_string()).collect();
        assert_eq!(stored, live, "{tenant}: a directory for each shape, and no other");
    }
}
