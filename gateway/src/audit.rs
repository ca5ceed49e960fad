//! The record of changes of all services as one: each keeps its own, and is
//! asked with the caller's own token.

use std::time::Duration;

use chassis::audit::merge;
use chassis::peer::{Peers, ServiceName};
use chassis::{Error, open};
use futures::future::join_all;
use proto::audit::audit_service_client::AuditServiceClient;
use proto::audit::audit_service_server::AuditService;
use proto::audit::{ListAuditEventsRequest, ListAuditEventsResponse};
use tonic::{Code, Request, Response, Status};

use crate::domain::Domain;

/// How long a service may take until it counts as one that can't be reached.
const PATIENCE: Duration = Duration::from_secs(15);

/// Answers for the record of all services.
pub(crate) struct Audit {
    pub(crate) peers: Peers,
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open(request)?;
        let names = ServiceName::ALL.into_iter();
        let names = names.filter(|name| ["", name.as_str()].contains(&&*wanted.service));
        let asked = names.map(async |name| (name, self.ask(&domain, name, &wanted).await));
        let (mut answers, mut unreachable) = (Vec::new(), Vec::new());
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(status) if !is_away(&status) => return Err(status),
                Err(_) if wanted.return_partial_success => {
                    unreachable.push(name.as_str().to_owned());
                }
                Err(_) => {
                    let what = format!("the record of the {} service", name.as_str()).into();
                    return Err(Error::Unavailable { what }.into());
                }
            }
        }
        Ok(Response::new(ListAuditEventsResponse {
            unreachable,
            ..merge(answers, wanted.page_size)
        }))
    }
}

impl Audit {
    async fn ask(
        &self,
        domain: &Domain,
        name: ServiceName,
        wanted: &ListAuditEventsRequest,
    ) -> Result<ListAuditEventsResponse, Status> {
        let mut client = AuditServiceClient::new(self.peers.get(name));
        let answer = client.list_audit_events(domain.request(wanted.clone()));
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded("it took too long")),
        }
    }
}

fn is_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
