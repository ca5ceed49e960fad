//! The stream by which a device, or its gateway, receives commands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::caller::{Principal, TenantId};
use chassis::revocation::{Revocable, Revocations};
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Caller, Clock, Error, Result};
use chrono::TimeDelta;
use proto::registry::{DeviceCommand, ReceiveCommandsResponse};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use super::calls::Calls;
use super::deliver::hand_out;
use super::state;
use super::whose::Whose;

/// How often a quiet stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Commands that are handed out at a time: a receiver that goes away lets
/// those that it did not read wait for their deadline.
const AT_ONCE: u64 = 10;
/// How many streams one tenant may have from one process.
const OF_ONE_TENANT: usize = 400;
/// How many all tenants may have: less than a connection of a gateway bears,
/// which all other calls need too.
const OF_ALL: usize = 800;
/// How often it is looked whether a receiver is still good.
const LOOK: Duration = Duration::from_secs(1);

/// What a stream says.
pub(crate) type Said = Result<ReceiveCommandsResponse, Status>;

/// One stream.
pub(crate) struct Receiver {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) calls: Calls,
    pub(crate) revocations: Revocations,
    pub(crate) caller: Caller,
    pub(crate) whose: Whose,
    /// How long an acknowledgement may take.
    pub(crate) patience: TimeDelta,
}

impl Receiver {
    /// Says what there is until nobody listens, or the caller is no longer
    /// good.
    pub(crate) async fn run(self, to: mpsc::Sender<Said>) {
        let refusal = tokio::select! {
            () = to.closed() => return,
            refusal = self.hand_on(&to) => refusal,
            refusal = is_refused(&self.revocations, &self.caller) => refusal,
        };
        // Nobody is left to be told.
        let _ = to.send(Err(refusal.into())).await;
    }

    /// Ends with what goes wrong.
    async fn hand_on(&self, to: &mpsc::Sender<Said>) -> Error {
        let listener = self.calls.listen(self.whose.keys(&self.caller));
        let mut quiet_since = None;
        loop {
            if quiet_since.is_none_or(|since: Instant| since.elapsed() >= HEARTBEAT) {
                if self.say(to, None).await.is_err() {
                    return gone();
                }
                quiet_since = Some(Instant::now());
            }
            // Only for a reader that has read: what it does not take in time
            // would be handed out again.
            let Ok(room) = to.reserve().await else {
                return gone();
            };
            drop(room);
            let found = hand_out(
                &self.store,
                &self.caller,
                &self.whose,
                self.patience,
                AT_ONCE,
            );
            let handed = match found.await {
                Ok(handed) => handed,
                Err(error) => return error,
            };
            let nothing = handed.rows.is_empty();
            for row in handed.rows {
                let command = state::message(row, handed.time);
                if self.say(to, Some(command)).await.is_err() {
                    return gone();
                }
                quiet_since = Some(Instant::now());
            }
            if nothing {
                let until = handed.next.map(|next| next - handed.time);
                let until = until.and_then(|until| until.to_std().ok());
                let quiet = quiet_since.map_or(Duration::ZERO, |since| since.elapsed());
                let alive = HEARTBEAT.saturating_sub(quiet);
                let pause = until.map_or(alive, |until| until.min(alive));
                // Found or not: a call that was missed is found now.
                let _ = tokio::time::timeout(pause, listener.called()).await;
            }
        }
    }

    async fn say(
        &self,
        to: &mpsc::Sender<Said>,
        device_command: Option<DeviceCommand>,
    ) -> Result<(), mpsc::error::SendError<Said>> {
        let said = ReceiveCommandsResponse {
            device_command,
            time: Some(timestamp(self.clock.now())),
        };
        to.send(Ok(said)).await
    }
}

/// Nobody reads this.
fn gone() -> Error {
    Error::Aborted {
        message: "the receiver has gone away".into(),
    }
}

/// Ends when the caller's credential has been revoked.
async fn is_refused(revocations: &Revocations, caller: &Caller) -> Error {
    let tenant = caller.tenant().0;
    let principal = caller.principal().clone();
    let mut whose = vec![Revocable::Tenant(tenant)];
    if let Principal::User(user) = principal {
        whose.push(Revocable::Member { tenant, user });
    }
    whose.push(Revocable::Principal(principal));
    while !revocations.revoked_since(&whose, caller.subject().issue_time()) {
        tokio::time::sleep(LOOK).await;
    }
    Error::Unauthenticated {
        reason: "TOKEN_REVOKED",
        message: "the credential that receives has been revoked".into(),
    }
}

/// Who receives, by tenant.
#[derive(Clone, Default)]
pub(crate) struct Seats(Arc<Mutex<HashMap<Uuid, usize>>>);

/// A place among the receivers, given back when it is dropped.
pub(crate) struct Seat(Seats, Uuid);

impl Seats {
    /// Takes a place, if there is one.
    pub(crate) fn take(&self, tenant: TenantId) -> Result<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(tenant.0).or_default();
        if *own >= OF_ONE_TENANT || all >= OF_ALL {
            return Err(Error::Exhausted {
                reason: "TOO_MANY_RECEIVERS",
                message: "too many streams at this process: receive for several devices by one, \
                          or pull"
                    .into(),
            });
        }
        *own += 1;
        Ok(Seat(self.clone(), tenant.0))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.1);
            }
        }
    }
}
