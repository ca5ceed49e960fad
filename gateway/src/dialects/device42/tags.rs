//! Tags by their names.

use chassis::Result;
use proto::muster::dialect::device42::v1 as dialect;
use proto::registry::{CreateTagRequest, ListTagsRequest, Tag};

use super::values::Page;
use crate::domain::Domain;

/// One page of tags, and how many there are in all.
pub(super) async fn list(
    domain: &Domain,
    name: String,
    page: Page,
) -> Result<(Vec<dialect::Tag>, i64)> {
    let list = ListTagsRequest {
        page_size: page.limit,
        skip: page.offset,
        count_total: true,
        display_name: name,
        ..Default::default()
    };
    let found = domain
        .tags()
        .list_tags(domain.request(list))
        .await?
        .into_inner();
    let shown = |tag: Tag| dialect::Tag {
        name: tag.display_name,
    };
    Ok((
        found.tags.into_iter().map(shown).collect(),
        found.total_size,
    ))
}

/// All tags of the tenant.
pub(super) async fn all(domain: &Domain) -> Result<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = ListTagsRequest {
            page_size: 1000,
            page_token,
            ..Default::default()
        };
        let page = domain
            .tags()
            .list_tags(domain.request(list))
            .await?
            .into_inner();
        tags.extend(page.tags);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(tags);
        }
    }
}

/// The tags on a device after some names were put on and others taken off;
/// names without a tag get one.
pub(super) async fn change(
    domain: &Domain,
    mut ids: Vec<String>,
    add: &[&str],
    remove: &[&str],
) -> Result<Vec<String>> {
    if add.is_empty() && remove.is_empty() {
        return Ok(ids);
    }
    let tags = all(domain).await?;
    let named = |names: &[&str], tag: &Tag| names.contains(&tag.display_name.as_str());
    for tag in &tags {
        if named(add, tag) && !ids.contains(&tag.id) {
            ids.push(tag.id.clone());
        }
        if named(remove, tag) {
            ids.retain(|id| *id != tag.id);
        }
    }
    for name in add {
        if !remove.contains(name) && !tags.iter().any(|tag| tag.display_name == *name) {
            ids.push(create(domain, name).await?);
        }
    }
    Ok(ids)
}

async fn create(domain: &Domain, name: &str) -> Result<String> {
    let create = CreateTagRequest {
        tag: Some(Tag {
            display_name: name.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let tag = domain.tags().create_tag(domain.request(create)).await?;
    Ok(tag.into_inner().id)
}
