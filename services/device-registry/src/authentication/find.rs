//! What the database knows of a device that presents something.

use std::collections::HashMap;

use chassis::Result;
use chassis::store::ReadTx;
use chrono::{DateTime, Utc};
use proto::registry::device::State;
use proto::registry::device_authority::{NamedBy, Names};
use proto::registry::{DeviceIdentity, DeviceVerdict as Verdict};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::{Known, Name, Proof};
use crate::certificates::{NotIssued, Presented};
use crate::credentials::proof::is_secret;
use crate::credentials::row::labels;
use crate::entity::{device, device_authority, device_credential};

type Found = Result<Known, Verdict>;

/// What a device is that presents something at a moment.
pub(super) async fn find(
    tx: &ReadTx,
    name: Option<&Name>,
    proof: &Proof,
    now: DateTime<Utc>,
) -> Result<Found> {
    let named = match name {
        Some(name) => match named(tx, name).await? {
            Some(device) => Some(device),
            None => return Ok(Err(nobody(proof))),
        },
        None => None,
    };
    match proof {
        Proof::Secret(hash) => match named {
            Some(device) => by_secret(tx, device, hash, now).await,
            None => Ok(Err(Verdict::Unknown)),
        },
        Proof::Fingerprint(hash) => by_fingerprint(tx, named, hash, None, now).await,
        Proof::Certificate(presented) => by_certificate(tx, named, presented, now).await,
    }
}

/// What is not there takes as long as what is.
fn nobody(proof: &Proof) -> Verdict {
    if let Proof::Secret(hash) = proof {
        let _ = aws_lc_rs::constant_time::verify_slices_are_equal(&[0; 32], hash);
    }
    Verdict::Unknown
}

/// The only device of a name, unless it is deleted.
pub(super) async fn named(tx: &ReadTx, name: &Name) -> Result<Option<device::Model>> {
    use device::Column as C;
    let named = match name {
        Name::Id(id) => vec![C::Id.eq(*id)],
        Name::SerialNumber(text) => vec![C::SerialNumber.eq(text)],
        Name::ExternalId(text) => vec![C::ExternalId.eq(text)],
        Name::Code(text) => vec![C::Code.eq(text)],
        Name::Any(text) => any_name(text),
    };
    let mut found = HashMap::new();
    for named in named {
        let there = device::Entity::find().filter(C::DeleteTime.is_null());
        let row = tx.one(there.filter(named)).await?;
        found.extend(row.map(|row| (row.id, row)));
    }
    let mut found = found.into_values();
    Ok(found.next().filter(|_| found.next().is_none()))
}

/// Each of the names of devices, for a query of its own: an index knows each,
/// and none knows either of two.
pub(crate) fn any_name(text: &str) -> Vec<Expr> {
    use device::Column as C;
    let id = text.parse::<Uuid>().ok();
    let id = id.map(|id| C::Id.eq(id));
    let names = [C::SerialNumber, C::ExternalId, C::Code];
    id.into_iter()
        .chain(names.map(|name| name.eq(text)))
        .collect()
}

