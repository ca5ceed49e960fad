//! Connectors, which are Muster's webhooks.

mod webhook;

use chassis::paging::token_after;
use chassis::peer::Peers;
use chassis::{Error, open_subject};
use prost_types::FieldMask;
use proto::muster::dialect::hardwario::v1::hardwario_connector_service_server::{
    HardwarioConnectorService, HardwarioConnectorServiceServer, SERVICE_NAME,
};
use proto::muster::dialect::hardwario::v1::*;
use proto::registry::{self, Webhook};
use tonic::{Code, Request, Response, Status};

use self::webhook::{after, differences, event, shown};
use super::{MOST, enter, no_offset, refusal};
use crate::dialects::Dialect;
use crate::domain::Domain;

pub(crate) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    // Those of the other service.
    prefixes: &[],
    error: refusal::answer,
    error_content: Some(refusal::content),
};

pub(crate) fn service(peers: &Peers) -> HardwarioConnectorServiceServer<HardwarioConnectors> {
    HardwarioConnectorServiceServer::new(HardwarioConnectors {
        peers: peers.clone(),
    })
}

pub(crate) struct HardwarioConnectors {
    peers: Peers,
}

#[tonic::async_trait]
impl HardwarioConnectorService for HardwarioConnectors {
    async fn list_connectors(
        &self,
        request: Request<ListConnectorsRequest>,
    ) -> Result<Response<ListConnectorsResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (space, domain) = enter(domain, &wanted.space_id).await?;
        let page = registry::ListWebhooksRequest {
            page_size: wanted.limit.unwrap_or(MOST),
            page_token: behind(&domain, &wanted.offset).await?,
        };
        let page = domain
            .webhooks()
            .list_webhooks(domain.request(page))
            .await?;
        let webhooks = page.into_inner().webhooks.into_iter();
        Ok(Response::new(ListConnectorsResponse {
            connectors: webhooks.map(|webhook| shown(space, webhook)).collect(),
        }))
    }

    async fn create_connector(
        &self,
        request: Request<CreateConnectorRequest>,
    ) -> Result<Response<Connector>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, new) = open_subject(request)?;
        let (space, domain) = enter(domain, &new.space_id).await?;
        let new = new.connector.unwrap_or_default();
        if !new.id.is_empty() {
            return Err(Error::invalid("id", "is chosen for a new one").into());
        }
        if new.name.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::invalid("name", "is required").into());
        }
        let none = Webhook {
            event_types: vec![event("data".to_owned())],
            ..Default::default()
        };
        let create = registry::CreateWebhookRequest {
            webhook: Some(after(space, none, new)?),
            ..Default::default()
        };
        let create = domain.request(create);
        let made = domain.webhooks().create_webhook(create).await?.into_inner();
        Ok(Response::new(Connector {
            secret: Some(made.secret),
            ..shown(space, made.webhook.unwrap_or_default())
        }))
    }

    async fn get_connector(
        &self,
        request: Request<GetConnectorRequest>,
    ) -> Result<Response<Connector>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (space, domain) = enter(domain, &wanted.space_id).await?;
        let webhook = by_id(&domain, &wanted.id).await?;
        Ok(Response::new(shown(space, webhook)))
    }

    async fn update_connector(
        &self,
        request: Request<UpdateConnectorRequest>,
    ) -> Result<Response<Connector>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, change) = open_subject(request)?;
        let (space, domain) = enter(domain, &change.space_id).await?;
        let change = change.connector.unwrap_or_default();
        let before = match change.id.as_str() {
            "" => by_name(&domain, change.name.as_deref().unwrap_or_default()).await?,
            id => by_id(&domain, id).await?,
        };
        let webhook = after(space, before.clone(), change)?;
        let paths = differences(&before, &webhook);
        if paths.is_empty() {
            return Ok(Response::new(shown(space, before)));
        }
        let update = registry::UpdateWebhookRequest {
            webhook: Some(webhook),
            update_mask: Some(FieldMask { paths }),
        };
        let update = domain.request(update);
        let webhook = domain.webhooks().update_webhook(update).await?;
        Ok(Response::new(shown(space, webhook.into_inner())))
    }

    async fn delete_connector(
        &self,
        request: Request<DeleteConnectorRequest>,
    ) -> Result<Response<DeleteConnectorResponse>, Status> {
        let domain = Domain::of(&self.peers, &request);
        let (_, wanted) = open_subject(request)?;
        let (_, domain) = enter(domain, &wanted.space_id).await?;
        let id = wanted.id.clone();
        let delete = domain.request(registry::DeleteWebhookRequest { id });
        let deleted = domain.webhooks().delete_webhook(delete).await;
        deleted.map_err(|refusal| missing(refusal, &wanted.id))?;
        Ok(Response::new(DeleteConnectorResponse {}))
    }
}

async fn by_id(domain: &Domain, id: &str) -> Result<Webhook, Status> {
    let get = domain.request(registry::GetWebhookRequest { id: id.to_owned() });
    let found = domain.webhooks().get_webhook(get).await;
    Ok(found.map_err(|refusal| missing(refusal, id))?.into_inner())
}

/// The only webhook with a name.
async fn by_name(domain: &Domain, name: &str) -> Result<Webhook, Status> {
    if name.is_empty() {
        return Err(Error::invalid("id", "is required, or a name").into());
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = registry::ListWebhooksRequest {
            page_size: MOST,
            page_token,
        };
        let page = domain
            .webhooks()
            .list_webhooks(domain.request(page))
            .await?;
        let page = page.into_inner();
        let named = |webhook: &Webhook| webhook.description == name;
        found.extend(page.webhooks.into_iter().filter(named));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(webhook), true) => Ok(webhook),
        (Some(_), false) => Err(Error::invalid("name", "several have it: say the id").into()),
        (None, _) => Err(Error::not_found("connector", name).into()),
    }
}

/// Says by the vendor's word what is not there.
fn missing(refusal: Status, id: &str) -> Status {
    match refusal.code() {
        Code::NotFound => Error::not_found("connector", id).into(),
        _ => refusal,
    }
}

/// The page token behind the connector that was received last.
async fn behind(domain: &Domain, offset: &str) -> Result<String, Status> {
    if offset.is_empty() {
        return Ok(String::new());
    }
    match by_id(domain, offset).await {
        Ok(last) => Ok(token_after(last.number)),
        Err(refusal) if refusal.code() == Code::NotFound => {
            Err(no_offset("connector", offset).into())
        }
        Err(refusal) => Err(refusal),
    }
}
