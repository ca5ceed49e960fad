//! The tags of a space, which the dialect shows whole on every device.

use std::collections::HashMap;

use proto::registry;
use tonic::{Code, Status};

use super::{MOST, shape};
use crate::domain::Domain;

/// Tags by id.
pub(super) type Tags = HashMap<String, registry::Tag>;

/// The tags on devices: asked for only if there are any, and all at once.
pub(super) async fn tags_on(domain: &Domain, devices: &[registry::Device]) -> Result<Tags, Status> {
    if devices.iter().all(|device| device.tag_ids.is_empty()) {
        return Ok(Tags::new());
    }
    Ok(tags(domain).await?.unwrap_or_default())
}

/// Refuses tags that do not exist by their ids, which the domain does not
/// tell; to a caller who may not see tags it leaves the refusal.
pub(super) async fn refuse_unknown(
    domain: &Domain,
    tag_ids: impl Iterator<Item = &String>,
) -> Result<(), Status> {
    let tag_ids: Vec<&String> = tag_ids.collect();
    if tag_ids.is_empty() {
        return Ok(());
    }
    let Some(known) = tags(domain).await? else {
        return Ok(());
    };
    Ok(shape::all_known(&tag_ids, &known)?)
}

/// All tags of the space; `None` where the caller may not see tags.
async fn tags(domain: &Domain) -> Result<Option<Tags>, Status> {
    let mut found = Tags::new();
    let mut page_token = String::new();
    loop {
        let page = registry::ListTagsRequest {
            page_size: MOST,
            page_token,
            ..Default::default()
        };
        let page = match domain.tags().list_tags(domain.request(page)).await {
            Ok(page) => page.into_inner(),
            Err(refusal) if refusal.code() == Code::PermissionDenied => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        found.extend(page.tags.into_iter().map(|tag| (tag.id.clone(), tag)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Some(found));
        }
    }
}