async fn by_secret(
    tx: &ReadTx,
    device: device::Model,
    hash: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<Found> {
    let query = device_credential::Entity::find()
        .filter(device_credential::Column::DeviceId.eq(device.id))
        .order_by_desc(device_credential::Column::Number);
    let rows = tx.all(query).await?;
    let mut found = Err(Verdict::Unknown);
    // All are compared; of several with the same secret, the best counts.
    for row in rows.iter().filter(|row| is_secret(row, hash)) {
        if found.is_err() {
            found = credential(tx, &device, row, None, now);
        }
    }
    Ok(found)
}

async fn by_certificate(
    tx: &ReadTx,
    named: Option<device::Model>,
    presented: &Presented,
    now: DateTime<Utc>,
) -> Result<Found> {
    let hash = presented.sha256();
    match by_fingerprint(tx, named.clone(), &hash, Some(presented), now).await? {
        Err(Verdict::Unknown) => by_authority(tx, named, presented, now).await,
        known => Ok(known),
    }
}

async fn by_fingerprint(
    tx: &ReadTx,
    named: Option<device::Model>,
    hash: &[u8; 32],
    presented: Option<&Presented>,
    now: DateTime<Utc>,
) -> Result<Found> {
    let query = device_credential::Entity::find()
        .filter(device_credential::Column::CertificateSha256.eq(hash.to_vec()));
    let Some(row) = tx.one(query).await? else {
        return Ok(Err(Verdict::Unknown));
    };
    let Some(device) = device_of(tx, named, row.device_id).await? else {
        return Ok(Err(Verdict::Unknown));
    };
    if let Some(refused) = presented.and_then(|presented| outside(presented, now)) {
        return Ok(Err(refused));
    }
    Ok(credential(
        tx,
        &device,
        &row,
        presented.map(|p| p.not_after),
        now,
    ))
}

/// Why a certificate does not hold now.
fn outside(presented: &Presented, now: DateTime<Utc>) -> Option<Verdict> {
    let early = (now < presented.not_before).then_some(Verdict::NotYetValid);
    early.or((presented.not_after <= now).then_some(Verdict::Expired))
}

/// The device, if it is the one that was named.
async fn device_of(
    tx: &ReadTx,
    named: Option<device::Model>,
    id: Uuid,
) -> Result<Option<device::Model>> {
    match named {
        Some(device) => Ok(Some(device).filter(|device| device.id == id)),
        None => self::named(tx, &Name::Id(id)).await,
    }
}

async fn by_authority(
    tx: &ReadTx,
    wanted: Option<device::Model>,
    presented: &Presented,
    now: DateTime<Utc>,
) -> Result<Found> {
    use device_authority::Column as C;
    let query = device_authority::Entity::find()
        .filter(C::Disabled.eq(false))
        .filter(C::NotAfter.gt(now))
        .order_by_asc(C::Number);
    let mut refused = Verdict::Unknown;
    for authority in tx.all(query).await? {
        let end = match presented.issued_by(&authority.certificate, now) {
            Ok(end) => end.min(authority.not_after),
            Err(NotIssued::Expired) => {
                refused = Verdict::Expired;
                continue;
            }
            Err(NotIssued::NotYetValid) => {
                refused = Verdict::NotYetValid;
                continue;
            }
            Err(NotIssued::Unknown) => continue,
        };
        let Some(name) = name_in(presented, &authority) else {
            continue;
        };
        let device = named(tx, &name).await?;
        let same = |device: &device::Model| wanted.as_ref().is_none_or(|w| w.id == device.id);
        let Some(device) = device.filter(same) else {
            continue;
        };
        return issued(tx, &device, &authority, end, now).await;
    }
    Ok(Err(refused))
}

/// Which device a certificate names, as its authority writes it.
fn name_in(presented: &Presented, authority: &device_authority::Model) -> Option<Name> {
    let named_by = NamedBy::try_from(i32::from(authority.named_by)).unwrap_or_default();
    let text = match named_by {
        NamedBy::DnsName => presented.dns_name(),
        NamedBy::Uri => presented.uri(),
        NamedBy::CommonName | NamedBy::Unspecified => presented.common_name(),
    };
    let text = text.filter(|text| !text.is_empty())?;
    Some(
        match Names::try_from(i32::from(authority.names)).unwrap_or_default() {
            Names::ExternalId => Name::ExternalId(text),
            Names::Id => Name::Id(text.parse().ok()?),
            Names::Code => Name::Code(text),
            Names::SerialNumber | Names::Unspecified => Name::SerialNumber(text),
        },
    )
}

/// A device whose certificate an authority has issued.
async fn issued(
    tx: &ReadTx,
    device: &device::Model,
    authority: &device_authority::Model,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Found> {
    use device_credential::Column as C;
    let query = device_credential::Entity::find()
        .filter(C::DeviceId.eq(device.id))
        .filter(C::AuthorityId.eq(authority.id))
        .order_by_desc(C::Number);
    let rows = tx.all(query).await?;
    if rows.is_empty() {
        return Ok(match authority.any_device {
            true => in_use(tx, device, Some(end)),
            false => Err(Verdict::Unknown),
        });
    }
    let mut found = Err(Verdict::Unknown);
    for row in &rows {
        if found.is_err() {
            found = credential(tx, device, row, Some(end), now);
        }
    }
    Ok(found)
}

/// A device that presented what one of its credentials wants.
fn credential(
    tx: &ReadTx,
    device: &device::Model,
    row: &device_credential::Model,
    end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Found {
    if row.disabled {
        return Err(Verdict::Disabled);
    }
    if row.not_before.is_some_and(|begin| now < begin) {
        return Err(Verdict::NotYetValid);
    }
    if row.not_after.is_some_and(|end| end <= now) {
        return Err(Verdict::Expired);
    }
    let end = [end, row.not_after].into_iter().flatten().min();
    let known = in_use(tx, device, end)?;
    Ok(Known {
        credential: Some((row.id, row.number)),
        is_first: row.first_use_time.is_none(),
        ..known
    })
}

/// A device that may act.
pub(super) fn in_use(tx: &ReadTx, device: &device::Model, end: Option<DateTime<Utc>>) -> Found {
    if device.state != State::Active as i16 {
        return Err(Verdict::DeviceNotActive);
    }
    Ok(Known::new(
        tx.begin_time(),
        device.id,
        identity(tx, device),
        end,
    ))
}

fn identity(tx: &ReadTx, device: &device::Model) -> DeviceIdentity {
    DeviceIdentity {
        id: device.id.to_string(),
        tenant_id: tx.tenant().0.to_string(),
        serial_number: device.serial_number.clone().unwrap_or_default(),
        external_id: device.external_id.clone().unwrap_or_default(),
        code: device.code.clone().unwrap_or_default(),
        state: device.state.into(),
        labels: labels(&device.labels),
    }
}
