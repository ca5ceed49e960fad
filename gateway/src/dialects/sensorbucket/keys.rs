//! API keys between SensorBucket's form and Muster's.

use chassis::time::timestamp;
use chassis::{Error, Result};
use chrono::{DateTime, NaiveDateTime, Utc};
use proto::keys;
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::tenancy::Tenant;
use tonic::{Code, Status};

use super::paging::Cursor;
use super::{count, no_member, permissions, where_to_look, within};
use crate::domain::Domain;

/// Where a key keeps the permissions that were asked for, to show them again.
const ASKED: &str = "sensorbucket.permissions";
/// How many tenants one page looks into: the rest is on the next page.
const TENANTS_A_PAGE: usize = 10;

/// The key that a request asks for, if it is right.
pub(super) fn new(
    wanted: dialect::CreateApiKeyRequest,
    now: DateTime<Utc>,
) -> Result<keys::ApiKey> {
    let wrong = |text: &'static str| Err(Error::from(Status::invalid_argument(text)));
    if wanted.name.is_empty() {
        return wrong("name cannot be empty");
    }
    if wanted.tenant_id <= 0 {
        return wrong("tenant_id must be higher than 0");
    }
    let expiry = match wanted.expiration_date.as_deref().map(time) {
        None => None,
        Some(Some(expiry)) if expiry > now => Some(timestamp(expiry)),
        Some(Some(_)) => return wrong("expiration_date must be set in the future"),
        Some(None) => return wrong("expiration_date must be a time as in RFC 3339"),
    };
    if wanted.permissions.is_empty() {
        return wrong("at least one permission is required");
    }
    let allowed = permissions::allowed(&wanted.permissions).map_err(|unknown| {
        let why = format!("there is no permission {unknown}");
        Error::precondition("ERR_PERMISSION_INVALID", why)
    })?;
    let mut asked = Vec::new();
    for permission in wanted.permissions {
        if !asked.contains(&permission) {
            asked.push(permission);
        }
    }
    Ok(keys::ApiKey {
        display_name: wanted.name,
        permissions: allowed.names().map(str::to_owned).collect(),
        expire_time: expiry,
        metadata: [(ASKED.to_owned(), asked.join(","))].into(),
        ..Default::default()
    })
}

/// Reads a time; one without an offset is taken as UTC, for that is what
/// generated clients send.
fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| text.parse::<NaiveDateTime>().map(|time| time.and_utc()))
        .ok()
}

/// Says of a name that is taken what SensorBucket says.
pub(super) fn taken(status: Status) -> Error {
    match status.code() {
        Code::AlreadyExists => Error::precondition(
            "API_KEY_NAME_TENANT_COMBO_NOT_UNIQUE",
            "the tenant has an API key with this name already",
        ),
        _ => status.into(),
    }
}

/// The numbers of the tenants whose keys are asked for; all are the caller's.
pub(super) fn tenants_wanted(
    domain: &Domain,
    wanted: &dialect::ListApiKeysRequest,
    tenants: &[Tenant],
) -> Result<Vec<i64>> {
    let scope = domain.subject()?.tenant().map(|t| t.0.to_string());
    if wanted.tenant_id.is_empty() {
        let home = tenants
            .iter()
            .find(|tenant| scope.as_ref().is_none_or(|id| *id == tenant.id))
            .ok_or_else(no_member)?;
        return Ok(vec![home.number]);
    }
    let mut numbers = wanted.tenant_id.clone();
    numbers.sort_unstable();
    numbers.dedup();
    for number in &numbers {
        find_tenant(tenants, *number)?;
    }
    Ok(numbers)
}

fn find_tenant(tenants: &[Tenant], number: i64) -> Result<&Tenant> {
    let found = tenants.iter().find(|tenant| tenant.number == number);
    found.ok_or_else(|| {
        let why = format!("the caller may not act for the tenant {number}");
        Error::denied("NOT_A_MEMBER", why)
    })
}

