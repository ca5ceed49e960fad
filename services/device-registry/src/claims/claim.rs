//! A device registers itself.
//!
//! The claim key is shared by a fleet, and may be known to whoever opens one
//! device of it. So it only makes devices: it gives no credential of a device
//! that is in use. Until a device has used the credential that it got, it may
//! have lost the answer, and gets another one in its place; from the first use
//! on, only who has a good secret of the device claims it anew.

use chassis::caller::TenantId;
use chassis::context;
use chassis::hash::sha256;
use chassis::key_format;
use chassis::store::{Record, WriteTx};
use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use proto::registry::device::State;
use proto::registry::{ClaimDeviceRequest, ClaimDeviceResponse, Device, DeviceTemplate};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::row::{allows, template};
use super::{Claims, PREFIX};
use crate::authentication::find::any_name;
use crate::credentials::proof::{self, Proof, is_secret};
use crate::device_row::columns;
use crate::entity::{claim_key, device, device_credential};
use crate::{labels, lifecycle, quota, references};

/// How often is begun anew when the device appears or goes meanwhile.
const ATTEMPTS: usize = 5;

/// What a claim is made of.
struct Claim<'a> {
    key: claim_key::Model,
    template: DeviceTemplate,
    request: &'a ClaimDeviceRequest,
    proof: Proof,
    now: DateTime<Utc>,
    /// The device as it was found, or the one that is to be made.
    device: Uuid,
    is_new: bool,
    credential: Uuid,
    device_limit: Option<i64>,
}

impl Claims {
    /// Registers whoever presents a claim key.
    pub(super) async fn claim(&self, request: ClaimDeviceRequest) -> Result<ClaimDeviceResponse> {
        let key = self.presented(&request.claim_key).await?;
        let source = context::current().and_then(|call| call.source);
        let now = self.clock.now();
        usable(&key, now)?;
        if !allows(&key, source) {
            return Err(Error::denied(
                "NETWORK_NOT_ALLOWED",
                "the claim key may not be used from this address",
            ));
        }
        let proof = match (request.secret.as_str(), request.certificate_sha256.as_str()) {
            (secret, "") => Proof::secret(secret)?,
            ("", hex) => Proof::fingerprint("certificate_sha256", hex)?,
            _ => {
                return Err(Error::invalid(
                    "certificate_sha256",
                    "a device proves itself by a secret or a certificate; name one",
                ));
            }
        };
        let mut claim = Claim {
            template: template(&key)?,
            request: &request,
            now,
            device: Uuid::nil(),
            is_new: true,
            credential: self.clock.new_id(),
            device_limit: self.settings.device_limit,
            proof,
            key,
        };
        for _ in 0..ATTEMPTS {
            let there = self.device(&claim).await?;
            claim.is_new = there.is_none();
            claim.device = there.unwrap_or_else(|| self.clock.new_id());
            let tenant = claim.key.tenant_id;
            let actor = format!("claim-key:{}", claim.key.id);
            let record = Record::by(actor, tenant, ("devices", claim.device));
            let claimed = self.store.change_within(
                "register a device by a claim key",
                TenantId(tenant),
                record,
                async |tx| claim.make(tx).await,
            );
            match claimed.await {
                Err(Error::Aborted { .. }) => {}
                done => {
                    let row = done?;
                    return Ok(ClaimDeviceResponse {
                        device_id: row.id.to_string(),
                        serial_number: row.serial_number.unwrap_or_default(),
                        state: row.state.into(),
                        credential_id: claim.credential.to_string(),
                        secret: claim.proof.shown(),
                    });
                }
            }
        }
        Err(Error::Contention)
    }

    /// The key that a device presents.
    async fn presented(&self, presented: &str) -> Result<claim_key::Model> {
        let parts = key_format::parse(presented).map_err(|_| unknown())?;
        if parts.prefix != PREFIX || !parts.environment.is_empty() {
            return Err(unknown());
        }
        let hash = sha256(parts.secret.as_bytes());
        let tx = self
            .store
            .global("a claim key that was just presented")
            .await?;
        // Two tenants may choose the same id, and not the same secret.
        let query = claim_key::Entity::find()
            .filter(claim_key::Column::Id.eq(parts.id))
            .filter(claim_key::Column::SecretHash.eq(hash.to_vec()));
        let mut rows = tx.all(query).await?.into_iter();
        let same = |row: &claim_key::Model| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&row.secret_hash, &hash).is_ok()
        };
        rows.find(same).ok_or_else(unknown)
    }

    /// The device that is there already.
    async fn device(&self, claim: &Claim<'_>) -> Result<Option<Uuid>> {
        let tx = self
            .store
            .global("whether a device is known that claims")
            .await?;
        let query = device::Entity::find()
            .filter(device::Column::TenantId.eq(claim.key.tenant_id))
            .filter(device::Column::SerialNumber.eq(&claim.request.serial_number))
            .filter(device::Column::DeleteTime.is_null());
        Ok(tx.one(query).await?.map(|row| row.id))
    }
}

