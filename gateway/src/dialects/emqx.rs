//! EMQX 5 asks whether a client is a device, and what it may do. It takes
//! every other status than 200 and 204 for no opinion, and asks whoever is next;
//! so what fails is denied with 200.

use std::collections::HashMap;

use bytes::Bytes;
use chassis::open_subject;
use chassis::peer::Peers;
use http::{Response as Answer, StatusCode};
use proto::muster::dialect::emqx::v1::emqx_service_server::{
    EmqxService, EmqxServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::emqx::v1::*;
use proto::registry::authenticate_device_request::Proof;
use tonic::{Request, Response, Status};
use transcoder::Problem;

use super::{Dialect, brokers};
use crate::domain::Domain;

pub(super) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    prefixes: &["/hooks/emqx/"],
    error,
    error_content: None,
};

pub(super) fn service(peers: &Peers) -> EmqxServiceServer<Emqx> {
    EmqxServiceServer::new(Emqx {
        peers: peers.clone(),
    })
}

/// Denied; the broker passes over the reason, which is for people.
fn error(problem: &Problem) -> Answer<Bytes> {
    let body = serde_json::json!({
        "result": "deny",
        "is_superuser": false,
        "client_attrs": {},
        "error": problem.status.message(),
    });
    super::json(StatusCode::OK, &body)
}

pub(super) struct Emqx {
    peers: Peers,
}

#[tonic::async_trait]
impl EmqxService for Emqx {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, client) = open_subject(request)?;
        // The same as its topics are asked for, also beside a certificate.
        let name = brokers::name_of(&client.username, &client.clientid);
        let proof = match client.cert_pem.as_str() {
            "" => Proof::Secret(client.password.clone()),
            pem => Proof::Certificate(pem.to_owned()),
        };
        let answer = brokers::authenticate(&domain, name, proof).await?;
        let answer = answer.filter(|answer| answer.valid).map(|answer| {
            let id = answer.device.unwrap_or_default().id;
            AuthenticateResponse {
                result: verdict(true),
                is_superuser: false,
                client_attrs: HashMap::from([("device_id".to_owned(), id)]),
                expire_at: answer.expire_time.map(|time| time.seconds),
            }
        });
        Ok(Response::new(answer.unwrap_or_else(|| {
            AuthenticateResponse {
                result: verdict(false),
                ..Default::default()
            }
        })))
    }

    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wish) = open_subject(request)?;
        let name = brokers::name_of(&wish.username, &wish.clientid);
        let known = matches!(wish.action.as_str(), "publish" | "subscribe" | "");
        let allowed = known
            && brokers::authorize(&domain, name, &wish.topic, &wish.prefix)
                .await?
                .is_ok();
        Ok(Response::new(AuthorizeResponse {
            result: verdict(allowed),
        }))
    }
}

fn verdict(allowed: bool) -> String {
    if allowed { "allow" } else { "deny" }.to_owned()
}
