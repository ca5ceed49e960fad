//! What this service asks of tenancy: what a user may do in a tenant.

use chassis::caller::TenantId;
use chassis::peer::{Peers, ServiceName};
use chassis::permissions::Permissions;
use chassis::service_identity::ServiceIdentity;
use chassis::{Caller, Result};
use proto::tenancy::member_service_client::MemberServiceClient;
use proto::tenancy::{ResolveMemberRequest, ResolveMemberResponse};
use tonic::Code;
use uuid::Uuid;

/// Asks tenancy. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Memberships {
    pub(crate) peers: Peers,
    pub(crate) identity: ServiceIdentity,
}

impl Memberships {
    /// A user's membership; `None` if there is none, or the tenant is not in use.
    pub(crate) async fn of(
        &self,
        tenant: TenantId,
        user: Uuid,
    ) -> Result<Option<ResolveMemberResponse>> {
        let request = ResolveMemberRequest {
            user_id: user.to_string(),
        };
        let request = self.identity.request_for(tenant, &[], request)?;
        let mut members = MemberServiceClient::new(self.peers.get(ServiceName::Tenancy));
        match members.resolve_member(request).await {
            Ok(member) => Ok(Some(member.into_inner())),
            Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
                Ok(None)
            }
            Err(status) => Err(status.into()),
        }
    }

    /// Refuses a caller who would act on a user that may do more than he.
    pub(crate) async fn not_above(&self, caller: &Caller, user: Uuid) -> Result<()> {
        match self.of(caller.tenant(), user).await? {
            Some(member) => {
                caller.may_grant(Permissions::from_scope(&member.permissions.join(" ")))
            }
            None => Ok(()),
        }
    }
}