impl Claim<'_> {
    /// The device with its new credential.
    async fn make(&self, tx: &WriteTx) -> Result<device::Model> {
        let query = device::Entity::find()
            .filter(device::Column::SerialNumber.eq(&self.request.serial_number))
            .filter(device::Column::DeleteTime.is_null());
        // Others that claim the same device wait here for what becomes of this.
        let there = tx.one(query).await?;
        if there.as_ref().map(|row| row.id) != (!self.is_new).then_some(self.device) {
            return Err(meanwhile());
        }
        let (row, counts) = match there {
            None => (self.create(tx).await?, true),
            Some(row) => self.again(tx, row).await?,
        };
        let credential = device_credential::ActiveModel {
            display_name: Set("claimed".to_owned()),
            claim_key_id: Set(Some(self.key.id)),
            ..proof::bare(&self.proof, self.credential, row.id, self.now)
        };
        proof::add(tx, row.id, credential, self.now)
            .await
            .map_err(|e| e.unique(&[("certificate_sha256", "certificate_sha256")]))?;
        // Last, for all others that claim with this key wait from here on.
        self.count(tx, counts).await?;
        Ok(row)
    }

    async fn create(&self, tx: &WriteTx) -> Result<device::Model> {
        let serial_number = &self.request.serial_number;
        // Who chooses his own name must not choose one of another device's.
        for name in any_name(serial_number) {
            let there = device::Entity::find().filter(device::Column::DeleteTime.is_null());
            let Some(namesake) = tx.one(there.filter(name)).await? else {
                continue;
            };
            return Err(match namesake.serial_number.as_deref() {
                Some(theirs) if theirs == serial_number => meanwhile(),
                _ => claimed(),
            });
        }
        let display_name = match self.template.display_name.as_str() {
            "" => serial_number.clone(),
            pattern => pattern.replace("{serial_number}", serial_number),
        };
        let wanted = Device {
            display_name: display_name.chars().take(200).collect(),
            serial_number: serial_number.clone(),
            tag_ids: self.template.tag_ids.clone(),
            site_id: self.template.site_id.clone(),
            labels: self.template.labels.clone(),
            state: lifecycle::begin(self.template.state())?.into(),
            ..Default::default()
        };
        let tags = references::existing(tx, &wanted).await.map_err(|_| {
            Error::precondition(
                "CLAIM_KEY_TEMPLATE",
                "a tag or the site of the claim key is gone; change its template",
            )
        })?;
        let row = device::ActiveModel {
            id: Set(self.device),
            create_time: Set(self.now),
            update_time: Set(self.now),
            revision: Set(1),
            ..columns(&wanted)?
        };
        let row = tx.insert(row).await.map_err(|error| match error {
            Error::Constraint(_) => meanwhile(),
            error => error,
        })?;
        quota::take(tx, 1, self.device_limit).await?;
        references::put_tags(tx, row.id, &tags).await?;
        labels::put(tx, row.id, &wanted).await?;
        Ok(row)
    }

    /// A device that is there, if it may be claimed; and whether that counts.
    async fn again(&self, tx: &WriteTx, row: device::Model) -> Result<(device::Model, bool)> {
        let state = State::try_from(i32::from(row.state)).unwrap_or_default();
        if !matches!(state, State::Active | State::Provisioned) {
            return Err(claimed());
        }
        let credentials = proof::all(tx, row.id).await?;
        let current = sha256(self.request.current_secret.as_bytes());
        let is_good = |c: &&device_credential::Model| {
            is_secret(c, &current)
                && !c.disabled
                && c.not_before.is_none_or(|begin| begin <= self.now)
                && c.not_after.is_none_or(|end| end > self.now)
        };
        if let Some(proven) = credentials.iter().find(is_good) {
            self.replace(tx, [proven.number]).await?;
            return Ok((row, false));
        }
        if credentials.is_empty() && state == State::Provisioned {
            return Ok((self.activate(tx, row).await?, true));
        }
        let is_unused = credentials.iter().all(|c| c.first_use_time.is_none());
        let ours = credentials
            .iter()
            .filter(|c| c.claim_key_id == Some(self.key.id));
        let ours: Vec<_> = ours.map(|c| c.number).collect();
        if ours.is_empty() || ours.len() < credentials.len() || !is_unused {
            return Err(claimed());
        }
        self.replace(tx, ours).await?;
        Ok((row, false))
    }

    /// Takes credentials off that nobody has used. One that is used at this
    /// moment is locked until it was noted, and then stays.
    async fn replace(&self, tx: &WriteTx, numbers: impl IntoIterator<Item = i64>) -> Result<()> {
        let numbers: Vec<_> = numbers.into_iter().collect();
        let mut unused = Condition::any().add(device_credential::Column::FirstUseTime.is_null());
        if !self.request.current_secret.is_empty() {
            let current = sha256(self.request.current_secret.as_bytes()).to_vec();
            unused = unused.add(device_credential::Column::SecretHash.eq(current));
        }
        let query = device_credential::Entity::delete_many()
            .filter(device_credential::Column::Number.is_in(numbers.iter().copied()))
            .filter(unused);
        match tx.delete(query).await? == numbers.len() as u64 {
            true => Ok(()),
            false => Err(meanwhile()),
        }
    }

    /// A device that was known before it came.
    async fn activate(&self, tx: &WriteTx, row: device::Model) -> Result<device::Model> {
        if self.template.state() == State::Provisioned {
            return Ok(row);
        }
        tx.update(device::ActiveModel {
            number: Unchanged(row.number),
            state: Set(State::Active as i16),
            update_time: Set(self.now),
            revision: Set(row.revision + 1),
            ..Default::default()
        })
        .await
    }

    /// Counts a use exactly: the row itself says whether there is one left.
    async fn count(&self, tx: &WriteTx, counts: bool) -> Result<()> {
        use claim_key::Column as C;
        let left = Condition::any()
            .add(C::MaxUses.is_null())
            .add(Expr::col(C::UseCount).lt(Expr::col(C::MaxUses)));
        let mut query = claim_key::Entity::update_many()
            .col_expr(C::LastUseTime, Expr::value(self.now))
            .filter(C::Id.eq(self.key.id));
        if counts {
            query = query
                .col_expr(C::UseCount, Expr::col(C::UseCount).add(1))
                .filter(left);
        }
        // What became of the key meanwhile counts.
        let query = query.filter(C::Disabled.eq(false)).filter(
            Condition::any()
                .add(C::ExpireTime.is_null())
                .add(C::ExpireTime.gt(self.now)),
        );
        if tx.update_many(query).await? > 0 {
            return Ok(());
        }
        let query = claim_key::Entity::find().filter(C::Id.eq(self.key.id));
        let row = tx.one(query).await?.ok_or_else(unknown)?;
        usable(&row, self.now)?;
        Err(Error::Exhausted {
            reason: "CLAIM_KEY_USED_UP",
            message: "the claim key has registered as many devices as it may".into(),
        })
    }
}

fn usable(key: &claim_key::Model, now: DateTime<Utc>) -> Result<()> {
    if key.disabled {
        return Err(Error::denied(
            "CLAIM_KEY_DISABLED",
            "the claim key is disabled",
        ));
    }
    if key.expire_time.is_some_and(|end| end <= now) {
        return Err(Error::denied(
            "CLAIM_KEY_EXPIRED",
            "the claim key has expired",
        ));
    }
    Ok(())
}

fn unknown() -> Error {
    Error::Unauthenticated {
        reason: "CLAIM_KEY_UNKNOWN",
        message: "there is no such claim key".into(),
    }
}

fn claimed() -> Error {
    Error::precondition(
        "ALREADY_CLAIMED",
        "the device is in use, or its name is another one's; present a secret of it as \
         current_secret, or ask who manages it",
    )
}

/// It is tried again, with the device as it is by now.
fn meanwhile() -> Error {
    Error::Aborted {
        message: "the device was changed meanwhile".into(),
    }
}
