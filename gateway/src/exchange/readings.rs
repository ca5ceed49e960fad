//! Credentials that may be read in several ways.

use chassis::context;
use chassis::renewal::Renewal;
use tonic::{Code, Status};

use super::{Exchange, credential, digest, malformed};
use crate::credentials::Presented;

/// What a credential that is wrong is to its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Counts,
    /// Not yet: another reading of the same credential is tried next, or it was
    /// good a moment ago.
    Passes,
}

impl Exchange {
    /// A token for the one of several readings of a credential that is good.
    /// They count as one try; and what was good before is tried first, so that
    /// it costs nothing that it can be misread. With it comes how to get another one.
    pub(crate) async fn token_of(
        &self,
        readings: Vec<Presented>,
    ) -> Result<(String, Option<Renewal>), Status> {
        let (mut ordered, mut unknown) = (Vec::new(), Vec::new());
        for reading in readings {
            match self.remembers(&reading).await {
                true => ordered.push(reading),
                false => unknown.push(reading),
            }
        }
        ordered.append(&mut unknown);
        let last = ordered.len().saturating_sub(1);
        let mut refusal = malformed();
        for (at, reading) in ordered.into_iter().enumerate() {
            let wrong = match at == last {
                true => Wrong::Counts,
                false => Wrong::Passes,
            };
            let renewal = self.renewal(&reading);
            match self.reading(reading, wrong).await {
                Err(status) if status.code() == Code::Unauthenticated => refusal = status,
                answer => return answer.map(|token| (token, renewal)),
            }
        }
        Err(refusal)
    }

    /// Whether a credential was good when it was last used from here.
    async fn remembers(&self, presented: &Presented) -> bool {
        let Ok(Some(credential)) = credential(presented.clone()) else {
            return false;
        };
        let source = context::current().and_then(|call| call.source);
        let known = self.0.traded.get(&digest(&credential)).await;
        known.is_some_and(|traded| traded.allows(source))
    }
}
