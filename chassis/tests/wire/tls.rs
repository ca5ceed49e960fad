//! TLS and mutual TLS between services.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::Response;
use muster_chassis::balance::Balance;
use muster_chassis::peer::ServiceName;
use muster_chassis::tls::{ClientTls, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::Code;
use tonic::body::Body;

use crate::server::{CHANGE, Process, answer, call, eventually, stack};

/// An authority, and a folder for what it signs.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for 127.0.0.1, in files of this name.
    fn sign(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        let pair = Pair {
            certificate: file("crt"),
            key: file("key"),
        };
        std::fs::write(&pair.certificate, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

async fn serve(pair: &Pair, client_ca: Option<PathBuf>) -> Process {
    let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
    let service = stack(|request: http::Request<Body>| async move {
        match request.uri().path() {
            "/healthz" => Response::new(Body::empty()),
            _ => answer(Code::Ok),
        }
    });
    let tls = move || Some(ServerTls::new(&certificate, &key, client_ca.as_deref()).unwrap());
    let address = "127.0.0.1:0".parse().unwrap();
    Process::serve(address, service, Arc::new(AtomicUsize::new(0)), tls).await
}

fn caller(address: SocketAddr, ca: &Path, own: Option<&Pair>) -> Balance {
    let own = own.map(|pair| (pair.certificate.as_path(), pair.key.as_path()));
    let tls = ClientTls::new(ca, own).unwrap();
    Balance::new(ServiceName::Tenancy, &[address.to_string()], Some(tls)).unwrap()
}

async fn works(balance: &Balance) -> bool {
    call(balance.stack(), CHANGE).await.0 == Code::Ok
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_without_a_certificate_of_the_installation_is_refused() {
    let (ours, other) = (Authority::new(), Authority::new());
    let process = serve(&ours.sign("server"), Some(ours.ca())).await;
    let (known, foreign) = (ours.sign("client"), other.sign("client"));
    assert!(works(&caller(process.address, &ours.ca(), Some(&known))).await);
    assert!(!works(&caller(process.address, &ours.ca(), None)).await);
    assert!(!works(&caller(process.address, &ours.ca(), Some(&foreign))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_a_certificate_of_the_installation_is_not_called() {
    let (ours, other) = (Authority::new(), Authority::new());
    let process = serve(&other.sign("server"), None).await;
    assert!(!works(&caller(process.address, &ours.ca(), None)).await);
    assert!(works(&caller(process.address, &other.ca(), None)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_change_are_used_without_a_restart_on_both_sides() {
    let (old, new) = (Authority::new(), Authority::new());
    let pair = old.sign("server");
    let process = serve(&pair, None).await;
    let trusts = old.folder.path().join("trusted.pem");
    std::fs::copy(new.ca(), &trusts).unwrap();
    let patient = caller(process.address, &trusts, None);
    assert!(!works(&patient).await);
    // The server's: what trusts the new authority only can call it now.
    let swapped = new.sign("server");
    std::fs::copy(&swapped.key, &pair.key).unwrap();
    std::fs::copy(&swapped.certificate, &pair.certificate).unwrap();
    eventually(async || works(&patient).await.then_some(())).await;
    // The caller's: it trusts nobody before its file is right.
    std::fs::copy(old.ca(), &trusts).unwrap();
    let mistaken = caller(process.address, &trusts, None);
    assert!(!works(&mistaken).await);
    std::fs::copy(new.ca(), &trusts).unwrap();
    eventually(async || works(&mistaken).await.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_changes_nothing() {
    let ours = Authority::new();
    let pair = ours.sign("server");
    let process = serve(&pair, None).await;
    std::fs::write(&pair.certificate, "half a certifi").unwrap();
    // Longer than files are left alone.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(works(&caller(process.address, &ours.ca(), None)).await);
}
