//! TLS, of the port and of calls to other services: certificates and keys are
//! read again when their files change, so that nothing restarts for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error::{Error, Result};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The port's side of TLS. Cheap to clone; clones share.
#[derive(Clone)]
pub struct ServerTls(Reloaded<ServerConfig>);

impl ServerTls {
    /// A certificate chain and its key; with a client CA, callers must present
    /// a certificate that it signed.
    pub fn new(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self> {
        let mut files = vec![certificate.to_owned(), key.to_owned()];
        files.extend(client_ca.map(Path::to_owned));
        Reloaded::new(files, server).map(Self)
    }

    /// Takes connections as the files are now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current())
    }
}

fn server(files: &[Vec<u8>]) -> Result<ServerConfig> {
    let builder = ServerConfig::builder();
    let builder = match files.get(2) {
        Some(ca) => {
            let callers = WebPkiClientVerifier::builder(Arc::new(roots(ca)?));
            builder.with_client_cert_verifier(callers.build().map_err(Error::internal)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain(&files[0])?, private(&files[1])?)
        .map_err(Error::internal)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The side of whoever calls other services. Cheap to clone; clones share.
#[derive(Clone)]
pub struct ClientTls(Reloaded<ClientConfig>);

impl ClientTls {
    /// Trusts this CA only, and shows its own certificate, if there is one.
    pub fn new(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Self> {
        let mut files = vec![ca.to_owned()];
        if let Some((certificate, key)) = own {
            files.extend([certificate.to_owned(), key.to_owned()]);
        }
        Reloaded::new(files, client).map(Self)
    }

    /// Speaks TLS to a host, with the files as they are now.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let connector = TlsConnector::from(self.0.current());
        connector.connect(name, stream).await
    }
}

fn client(files: &[Vec<u8>]) -> Result<ClientConfig> {
    let builder = ClientConfig::builder().with_root_certificates(roots(&files[0])?);
    let mut config = match files {
        [_, certificate, key] => builder
            .with_client_auth_cert(chain(certificate)?, private(key)?)
            .map_err(Error::internal)?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Error::internal("a file has no certificate in PEM")),
    }
}

fn private(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|e| Error::internal(format!("a file has no private key in PEM: {e}")))
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(Error::internal)?;
    }
    Ok(roots)
}

/// What is made of files, and made again when they change.
struct Reloaded<T>(Arc<Files<T>>);

struct Files<T> {
    paths: Vec<PathBuf>,
    make: fn(&[Vec<u8>]) -> Result<T>,
    made: RwLock<Arc<T>>,
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    fn new(paths: Vec<PathBuf>, make: fn(&[Vec<u8>]) -> Result<T>) -> Result<Self> {
        let told = |error: Error| {
            let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
            Error::internal(format!("{}: {error}", paths.join(", ")))
        };
        let contents = read(&paths).map_err(told)?;
        let made = make(&contents).map_err(told)?;
        let files = Arc::new(Files {
            paths,
            make,
            made: RwLock::new(Arc::new(made)),
        });
        tokio::spawn(look(Arc::downgrade(&files), contents));
        Ok(Self(files))
    }

    fn current(&self) -> Arc<T> {
        let made = self.0.made.read();
        made.unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// By content: what is behind a name may be swapped by a symbolic link, whose
/// times say nothing.
async fn look<T>(files: Weak<Files<T>>, mut known: Vec<Vec<u8>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(files) = files.upgrade() else { return };
        let contents = match read(&files.paths) {
            Ok(contents) if contents == known => continue,
            Ok(contents) => contents,
            // They may be on their way: what was read before is still good.
            Err(error) => {
                tracing::error!(%error, "can't read the files of TLS; those before are used");
                continue;
            }
        };
        match (files.make)(&contents) {
            Ok(made) => {
                let current = files.made.write();
                *current.unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(made);
                tracing::info!(file = %files.paths[0].display(), "the files of TLS have changed, and are used");
            }
            Err(error) => {
                tracing::error!(%error, file = %files.paths[0].display(), "the new files of TLS are no use; those before are used");
            }
        }
        known = contents;
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .map_err(|e| Error::internal(format!("can't read {}: {e}", path.display())))
    };
    paths.iter().map(read).collect()
}
