//! API clients, and pairs of keys to create them with.

use chassis::{Error, Result};
use prost_types::Duration;
use proto::identity::GetMeRequest;
use proto::keys::{
    ApiClient, CreateApiClientRequest, GetApiClientRequest, ListApiClientsRequest,
    get_api_client_request,
};
use proto::muster::dialect::device42::v1 as dialect;
use tonic::{Code, Status};
use uuid::Uuid;

use super::values::{Page, flag};
use crate::domain::Domain;

/// Where a client keeps who answers for it.
const OWNER: &str = "device42.resource_owner";

pub(super) fn shown(client: ApiClient) -> dialect::ApiClient {
    dialect::ApiClient {
        id: client.number,
        client_key: client.client_key,
        resource_owner: client.metadata.get(OWNER).cloned().unwrap_or_default(),
        // Unset it is 10 minutes, as in the contract.
        token_ttl: client.token_ttl.map_or(10, |ttl| ttl.seconds / 60),
        active: !client.disabled,
    }
}

/// One page of clients, and how many there are in all.
pub(super) async fn list(domain: &Domain, page: Page) -> Result<(Vec<ApiClient>, i64)> {
    let list = ListApiClientsRequest {
        page_size: page.limit,
        skip: page.offset,
        ..Default::default()
    };
    let found = domain
        .api_clients()
        .list_api_clients(domain.request(list))
        .await?
        .into_inner();
    Ok((found.api_clients, found.total_size))
}

/// The client with a number.
pub(super) async fn by_number(domain: &Domain, number: i64) -> Result<ApiClient> {
    if number <= 0 {
        return Err(Error::not_found("API client", number));
    }
    let get = GetApiClientRequest {
        client: Some(get_api_client_request::Client::Number(number)),
    };
    let client = domain
        .api_clients()
        .get_api_client(domain.request(get))
        .await?;
    Ok(client.into_inner())
}

/// Creates a client that may do what the caller may.
pub(super) async fn create(
    domain: &Domain,
    wanted: dialect::CreateApiClientRequest,
) -> Result<ApiClient> {
    let mut create = creation(wanted)?;
    let me = domain
        .users()
        .get_me(domain.request(GetMeRequest {}))
        .await?;
    if let Some(client) = &mut create.api_client {
        client.permissions = me.into_inner().permissions;
    }
    let created = domain
        .api_clients()
        .create_api_client(domain.request(create))
        .await
        .map_err(taken)?;
    let client = created.into_inner().api_client;
    client.ok_or_else(|| Error::internal("an API client was created and not answered"))
}

fn creation(wanted: dialect::CreateApiClientRequest) -> Result<CreateApiClientRequest> {
    // Generated ones could not be told: the answer has no place for them.
    for (field, text) in [
        ("client_key", &wanted.client_key),
        ("client_secret_key", &wanted.client_secret_key),
    ] {
        if text.is_empty() {
            let why = "is required: take both keys from /api/2.0/api_client_keys/";
            return Err(Error::invalid(field, why));
        }
    }
    let active = wanted
        .active
        .map_or(Ok(true), |text| flag("active", &text))?;
    let token_ttl = wanted.token_ttl.map(|minutes| Duration {
        seconds: i64::from(minutes) * 60,
        nanos: 0,
    });
    let client = ApiClient {
        display_name: wanted.resource_owner.clone(),
        client_key: wanted.client_key,
        token_ttl,
        disabled: !active,
        metadata: [(OWNER.to_owned(), wanted.resource_owner)].into(),
        ..Default::default()
    };
    Ok(CreateApiClientRequest {
        api_client: Some(client),
        client_secret: wanted.client_secret_key,
        ..Default::default()
    })
}

/// Clients can't be changed: their tokens would outlive the change.
fn taken(status: Status) -> Error {
    match status.code() {
        Code::AlreadyExists => Error::from(Status::already_exists(
            "client_key is taken: delete the API client that has it first",
        )),
        _ => status.into(),
    }
}

/// A key and a secret that nobody has.
pub(super) fn fresh_pair() -> dialect::MakeApiClientKeysResponse {
    dialect::MakeApiClientKeysResponse {
        apiclient_key: hex(),
        apiclient_secret_key: format!("{}_{}", hex(), hex()),
    }
}

/// 32 hexadecimal digits, 122 bits of which are random.
#[expect(
    clippy::disallowed_methods,
    reason = "a secret from the system's random numbers, not an id"
)]
fn hex() -> String {
    Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> dialect::CreateApiClientRequest {
        let pair = fresh_pair();
        dialect::CreateApiClientRequest {
            client_key: pair.apiclient_key,
            client_secret_key: pair.apiclient_secret_key,
            resource_owner: "automation".into(),
            token_ttl: Some(20),
            active: Some("false".into()),
        }
    }

    #[test]
    fn a_fresh_pair_is_what_a_client_takes() {
        let create = creation(wanted()).unwrap();
        assert_eq!(proto::Validate::violations(&create), []);
        assert_eq!(create.client_secret.len(), 65);
    }

    #[test]
    fn a_client_is_shown_as_it_was_asked_for() {
        let client = shown(creation(wanted()).unwrap().api_client.unwrap());
        assert_eq!(client.resource_owner, "automation");
        assert_eq!((client.token_ttl, client.active), (20, false));
    }

    #[test]
    fn both_keys_are_required() {
        let mut half = wanted();
        half.client_secret_key.clear();
        let refusal = Status::from(creation(half).unwrap_err());
        assert!(refusal.message().starts_with("client_secret_key: "));
    }
}