/// One page of the keys of several tenants, one tenant after the other; moves
/// the cursor to the next page.
pub(super) async fn page(
    domain: &Domain,
    tenants: &[Tenant],
    at: &mut Cursor,
) -> Result<Vec<dialect::ApiKey>> {
    let mut data = Vec::new();
    for _ in 0..TENANTS_A_PAGE {
        let room = at.limit() - count(&data);
        let Some(number) = at.tenants.first().copied().filter(|_| room > 0) else {
            break;
        };
        let tenant = find_tenant(tenants, number)?;
        let list = keys::ListApiKeysRequest {
            page_size: room,
            page_token: std::mem::take(&mut at.token),
            show_revoked: false,
            ..Default::default()
        };
        let domain = within(domain, tenant).await?;
        let page = domain
            .api_keys()
            .list_api_keys(domain.request(list))
            .await?
            .into_inner();
        data.extend(page.api_keys.into_iter().map(|key| shown(key, tenant)));
        at.token = page.next_page_token;
        if at.token.is_empty() {
            at.tenants.remove(0);
        }
    }
    Ok(data)
}

/// The key with a number, unless it is revoked, and where it is.
pub(super) async fn find(
    domain: &Domain,
    number: i64,
) -> Result<Option<(Domain, Tenant, keys::ApiKey)>> {
    let (mut refusal, mut looked) = (None, false);
    // The contract takes no such numbers, and nothing has one.
    let tenants = match number {
        ..=0 => return Ok(None),
        _ => where_to_look(domain).await?,
    };
    for tenant in tenants {
        match key_in(domain, &tenant, number).await {
            Ok((_, key)) if key.state() == keys::api_key::State::Revoked => return Ok(None),
            Ok((domain, key)) => return Ok(Some((domain, tenant, key))),
            Err(status) if status.code() == Code::NotFound => looked = true,
            Err(status) if status.code() == Code::PermissionDenied => refusal = Some(status),
            Err(status) => return Err(status.into()),
        }
    }
    match refusal.filter(|_| !looked) {
        Some(status) => Err(status.into()),
        None => Ok(None),
    }
}

async fn key_in(
    domain: &Domain,
    tenant: &Tenant,
    number: i64,
) -> Result<(Domain, keys::ApiKey), Status> {
    let domain = within(domain, tenant).await?;
    let get = keys::GetApiKeyRequest {
        key: Some(keys::get_api_key_request::Key::Number(number)),
    };
    let key = domain.api_keys().get_api_key(domain.request(get)).await?;
    Ok((domain, key.into_inner()))
}

pub(super) fn shown(key: keys::ApiKey, tenant: &Tenant) -> dialect::ApiKey {
    let permissions = match key.metadata.get(ASKED) {
        Some(asked) => asked.split(',').map(str::to_owned).collect(),
        None => permissions::equivalent(&key.permissions),
    };
    dialect::ApiKey {
        id: key.number,
        name: key.display_name,
        tenant_id: tenant.number,
        tenant_name: tenant.display_name.clone(),
        expiration_date: key.expire_time,
        // Generated clients fail without it.
        created: Some(key.create_time.unwrap_or_default()),
        permissions,
    }
}

/// Ends a key for good.
pub(super) async fn revoke(domain: &Domain, id: String) -> Result<(), Status> {
    let revoke = keys::RevokeApiKeyRequest {
        id,
        ..Default::default()
    };
    let mut keys = domain.api_keys();
    keys.revoke_api_key(domain.request(revoke)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> dialect::CreateApiKeyRequest {
        dialect::CreateApiKeyRequest {
            name: "gateway".into(),
            tenant_id: 1,
            permissions: vec!["READ_DEVICES".into()],
            expiration_date: None,
        }
    }

    fn refusal(change: impl FnOnce(&mut dialect::CreateApiKeyRequest)) -> String {
        let mut request = request();
        change(&mut request);
        let now = time("2026-01-01T00:00:00Z").unwrap();
        Status::from(new(request, now).unwrap_err())
            .message()
            .to_owned()
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_the_documentation() {
        assert_eq!(refusal(|r| r.name.clear()), "name cannot be empty");
        assert_eq!(
            refusal(|r| r.tenant_id = 0),
            "tenant_id must be higher than 0"
        );
        assert_eq!(
            refusal(|r| r.expiration_date = Some("2025-01-01T00:00:00Z".into())),
            "expiration_date must be set in the future"
        );
        assert_eq!(
            refusal(|r| r.permissions.clear()),
            "at least one permission is required"
        );
    }

    #[test]
    fn a_time_without_offset_is_utc() {
        assert_eq!(time("2030-01-01T00:00:00"), time("2030-01-01T00:00:00Z"));
        assert_eq!(
            time("2030-01-01T02:00:00.5+02:00"),
            time("2030-01-01T00:00:00.500")
        );
        assert_eq!(time("tomorrow"), None);
    }
}
