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
        let directory = own_directory(user);
        let password = directory.join("password");
        fs::write(&password, PASSWORD).expect("it is written");
        if let Some((uid, gid)) = user {
            chown(&password, Some(uid), Some(gid)).expect("this is root");
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { programs, directory, user, settings, port: 0, guard: None };
        let mut made = cluster.command("initdb");
        made.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pwfile")
            .arg(password)
            .arg("-D")
            .arg(cluster.data());
        if let Err(failure) = run(made) {
            skipped(&format!("initdb failed: {failure}"));
            return None;
        }
        cluster.start();
        Some(cluster)
    }

    /// Returns a server that replicates this one, as a hot standby.
    pub fn replica(&self) -> Self {
        let directory = own_directory(self.user);
        let (programs, settings) = (self.programs.clone(), self.settings.clone());
        let mut replica = Self { programs, directory, user: self.user, settings, port: 0, guard: None };
        let mut copied = replica.command("pg_basebackup");
        copied
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"])
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()])
            .arg("-D")
            .arg(replica.data());
        run(copied).expect("the base backup is made");
        replica.start();
        replica
    }

    /// Makes a replica a server that accepts writes.
    pub fn promote(&self) {
        let mut promoted = self.command("pg_ctl");
        promoted.args(["promote", "-w", "-D"]).arg(self.data());
        run(promoted).expect("it is promoted");
    }

    /// Returns a directory of this size in bytes for a tablespace; `None` if this process may mount none.
    pub fn small_disk(&self, bytes: u64) -> Option<SmallDisk> {
        let path = self.directory.join("disk");
        fs::create_dir(&path).expect("it is created");
        let (uid, gid) = self.user?;
        let options = format!("size={bytes},mode=0700,uid={uid},gid={gid}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(SmallDisk { path })
    }

    /// Makes the server accept TLS, with a certificate for 127.0.0.1 of an authority of its own. Returns the
    /// certificate of the authority as PEM; `None` if there is no `openssl`.
    pub fn enable_tls(&mut self) -> Option<Vec<u8>> {
        let at = |name: &str| self.data().join(name);
        let new = |extra: &[&str]| {
            let mut command = self.command_of("openssl".into());
            command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
            command.args(["-nodes", "-days", "2"]).args(extra);
            command
        };
        let mut authority = new(&["-subj", "/CN=authority"]);
        authority.arg("-keyout").arg(at("ca.key")).arg("-out").arg(at("ca.crt"));
        run(authority).ok()?;
        let extensions = ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1"];
        let mut server = new(&[&extensions[..], &["-addext", "basicConstraints=critical,CA:FALSE"]].concat());
        server.arg("-CA").arg(at("ca.crt")).arg("-CAkey").arg(at("ca.key"));
        server.arg("-keyout").arg(at("server.key")).arg("-out").arg(at("server.crt"));
        run(server).expect("openssl has made the first one");
        self.stop();
        self.settings.push("ssl=on".into());
        self.start();
        Some(fs::read(self.data().join("ca.crt")).expect("it was made"))
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
                    # Stopped first, so that it starts no process meanwhile.
                    kill -STOP $server
                    children=$(cat "/proc/$server/task/$server/children")
                    kill -KILL $server $children
                    wait $server
                    # The next server needs the memory that they have shared, until they are zombies.
                    for child in $children; do
                        while grep -qs "^State:[[:space:]]*[^XZ]" "/proc/$child/status"; do :; done
                    done
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

    /// Runs statements by `psql`, each in a transaction of its own, as the superuser.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn execute(&self, statements: &[&str]) -> Result<(), String> {
        statements.iter().try_for_each(|statement| self.query(statement).map(drop))
    }

    /// Returns the rows of a query by `psql` as text, without the last line end.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn query(&self, query: &str) -> Result<String, String> {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query, "-d"])
            .arg(self.connection());
        let output = psql.output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
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

/// A small file system for a tablespace.
pub struct SmallDisk {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since the server may have files in it open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Runs a command that ends.
fn run(mut command: Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns a new directory of this user.
fn own_directory(user: Option<(u32, u32)>) -> PathBuf {
    let directory =
        tempfile::Builder::new().prefix("shape-meta-pg-").tempdir().expect("it is created").keep();
    if let Some((uid, gid)) = user {
        chown(&directory, Some(uid), Some(gid)).expect("this is root");
    }
    directory
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

/// Returns the connection string of the superuser for the one of these clusters that accepts writes.
pub fn connection_to_any(ports: [u16; 2]) -> String {
    let [first, second] = ports;
    format!(
        "host=127.0.0.1,127.0.0.1 port={first},{second} user=postgres dbname=postgres password='{PASSWORD}' \
         target_session_attrs=read-write"
    )
}

/// Returns the directory with the programs of the newest server.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Through links, since one to `initdb` alone may be on the path.
    let on_path = env::split_paths(&path).find_map(|directory| {
        let program = fs::canonicalize(directory.join("initdb")).ok()?;
        program.parent().map(Path::to_owned)
    });
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
