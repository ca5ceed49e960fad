//! Certificates of devices (X.509 version 3, RFC 5280): what they say, and
//! whether an authority has issued them. No I/O.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::hash::sha256;
use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How many certificates may come with a device's own.
const CHAIN: usize = 8;

/// A certificate that was presented, and those that came after it.
pub(crate) struct Presented {
    chain: Vec<CertificateDer<'static>>,
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
}

/// Why a certificate is none of an authority's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotIssued {
    /// It, or one between, has ended.
    Expired,
    /// It, or one between, has not begun.
    NotYetValid,
    /// Somebody else has, or for something else.
    Unknown,
}

/// What an authority's own certificate says.
pub(crate) struct Authority {
    pub(crate) der: Vec<u8>,
    pub(crate) subject: String,
    pub(crate) not_after: DateTime<Utc>,
}

impl Presented {
    /// Reads PEM: the certificate, and those between it and an authority.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes());
        let chain: Vec<_> = chain.take(CHAIN + 1).collect::<Result<_, _>>().ok()?;
        Self::of(chain)
    }

    /// Reads DER.
    pub(crate) fn from_der(der: Vec<u8>) -> Option<Self> {
        Self::of(vec![CertificateDer::from(der)])
    }

    fn of(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let parsed = parse(chain.first()?)?;
        let (not_before, not_after) = times(&parsed)?;
        Some(Self {
            chain,
            not_before,
            not_after,
        })
    }

    /// SHA-256 of the certificate itself.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        sha256(self.chain.first().map(AsRef::as_ref).unwrap_or_default())
    }

    /// Everything that was presented, to know it again.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.chain.iter().flat_map(|der| sha256(der)).collect()
    }

    /// Whether an authority, or somebody in its name, has issued it for a
    /// client of TLS, and it holds now. Answers when the chain ends.
    pub(crate) fn issued_by(
        &self,
        authority: &[u8],
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, NotIssued> {
        let unknown = |_| NotIssued::Unknown;
        let authority = CertificateDer::from(authority);
        let anchor = anchor_from_trusted_cert(&authority).map_err(unknown)?;
        let (leaf, between) = self.chain.split_first().ok_or(NotIssued::Unknown)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(unknown)?;
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let path = leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            std::slice::from_ref(&anchor),
            between,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            None,
        );
        let path = path.map_err(|error| match error {
            webpki::Error::CertExpired { .. } => NotIssued::Expired,
            webpki::Error::CertNotValidYet { .. } => NotIssued::NotYetValid,
            _ => NotIssued::Unknown,
        })?;
        let between = path.intermediate_certificates();
        let ends = between.filter_map(|cert| Some(times(&parse(&cert.der())?)?.1));
        Ok(ends.fold(self.not_after, std::cmp::min))
    }

    /// The common name of its subject.
    pub(crate) fn common_name(&self) -> Option<String> {
        let parsed = parse(self.chain.first()?)?;
        let name = parsed.subject().iter_common_name().next()?;
        name.as_str().ok().map(str::to_owned)
    }

    /// The first DNS name of its subjectAltName.
    pub(crate) fn dns_name(&self) -> Option<String> {
        self.alternative(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
    }

    /// The first URI of its subjectAltName.
    pub(crate) fn uri(&self) -> Option<String> {
        self.alternative(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
    }

    fn alternative(&self, wanted: fn(&GeneralName<'_>) -> Option<String>) -> Option<String> {
        let parsed = parse(self.chain.first()?)?;
        let names = parsed.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(wanted)
    }
}

impl Authority {
    /// Reads the PEM of somebody who issues certificates.
    pub(crate) fn read(field: &str, pem: &str) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(field, why);
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| wrong("is no certificate in PEM"))?;
        let parsed = parse(&der).ok_or_else(|| wrong("is no certificate (X.509 version 3)"))?;
        if !parsed.is_ca() || anchor_from_trusted_cert(&der).is_err() {
            return Err(wrong(
                "is no certificate of an authority: it lacks the basic constraint CA",
            ));
        }
        let (_, not_after) = times(&parsed).ok_or_else(|| wrong("has no time of its end"))?;
        let subject = parsed.subject().to_string();
        Ok(Self {
            subject,
            not_after,
            der: der.to_vec(),
        })
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, parsed) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(parsed)
}

fn times(parsed: &X509Certificate<'_>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let validity = parsed.validity();
    let from = DateTime::from_timestamp(validity.not_before.timestamp(), 0)?;
    Some((
        from,
        DateTime::from_timestamp(validity.not_after.timestamp(), 0)?,
    ))
}

/// A fingerprint in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a fingerprint that keeps the contract's rule.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// A certificate in PEM (RFC 7468).
pub(crate) fn to_pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}
