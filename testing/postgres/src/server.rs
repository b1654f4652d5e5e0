//! The server of the tests.
//!
//! `SHAPE_META_TEST_POSTGRES` names one: a connection string with the right to create schemas. Otherwise a
//! private cluster is made in a temporary directory, if `initdb` is on the path or in Debian's place, and
//! stopped with the test process. Otherwise the tests are skipped, unless `SHAPE_META_REQUIRE_POSTGRES` is
//! set.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The password of the user `postgres` of a private cluster.
pub const PASSWORD: &str = "only for tests";
/// The user and the group without rights on every system.
const UNPRIVILEGED: (u32, u32) = (65_534, 65_534);
/// How long a server may take to start or to stop.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the connection string of the shared server; `None` if there is none, and the test is skipped.
pub fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<(String, Option<Cluster>)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        if let Ok(connection) = env::var("SHAPE_META_TEST_POSTGRES") {
            return Some((connection, None));
        }
        let cluster = Cluster::create(&[])?;
        Some((cluster.connection(), Some(cluster)))
    });
    Some(&shared.as_ref()?.0)
}

/// Returns a server of its own for a test that stops it; `None` if the test is skipped.
pub fn own(settings: &[&str]) -> Option<Cluster> {
    Cluster::create(settings)
}

/// Reports once that tests are skipped, and how to get a server.
fn skipped(why: &str) {
    static REPORTED: OnceLock<()> = OnceLock::new();
    let how = "set SHAPE_META_TEST_POSTGRES, or install PostgreSQL (Debian: postgresql)";
    assert!(env::var_os("SHAPE_META_REQUIRE_POSTGRES").is_none(), "no PostgreSQL: {why}; {how}");
    REPORTED.get_or_init(|| {
        // Not by a macro, whose output is captured when a test passes.
        let _ = writeln!(io::stderr(), "skipped, as there is no PostgreSQL ({why}): {how}");
    });
}

/// A private cluster. The directory is deleted, and the server stopped, when this is dropped, or when the
/// process ends in any way.
pub struct Cluster {
    programs: PathBuf,
    directory: PathBuf,
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    /// The port, on all of its starts.
    pub port: u16,
    guard: Option<(Child, ChildStdin)>,
}

impl Cluster {
    fn create(settings: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            skipped("no initdb on the path or in /usr/lib/postgresql");
            return None;
        };
        // PostgreSQL refuses to run as root.
        let is_root =
            fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let user = match is_root {
            true => Some(user("postgres").unwrap_or(UNPRIVILEGED)),
            false => None,
        };
        let directory =
            tempfile::Builder::new().prefix("shape-meta-pg-").tempdir().expect("it is created").keep();
        let password = directory.join("password");
        fs::write(&password, PASSWORD).expect("it is written");
        if let Some((uid, gid)) = user {
            for path in [&directory, &password] {
                chown(path, Some(uid), Some(gid)).expect("this is root");
            }
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { programs, directory, user, settings, port: 0, guard: None };
        let made = cluster
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pwfile")
            .arg(password)
            .arg("-D")
            .arg(cluster.data())
            .output();
        let failure = match made {
            Ok(made) if made.status.success() => None,
            Ok(made) => Some(String::from_utf8_lossy(&made.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(failure) = failure {
            skipped(&format!("initdb failed: {}", failure.trim()));
            return None;
        }
        cluster.start();
        Some(cluster)
    }

    /// Returns the connection string of the superuser.
    pub fn connection(&self) -> String {
        connection(self.port, PASSWORD)
    }

    /// Starts the server, on the port that it had before.
    pub fn start(&mut self) {
        if self.port == 0 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
            self.port = listener.local_addr().expect("it is bound").port();
        }
        // The shell ends the server and deletes the directory when its input is closed: by us, or by the end
        // of this process.
        let script = r#"
            postgres=$1; data=$2; shift 2
            "$postgres" -D "$data" "$@" >> "$data/log" 2>&1 &
            server=$!
            read -r what
            case $what in
                kill)
                    kill -KILL $server $(cat "/proc/$server/task/$server/children")
                    wait $server
                    rm -f "$data/postmaster.pid" ;;
                stop) kill -INT $server; wait $server ;;
                *) kill -QUIT $server; wait $server; rm -rf "$(dirname "$data")" ;;
            esac 2> /dev/null
            echo done"#;
        let mut shell = self.command_of("/bin/sh".into());
        shell.args(["-c", script, "sh"]).arg(self.programs.join("postgres")).arg(self.data());
        shell.args(["-p", &self.port.to_string(), "-k"]).arg(&self.directory);
        for setting in
            ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=60", "shared_buffers=64MB"]
        {
            shell.args(["-c", setting]);
        }
        for setting in &self.settings {
            shell.args(["-c", setting]);
        }
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the shell runs");
        let input = shell.stdin.take().expect("it is piped");
        self.guard = Some((shell, input));
        let deadline = Instant::now() + TIMEOUT;
        // The last line of this file says whether the server accepts connections.
        let state = || fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        while state().lines().nth(7).is_none_or(|line| line.trim() != "ready") {
            let log = || fs::read_to_string(self.data().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server does not start: {}", log());
            std::thread::yield_now();
        }
    }

    /// Kills the server with SIGKILL, and all its processes with it.
    pub fn kill(&mut self) {
        self.end("kill");
    }

    /// Shuts the server down, which ends all sessions.
    pub fn stop(&mut self) {
        self.end("stop");
    }

    fn end(&mut self, how: &str) {
        let Some((mut shell, mut input)) = self.guard.take() else { return };
        writeln!(input, "{how}").expect("the shell reads");
        let mut output = String::new();
        shell.stdout.take().expect("it is piped").read_to_string(&mut output).expect("the shell writes");
        shell.wait().expect("the shell ends");
        assert_eq!(output.trim(), "done");
    }

    /// Appends lines to the file of access rules, before the others, and makes the server read it.
    pub fn allow(&self, rules: &str) {
        let path = self.data().join("pg_hba.conf");
        let old = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, format!("{rules}\n{old}")).expect("it is written");
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn command(&self, program: &str) -> Command {
        self.command_of(self.programs.join(program).into())
    }

    fn command_of(&self, program: OsString) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory).env("LC_ALL", "C");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end("");
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns the connection string of the superuser of a cluster.
pub fn connection(port: u16, password: &str) -> String {
    format!("host=127.0.0.1 port={port} user=postgres dbname=postgres password='{password}'")
}

/// Returns the directory with the programs of the newest server.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find(|directory| directory.join("initdb").is_file());
    on_path.or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
        let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path))?.join("bin");
        newest.join("initdb").is_file().then_some(newest)
    })
}

/// Returns the numbers of a user and its group.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
