//! The database that a command reads: one in a directory, or a stack in PostgreSQL.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use shape_meta_core::{
    Error, Handle, ScanItem,
    store_parts::{Verifier, VerifyReport},
};
#[cfg(feature = "postgres")]
use shape_meta_postgres::PostgresInspector;
use shape_meta_sqlite::Inspector;

use crate::{
    args::{Database, masked},
    exit::Failure,
};

/// What a command line names.
#[derive(Debug)]
pub(crate) enum Place {
    /// A directory with a database of SQLite.
    Directory(PathBuf),
    /// A stack in a database of PostgreSQL.
    #[cfg(feature = "postgres")]
    Stack(Box<stack::StackPlace>),
}

impl Database {
    /// Returns what is named.
    ///
    /// # Errors
    ///
    /// `Usage` if that is not one database.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        match self.place_and(None)? {
            (place, None) => Ok(place),
            (_, Some(_)) => Err(Failure::Usage("give either DIRECTORY or `--url`, not both".into())),
        }
    }

    /// Returns what is named, and the argument after DIRECTORY. With `--url` there is no DIRECTORY, so the
    /// argument in its place is that argument.
    ///
    /// # Errors
    ///
    /// `Usage` if there is one argument too many.
    pub(crate) fn place_and(&self, next: Option<OsString>) -> Result<(Place, Option<OsString>), Failure> {
        #[cfg(feature = "postgres")]
        if let Some(place) = stack::StackPlace::of(&self.server)? {
            let first = self.directory.clone().map(PathBuf::into_os_string);
            return match (first, next) {
                (first, None) => Ok((Place::Stack(Box::new(place)), first)),
                (None, next) => Ok((Place::Stack(Box::new(place)), next)),
                (Some(_), Some(_)) => {
                    Err(Failure::Usage("give either DIRECTORY or `--url`, not both".into()))
                }
            };
        }
        let Some(directory) = &self.directory else {
            return Err(Failure::Usage("DIRECTORY is missing".into()));
        };
        refuse_url(directory)?;
        Ok((Place::Directory(directory.clone()), next))
    }
}

/// Refuses a connection string where a directory belongs. It is not repeated, since it may hold a password.
fn refuse_url(directory: &Path) -> Result<(), Failure> {
    let name = directory.as_os_str();
    let is_url = [b"postgres://".as_slice(), b"postgresql://"]
        .iter()
        .any(|scheme| name.as_encoded_bytes().starts_with(scheme));
    // A name that is not UTF-8 is that of a directory.
    let has_password = name.to_str().is_some_and(|text| masked(text) != text);
    match is_url || has_password && !directory.exists() {
        true => Err(Failure::Usage(
            "DIRECTORY is a connection string; pass it by `--url`, with the name of the stack as `--stack`"
                .into(),
        )),
        false => Ok(()),
    }
}

/// A database that was opened for reading.
pub(crate) enum Opened {
    Directory(Box<Inspector>),
    #[cfg(feature = "postgres")]
    Stack(Box<PostgresInspector>),
}

