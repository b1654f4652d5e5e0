//! Encryption of the connections.

use shape_meta_core::Result;
use tokio_postgres::{Config, NoTls};

use crate::{connection::client::Opened, error::cannot_connect};

/// How connections are made: in plain text, or by TLS where the feature `rustls` is on.
#[derive(Clone, Default)]
pub(crate) enum Encryption {
    #[default]
    None,
    #[cfg(feature = "rustls")]
    Rustls(tokio_postgres_rustls::MakeRustlsConnect),
}

impl Encryption {
    pub(crate) async fn connect(&self, config: &Config) -> Result<Opened> {
        match self {
            Self::None => config.connect(NoTls).await.map(Opened::spawn).map_err(cannot_connect(config)),
            #[cfg(feature = "rustls")]
            Self::Rustls(tls) => {
                config.connect(tls.clone()).await.map(Opened::spawn).map_err(cannot_connect(config))
            }
        }
    }
}

#[cfg(feature = "rustls")]
pub use with_rustls::Tls;

#[cfg(feature = "rustls")]
mod with_rustls {
    use std::sync::Arc;

    use rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };
    use shape_meta_core::{Error, ErrorKind, Result};
    use tokio_postgres_rustls::MakeRustlsConnect;

    use super::Encryption;

    /// The certificates with which a connection by TLS is verified. The name of the host is always verified,
    /// too.
    ///
    /// Whether TLS is used is decided by `sslmode` in the connection string: `prefer` is the default,
    /// `require` never falls back to plain text.
    #[derive(Debug)]
    pub struct Tls {
        roots: RootCertStore,
        client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    }

    impl Tls {
        /// Trusts the root certificates of this operating system.
        ///
        /// # Errors
        ///
        /// `Configuration` if it has none.
        pub fn system_roots() -> Result<Self> {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(invalid("this system has no root certificates; pass those of the server as PEM"));
            }
            Ok(Self { roots, client: None })
        }

        /// Trusts the certificates in this PEM text, and no others.
        ///
        /// # Errors
        ///
        /// `Configuration` if it contains none, or one that cannot be read.
        pub fn roots(pem: &[u8]) -> Result<Self> {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|source| {
                    invalid("a root certificate cannot be used; check the PEM text").with_source(source)
                })?;
            }
            Ok(Self { roots, client: None })
        }

        /// Presents this certificate to the server: a chain and its private key, both as PEM.
        ///
        /// # Errors
        ///
        /// `Configuration` if one of them cannot be read.
        pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self> {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| {
                invalid("the private key of the client certificate cannot be read; check the PEM text")
                    .with_source(source)
            })?;
            self.client = Some((certificates(chain)?, key));
            Ok(self)
        }

        pub(crate) fn into_encryption(self) -> Result<Encryption> {
            // Named, because a process may have several providers, and then has no default one.
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|source| invalid("the options of TLS are invalid").with_source(source))?
                .with_root_certificates(self.roots);
            let config = match self.client {
                None => builder.with_no_client_auth(),
                Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|source| {
                    invalid("the client certificate and its key do not fit together").with_source(source)
                })?,
            };
            Ok(Encryption::Rustls(MakeRustlsConnect::new(config)))
        }
    }

    fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
        let certificates =
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|source| {
                invalid("a certificate cannot be read; check the PEM text").with_source(source)
            })?;
        match certificates.is_empty() {
            true => Err(invalid("the PEM text contains no certificate; pass at least one")),
            false => Ok(certificates),
        }
    }

    fn invalid(what: &'static str) -> Error {
        Error::new(ErrorKind::Configuration, format!("{what}; nothing was connected"))
    }
}
