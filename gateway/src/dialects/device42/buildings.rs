//! Buildings, which are Muster's sites.

use chassis::{Error, Result};
use prost_types::FieldMask;
use proto::muster::dialect::device42::v1 as dialect;
use proto::registry::{CreateSiteRequest, ListSitesRequest, Site, UpdateSiteRequest};

use super::attributes::{self, custom_fields, keep_text, keep_texts, text, texts};
use super::values::{Page, Written, changed, names};
use crate::domain::Domain;

pub(super) fn shown(site: Site) -> dialect::Building {
    dialect::Building {
        building_id: site.number,
        name: site.display_name,
        address: site.address,
        contact_name: site.contact_name,
        contact_phone: site.contact_phone,
        notes: site.notes,
        groups: text(&site.attributes, "groups"),
        custom_fields: custom_fields(&site.attributes),
        tags: texts(&site.attributes, "tags"),
    }
}

/// One page of sites, and how many there are in all.
pub(super) async fn list(domain: &Domain, name: String, page: Page) -> Result<(Vec<Site>, i64)> {
    let list = ListSitesRequest {
        page_size: page.limit,
        skip: page.offset,
        count_total: true,
        display_name: name,
        ..Default::default()
    };
    let found = domain.sites().list_sites(domain.request(list)).await?;
    let found = found.into_inner();
    Ok((found.sites, found.total_size))
}

/// All sites of the tenant.
pub(super) async fn all(domain: &Domain) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = ListSitesRequest {
            page_size: 1000,
            page_token,
            ..Default::default()
        };
        let page = domain.sites().list_sites(domain.request(list)).await?;
        let page = page.into_inner();
        sites.extend(page.sites);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(sites);
        }
    }
}

/// The site with a number.
pub(super) async fn by_number(domain: &Domain, number: i64) -> Result<Site> {
    let missing = || Error::not_found("building", number);
    // As a filter, 0 would mean any.
    if number <= 0 {
        return Err(missing());
    }
    let list = ListSitesRequest {
        page_size: 1,
        number,
        ..Default::default()
    };
    first(domain, list).await?.ok_or_else(missing)
}

/// The site with a name, if there is one.
pub(super) async fn by_name(domain: &Domain, name: &str) -> Result<Option<Site>> {
    let list = ListSitesRequest {
        page_size: 1,
        display_name: name.to_owned(),
        ..Default::default()
    };
    first(domain, list).await
}

/// The id of the site with a name; none for no name.
pub(super) async fn id_of(domain: &Domain, name: &str) -> Result<String> {
    if name.is_empty() {
        return Ok(String::new());
    }
    match by_name(domain, name).await? {
        Some(site) => Ok(site.id),
        None => Err(Error::invalid("building", "there is none with this name")),
    }
}

async fn first(domain: &Domain, list: ListSitesRequest) -> Result<Option<Site>> {
    let found = domain.sites().list_sites(domain.request(list)).await?;
    Ok(found.into_inner().sites.into_iter().next())
}

/// Adds a site, or changes the one with that name.
pub(super) async fn put(
    domain: &Domain,
    wanted: dialect::PutBuildingRequest,
) -> Result<(Site, Written)> {
    if wanted.name.is_empty() {
        return Err(Error::invalid("name", "is required"));
    }
    let before = by_name(domain, &wanted.name).await?;
    let site = after(before.clone().unwrap_or_default(), wanted);
    let Some(before) = before else {
        let create = CreateSiteRequest {
            site: Some(site),
            ..Default::default()
        };
        let site = domain.sites().create_site(domain.request(create)).await?;
        return Ok((site.into_inner(), Written::New));
    };
    update(domain, before, site).await
}

/// Sets a custom field of the building that the request names.
pub(super) async fn put_field(
    domain: &Domain,
    wanted: &dialect::PutBuildingFieldRequest,
) -> Result<(Site, Written)> {
    let before = match wanted.id {
        0 if wanted.name.is_empty() => return Err(Error::invalid("name", "is required")),
        0 => by_name(domain, &wanted.name)
            .await?
            .ok_or_else(|| Error::not_found("building", &wanted.name))?,
        number => by_number(domain, number).await?,
    };
    let mut site = before.clone();
    attributes::put(&mut site.attributes, wanted)?;
    update(domain, before, site).await
}

async fn update(domain: &Domain, before: Site, site: Site) -> Result<(Site, Written)> {
    let paths = differences(&before, &site);
    if paths.is_empty() {
        return Ok((before, Written::Unchanged));
    }
    let update = UpdateSiteRequest {
        site: Some(site),
        update_mask: Some(FieldMask { paths }),
    };
    let site = domain.sites().update_site(domain.request(update)).await?;
    Ok((site.into_inner(), Written::Updated))
}

/// The site as it shall be: what is not given stays.
fn after(mut before: Site, wanted: dialect::PutBuildingRequest) -> Site {
    if let Some(groups) = &wanted.groups {
        keep_text(&mut before.attributes, "groups", groups);
    }
    let mut tags = texts(&before.attributes, "tags");
    for name in names(&wanted.tags) {
        if !tags.iter().any(|tag| tag == name) {
            tags.push(name.to_owned());
        }
    }
    let gone = names(&wanted.tags_remove);
    tags.retain(|tag| !gone.contains(&tag.as_str()));
    keep_texts(&mut before.attributes, "tags", &tags);
    Site {
        display_name: wanted.new_name.unwrap_or(wanted.name),
        address: wanted.address.unwrap_or(before.address),
        contact_name: wanted.contact_name.unwrap_or(before.contact_name),
        contact_phone: wanted.contact_phone.unwrap_or(before.contact_phone),
        notes: wanted.notes.unwrap_or(before.notes),
        ..before
    }
}

fn differences(before: &Site, after: &Site) -> Vec<String> {
    changed(&[
        ("display_name", before.display_name != after.display_name),
        ("address", before.address != after.address),
        ("contact_name", before.contact_name != after.contact_name),
        ("contact_phone", before.contact_phone != after.contact_phone),
        ("notes", before.notes != after.notes),
        ("attributes", before.attributes != after.attributes),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let before = Site {
            display_name: "Head-office".into(),
            address: "NY".into(),
            notes: "old".into(),
            ..Default::default()
        };
        let wanted = dialect::PutBuildingRequest {
            name: "Head-office".into(),
            notes: Some(String::new()),
            ..Default::default()
        };
        let site = after(before.clone(), wanted);
        assert_eq!(site.address, "NY");
        assert_eq!(differences(&before, &site), ["notes"]);
    }

    #[test]
    fn tags_are_put_on_and_taken_off() {
        let tagged = |before: Site, tags: &str, tags_remove: &str| {
            let wanted = dialect::PutBuildingRequest {
                tags: tags.into(),
                tags_remove: tags_remove.into(),
                ..Default::default()
            };
            after(before, wanted)
        };
        let site = tagged(Site::default(), "leased, city", "");
        let site = tagged(site, "city,old", "leased");
        assert_eq!(shown(site.clone()).tags, ["city", "old"]);
        let same = tagged(site.clone(), "old", "none");
        assert_eq!(differences(&site, &same), [""; 0]);
    }
}
