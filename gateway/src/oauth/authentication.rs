//! How a client of OAuth shows who it is (RFC 6749, section 2.3.1).

use chassis::{Error, Result};
use tonic::{Code, Request, Status};

use super::OAuth;
use crate::credentials::Presented;
use crate::domain::Domain;

/// In which ways a caller may show who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// By a client key and secret.
    Client,
    /// By a token or an API key as well.
    Any,
}

/// What a request presents: in its header, and in its form.
pub(super) struct Wanted {
    header: Option<Presented>,
    client_id: String,
    client_secret: String,
}

impl Wanted {
    /// What stands in the header, where the gateway found it.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        Self {
            header: request.extensions().get::<Presented>().cloned(),
            client_id: String::new(),
            client_secret: String::new(),
        }
    }

    /// Adds what stands in the form.
    pub(super) fn or_form(self, client_id: String, client_secret: String) -> Self {
        Self {
            client_id,
            client_secret,
            ..self
        }
    }

    /// The credentials that this may mean, of which one must be good.
    fn credentials(self, ways: Ways) -> Result<Vec<Presented>> {
        match self.header {
            Some(_) if !self.client_secret.is_empty() => {
                let why = "stands beside a credential in the header; present one of them";
                Err(Error::invalid("client_secret", why))
            }
            Some(Presented::Basic(name, secret)) => {
                let all = readings(name, secret);
                let named = |one: &Presented| matches!(one, Presented::Basic(name, _) if *name == self.client_id);
                match self.client_id.is_empty() || all.iter().any(named) {
                    true => clients(all),
                    false => {
                        let why = "is another client than the one in the header";
                        Err(Error::invalid("client_id", why))
                    }
                }
            }
            Some(one @ (Presented::Token(_) | Presented::ApiKey(_))) if ways == Ways::Any => {
                Ok(vec![one])
            }
            Some(_) => Err(invalid_client()),
            None if self.client_id.is_empty() || self.client_secret.is_empty() => {
                Err(invalid_client())
            }
            None => clients(vec![Presented::Basic(self.client_id, self.client_secret)]),
        }
    }
}

/// Names with an `@` are of people, who don't give their passwords to clients.
fn clients(all: Vec<Presented>) -> Result<Vec<Presented>> {
    let person = |one: &Presented| matches!(one, Presented::Basic(name, _) if name.contains('@'));
    match all.iter().any(person) {
        true => Err(invalid_client()),
        false => Ok(all),
    }
}

/// The standard wants both parts form-encoded in the header, and many clients
/// send them as they are: where that differs, it may mean either.
fn readings(name: String, secret: String) -> Vec<Presented> {
    let plain = Presented::Basic(name.clone(), secret.clone());
    let decoded = Presented::Basic(decoded(&name), decoded(&secret));
    match decoded == plain {
        true => vec![plain],
        false => vec![decoded, plain],
    }
}

fn decoded(text: &str) -> String {
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    match (pairs.next(), pairs.next()) {
        // A `=` or `&` of its own: it is not encoded.
        (Some((whole, rest)), None) if rest.is_empty() && !text.contains(['=', '&']) => {
            whole.into_owned()
        }
        _ => text.to_owned(),
    }
}

fn invalid_client() -> Error {
    Error::Unauthenticated {
        reason: "INVALID_CLIENT",
        message:
            "a client key and secret are required, as HTTP Basic or as client_id and client_secret"
                .into(),
    }
}

impl OAuth {
    /// The domain as the caller may use it.
    pub(super) async fn authenticate(&self, wanted: Wanted, ways: Ways) -> Result<Domain, Status> {
        let presented = wanted.credentials(ways)?;
        let client = |one: &Presented| matches!(one, Presented::Basic(..));
        let bearer = !presented.iter().any(client);
        match self.exchange.token_of(presented).await {
            Err(status) if status.code() == Code::Unauthenticated && bearer => {
                let message = status.message().to_owned().into();
                let reason = "INVALID_TOKEN";
                Err(Error::Unauthenticated { reason, message }.into())
            }
            Err(status) => Err(status),
            Ok((token, renewal)) => Ok(Domain::bearing(&self.peers, &token, renewal)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(name: &str, secret: &str) -> Presented {
        Presented::Basic(name.to_owned(), secret.to_owned())
    }

    #[test]
    fn what_a_client_sends_is_read_as_the_standard_wants_it_and_as_it_is() {
        let of = |secret: &str| readings("key".to_owned(), secret.to_owned());
        assert_eq!(of("plain-._~"), [basic("key", "plain-._~")]);
        assert_eq!(of("a%2Bb"), [basic("key", "a+b"), basic("key", "a%2Bb")]);
        assert_eq!(of("a+b"), [basic("key", "a b"), basic("key", "a+b")]);
        for bare in ["a=b", "a&b", "=", ""] {
            assert_eq!(of(bare), [basic("key", bare)]);
        }
    }

    #[test]
    fn one_way_at_a_time() {
        let both = Wanted {
            header: Some(basic("key", "secret")),
            client_id: "key".to_owned(),
            client_secret: "secret".to_owned(),
        };
        assert!(matches!(
            both.credentials(Ways::Any),
            Err(Error::Invalid(_))
        ));
    }
}
