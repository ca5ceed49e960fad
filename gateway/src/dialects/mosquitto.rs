//! The HTTP backend of mosquitto-go-auth, and of brokers that ask the same. The
//! status alone is an answer, and the body is one, whichever the broker reads.

use bytes::Bytes;
use chassis::open_subject;
use chassis::peer::Peers;
use http::Response as Answer;
use proto::muster::dialect::mosquitto::v1::mosquitto_service_server::{
    MosquittoService, MosquittoServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::mosquitto::v1::*;
use proto::registry::authenticate_device_request::Proof;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use transcoder::Problem;

use super::{Dialect, brokers};
use crate::domain::Domain;

pub(super) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    prefixes: &["/hooks/mosquitto/"],
    error,
    error_content: None,
};

pub(super) fn service(peers: &Peers) -> MosquittoServiceServer<Mosquitto> {
    MosquittoServiceServer::new(Mosquitto {
        peers: peers.clone(),
    })
}

fn error(problem: &Problem) -> Answer<Bytes> {
    let body = serde_json::json!({"Ok": false, "Error": problem.status.message()});
    super::json(problem.http_status, &body)
}

pub(super) struct Mosquitto {
    peers: Peers,
}

#[tonic::async_trait]
impl MosquittoService for Mosquitto {
    async fn user(&self, request: Request<UserRequest>) -> Result<Response<UserResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, client) = open_subject(request)?;
        let name = brokers::name_of(&client.username, &client.clientid);
        let proof = Proof::Secret(client.password.clone());
        let answer = brokers::authenticate(&domain, name, proof).await?;
        let valid = answer.as_ref().is_some_and(|answer| answer.valid);
        let why = answer.map_or_else(|| "no device".to_owned(), |answer| answer.message);
        Ok(answered(
            valid,
            UserResponse {
                ok: valid,
                error: if valid { String::new() } else { why },
            },
        ))
    }

    async fn superuser(
        &self,
        request: Request<SuperuserRequest>,
    ) -> Result<Response<SuperuserResponse>, Status> {
        open_subject(request)?;
        Ok(answered(
            false,
            SuperuserResponse {
                ok: false,
                error: "no device may do everything".to_owned(),
            },
        ))
    }

    async fn acl(&self, request: Request<AclRequest>) -> Result<Response<AclResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wish) = open_subject(request)?;
        let name = brokers::name_of(&wish.username, &wish.clientid);
        let allowed = match wish.acc {
            1..=4 => brokers::authorize(&domain, name, &wish.topic, &wish.prefix).await?,
            _ => Err("acc is none of 1 to 4"),
        };
        Ok(answered(
            allowed.is_ok(),
            AclResponse {
                ok: allowed.is_ok(),
                error: allowed.err().unwrap_or_default().to_owned(),
            },
        ))
    }
}

/// What is denied is 403: the plugin may look at nothing else.
fn answered<T>(allowed: bool, message: T) -> Response<T> {
    let mut response = Response::new(message);
    if !allowed {
        let status = MetadataValue::from_static("403");
        response.metadata_mut().insert("x-http-status", status);
    }
    response
}
