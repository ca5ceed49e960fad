//! How far a reader is, and the token that says it.

use chassis::caller::TenantId;
use chassis::paging::Sealer;
use chassis::store::{Position, ReadTx, Reading, event};
use chassis::{Clock, Error, Result};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// How long a token is good. A list anew costs less than what happened since.
const GOOD: TimeDelta = TimeDelta::days(30);
/// What a page token is not.
const KIND: &[u8] = b"devices:watch";

/// How far a reader is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the list of devices: behind one of this number.
    #[serde(rename = "l")]
    List {
        /// From where the record is told after the list: from before it.
        #[serde(rename = "p")]
        from: Position,
        #[serde(rename = "d")]
        number: i64,
    },
    /// In the record of changes.
    #[serde(rename = "r")]
    Record(Reading),
}

impl Place {
    pub(crate) async fn begin(tx: &ReadTx) -> Result<Self> {
        Ok(Self::List {
            from: tx.position::<event::Entity>().await?,
            number: 0,
        })
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::List { .. })
    }
}

/// Seals places of the readers of one filter in one tenant.
pub(crate) struct Tokens {
    sealer: Sealer,
    clock: Clock,
    tenant: TenantId,
    filter: String,
}

impl Tokens {
    pub(crate) fn new(sealer: Sealer, clock: Clock, tenant: TenantId, filter: &str) -> Self {
        Self {
            sealer,
            clock,
            tenant,
            filter: filter.to_owned(),
        }
    }

    fn query(&self) -> [&[u8]; 3] {
        [self.tenant.0.as_bytes(), KIND, self.filter.as_bytes()]
    }

    pub(crate) fn seal(&self, place: &Place) -> Result<String> {
        let token = serde_json::to_vec(&(self.clock.now().timestamp(), place));
        let token = token.map_err(Error::internal)?;
        Ok(self.sealer.seal(&self.query(), &token))
    }

    pub(crate) fn open(&self, token: &str) -> Result<Place> {
        let token = self.sealer.open(&self.query(), token).map_err(|_| {
            Error::invalid(
                "resume_token",
                "is no token of a stream with this very filter; leave it out to begin anew",
            )
        })?;
        let (sealed, place) =
            serde_json::from_slice::<(i64, Place)>(&token).map_err(Error::internal)?;
        if self.clock.now().timestamp() - sealed > GOOD.num_seconds() {
            return Err(Error::precondition(
                "RESUME_TOKEN_EXPIRED",
                "the token is too old; begin anew, without a resume token",
            ));
        }
        Ok(place)
    }
}