impl Opened {
    /// Opens what is named.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        Ok(match place {
            Place::Directory(directory) => Self::Directory(Box::new(Inspector::open(directory)?)),
            #[cfg(feature = "postgres")]
            Place::Stack(place) => {
                let (pool, options) = (place.pool()?, place.options());
                Self::Stack(Box::new(PostgresInspector::open(&pool, &place.stack, options)?))
            }
        })
    }

    /// Calls `each` with every shape, oldest first, until it returns `false`. A damaged one is an error.
    pub(crate) fn scan(&self, each: impl FnMut(Result<ScanItem, Error>) -> bool) -> Result<(), Error> {
        match self {
            Self::Directory(inspector) => inspector.scan(each),
            #[cfg(feature = "postgres")]
            Self::Stack(inspector) => inspector.scan(each),
        }
    }

    pub(crate) fn find(&self, handle: &str) -> Result<Option<ScanItem>, Error> {
        match self {
            Self::Directory(inspector) => inspector.find(handle),
            #[cfg(feature = "postgres")]
            Self::Stack(inspector) => inspector.find(handle),
        }
    }

    pub(crate) fn verify(
        &self,
        verifier: Option<&Verifier>,
        on_problem: &mut dyn FnMut(String),
    ) -> Result<VerifyReport, Error> {
        match self {
            Self::Directory(inspector) => inspector.verify(verifier, on_problem),
            #[cfg(feature = "postgres")]
            Self::Stack(inspector) => inspector.verify(verifier, on_problem),
        }
    }

    pub(crate) fn orphans(
        &self,
        stored: impl IntoIterator<Item = Result<String, Error>>,
        orphan: impl FnMut(String),
    ) -> Result<Vec<Handle>, Error> {
        match self {
            Self::Directory(inspector) => inspector.orphans(stored, orphan),
            #[cfg(feature = "postgres")]
            Self::Stack(inspector) => inspector.orphans(stored, orphan),
        }
    }

    /// Checks that what was read is still the database.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self {
            Self::Directory(inspector) => inspector.finish(),
            // Each read was of one snapshot.
            #[cfg(feature = "postgres")]
            Self::Stack(_) => Ok(()),
        }
    }
}

#[cfg(feature = "postgres")]
pub(crate) mod stack {
    //! How a stack is found.

    use std::{env, fmt, time::Duration};

    use shape_meta_postgres::{PoolOptions, PostgresOptions, PostgresPool};

    use crate::{
        args::{Connection, Server},
        exit::Failure,
    };

    /// How long a command may read one snapshot of the server.
    const SCAN_TIMEOUT: Duration = Duration::from_secs(3_600);

    /// A stack in a database of PostgreSQL.
    pub(crate) struct StackPlace {
        pool: PoolOptions,
        schema: String,
        pub(crate) stack: String,
    }

    impl StackPlace {
        /// Returns the stack that is named; `None` without `--url`.
        pub(super) fn of(server: &Server) -> Result<Option<Self>, Failure> {
            let (Some(url), Some(stack)) = (&server.url, &server.stack) else { return Ok(None) };
            let (pool, schema) = (pool_options(url, &server.connection)?, server.connection.schema.clone());
            Ok(Some(Self { pool, schema, stack: stack.clone() }))
        }

        pub(crate) fn pool(&self) -> Result<PostgresPool, Failure> {
            Ok(PostgresPool::new(self.pool.clone())?)
        }

        pub(crate) fn options(&self) -> PostgresOptions {
            options(&self.schema)
        }
    }

    /// Without the password.
    impl fmt::Debug for StackPlace {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("StackPlace").field("stack", &self.stack).finish_non_exhaustive()
        }
    }

    pub(crate) fn options(schema: &str) -> PostgresOptions {
        PostgresOptions::default().schema(schema).scan_timeout(SCAN_TIMEOUT)
    }

    /// Returns the options of the pool of a command.
    pub(crate) fn pool_options(url: &str, connection: &Connection) -> Result<PoolOptions, Failure> {
        let mut options = PoolOptions::parse(url)?.max_connections(2);
        if let Some(password) = env::var_os("PGPASSWORD") {
            options = options.default_password(password.as_encoded_bytes());
        }
        with_tls(options, connection)
    }

    #[cfg(feature = "rustls")]
    fn with_tls(options: PoolOptions, connection: &Connection) -> Result<PoolOptions, Failure> {
        use shape_meta_postgres::Tls;
        let Some(roots) = &connection.tls_roots else { return Ok(options) };
        let tls = if roots.as_os_str() == "system" {
            Tls::system_roots()?
        } else {
            let pem = std::fs::read(roots).map_err(|error| {
                Failure::Usage(format!("could not read the certificates {}: {error}", roots.display()))
            })?;
            Tls::roots(&pem)?
        };
        Ok(options.tls(tls)?)
    }

    #[cfg(not(feature = "rustls"))]
    fn with_tls(options: PoolOptions, _: &Connection) -> Result<PoolOptions, Failure> {
        Ok(options)
    }
}
