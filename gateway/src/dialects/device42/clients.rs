//! API clients, and pairs of keys to create them with.

use chassis::{Error, Result};
use prost_types::{Duration, FieldMask};
use proto::identity::GetMeRequest;
use proto::keys::{
    ApiClient, CreateApiClientRequest, GetApiClientRequest, ListApiClientsRequest,
    RotateApiClientRequest, UpdateApiClientRequest, get_api_client_request,
};
use proto::muster::dialect::device42::v1 as dialect;
use tonic::{Code, Status};
use uuid::Uuid;

use super::values::{Page, Written, changed, flag};
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
        count_total: true,
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

/// Creates a client that may do what the caller may, or changes the one of
/// the caller's tenant that has its key: as the caller knows it by that alone,
/// what it may do stays as it is.
pub(super) async fn put(
    domain: &Domain,
    wanted: dialect::CreateApiClientRequest,
) -> Result<(ApiClient, Written)> {
    let mut create = creation(wanted.clone())?;
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
        .await;
    match created {
        Ok(created) => {
            let client = created.into_inner().api_client;
            let client = client.ok_or_else(unanswered)?;
            Ok((client, Written::New))
        }
        Err(status) if status.code() == Code::AlreadyExists => update(domain, wanted).await,
        Err(status) => Err(status.into()),
    }
}

async fn update(
    domain: &Domain,
    wanted: dialect::CreateApiClientRequest,
) -> Result<(ApiClient, Written)> {
    let before = by_key(domain, &wanted.client_key).await?;
    let rotate = RotateApiClientRequest {
        id: before.id.clone(),
        overlap: Some(Duration::default()),
        client_secret: wanted.client_secret_key.clone(),
    };
    let rotated = domain
        .api_clients()
        .rotate_api_client(domain.request(rotate))
        .await?;
    let rotated = rotated.into_inner().api_client.ok_or_else(unanswered)?;
    let mut after = after(rotated.clone(), &wanted)?;
    let paths = changed(&[
        ("display_name", rotated.display_name != after.display_name),
        ("token_ttl", rotated.token_ttl != after.token_ttl),
        ("disabled", rotated.disabled != after.disabled),
        ("metadata", rotated.metadata != after.metadata),
    ]);
    if !paths.is_empty() {
        let update = UpdateApiClientRequest {
            api_client: Some(after),
            update_mask: Some(FieldMask { paths }),
        };
        let updated = domain
            .api_clients()
            .update_api_client(domain.request(update))
            .await?;
        after = updated.into_inner();
    }
    let written = match after.update_time == before.update_time {
        true => Written::Unchanged,
        false => Written::Updated,
    };
    Ok((after, written))
}

/// The client with the fields that the request has.
fn after(mut client: ApiClient, wanted: &dialect::CreateApiClientRequest) -> Result<ApiClient> {
    if let Some(active) = &wanted.active {
        client.disabled = !flag("active", active)?;
    }
    if let Some(minutes) = wanted.token_ttl {
        client.token_ttl = Some(life(minutes));
    }
    if !wanted.resource_owner.is_empty() {
        let owner = wanted.resource_owner.clone();
        client.display_name.clone_from(&owner);
        client.metadata.insert(OWNER.to_owned(), owner);
    }
    Ok(client)
}

/// The client of the caller's tenant that has a key; refused if another
/// tenant's has it.
async fn by_key(domain: &Domain, client_key: &str) -> Result<ApiClient> {
    let client = Some(get_api_client_request::Client::ClientKey(client_key.into()));
    let get = domain.request(GetApiClientRequest { client });
    match domain.api_clients().get_api_client(get).await {
        Ok(client) => Ok(client.into_inner()),
        Err(status) if status.code() == Code::NotFound => {
            let why = "client_key is taken by an API client that is not yours";
            Err(Error::from(Status::already_exists(why)))
        }
        Err(status) => Err(status.into()),
    }
}

fn unanswered() -> Error {
    Error::internal("an API client was written and not answered")
}

fn life(minutes: i32) -> Duration {
    Duration {
        seconds: i64::from(minutes) * 60,
        nanos: 0,
    }
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
    let token_ttl = wanted.token_ttl.map(life);
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
