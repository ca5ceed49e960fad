//! Sites that lie in each other, tags that become one.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use harness::Registry;
use proto::registry::claim_key_service_client::ClaimKeyServiceClient;
use proto::registry::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

on_both_databases!(
    sites_lie_in_each_other_and_are_listed_by_where_they_lie,
    a_site_moves_with_all_that_lies_in_it,
    sites_make_no_circle_and_no_tower,
    moves_that_would_make_a_circle_together_do_not,
    a_site_in_which_something_is_stays,
    a_site_that_only_deleted_devices_are_at_can_go,
    a_site_and_a_tag_tell_how_many_devices_they_have_if_asked,
    tags_become_one_all_at_once,
    tags_of_another_tenant_are_not_merged,
    claim_keys_name_the_tag_that_others_became,
);

fn reason(status: &Status) -> String {
    status
        .get_error_details()
        .error_info()
        .unwrap()
        .reason
        .clone()
}

async fn site_in(registry: &Registry, name: &str, parent: &str) -> Result<Site, Status> {
    let request = registry.request(CreateSiteRequest {
        site: Some(Site {
            display_name: name.to_owned(),
            parent_id: parent.to_owned(),
            location: Some(Location {
                latitude: Some(52.5),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    });
    Ok(registry.sites().create_site(request).await?.into_inner())
}

async fn site(registry: &Registry, id: &str) -> Site {
    let request = registry.request(GetSiteRequest {
        id: id.to_owned(),
        count_devices: true,
    });
    registry
        .sites()
        .get_site(request)
        .await
        .unwrap()
        .into_inner()
}

async fn move_to(registry: &Registry, id: &str, parent: &str) -> Result<Site, Status> {
    let request = registry.request(UpdateSiteRequest {
        site: Some(Site {
            id: id.to_owned(),
            parent_id: parent.to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["parent_id".to_owned()],
        }),
    });
    Ok(registry.sites().update_site(request).await?.into_inner())
}

async fn delete_site(registry: &Registry, id: &str) -> Result<(), Status> {
    let request = registry.request(DeleteSiteRequest { id: id.to_owned() });
    registry.sites().delete_site(request).await.map(drop)
}

async fn listed(registry: &Registry, request: ListSitesRequest) -> Vec<String> {
    let request = registry.request(request);
    let found = registry.sites().list_sites(request).await.unwrap();
    let sites = found.into_inner().sites.into_iter();
    sites.map(|site| site.display_name).collect()
}

/// A town with a building, which has two rooms.
async fn town(registry: &Registry) -> [String; 4] {
    let town = site_in(registry, "town", "").await.unwrap().id;
    let building = site_in(registry, "building", &town).await.unwrap().id;
    let attic = site_in(registry, "attic", &building).await.unwrap().id;
    let cellar = site_in(registry, "cellar", &building).await.unwrap().id;
    [town, building, attic, cellar]
}

async fn sites_lie_in_each_other_and_are_listed_by_where_they_lie(registry: Registry) {
    let [town, building, attic, _] = town(&registry).await;
    let shown = site(&registry, &attic).await;
    assert_eq!(shown.parent_id, building);
    assert_eq!(shown.ancestor_ids, [town.clone(), building.clone()]);
    assert_eq!(shown.location.unwrap().latitude, Some(52.5));
    let request = |parent: &str, ancestor: &str, outermost| ListSitesRequest {
        parent_id: parent.to_owned(),
        ancestor_id: ancestor.to_owned(),
        outermost,
        ..Default::default()
    };
    for (wanted, found) in [
        (request("", "", true), vec!["town"]),
        (request(&town, "", false), vec!["building"]),
        (
            request("", &town, false),
            vec!["building", "attic", "cellar"],
        ),
        (request(&building, "", false), vec!["attic", "cellar"]),
        (request(&attic, "", false), vec![]),
    ] {
        assert_eq!(listed(&registry, wanted.clone()).await, found, "{wanted:?}");
    }
    let refused = site_in(&registry, "nowhere", &fresh()).await.unwrap_err();
    let details = refused.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "site.parent_id");
    let registry = registry.for_another_tenant();
    let refused = site_in(&registry, "foreign", &town).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        listed(&registry, request("", &town, false))
            .await
            .is_empty()
    );
}

fn fresh() -> String {
    uuid::Uuid::from_u128(77).to_string()
}

async fn a_site_moves_with_all_that_lies_in_it(registry: Registry) {
    let [town, building, attic, _] = town(&registry).await;
    let city = site_in(&registry, "city", "").await.unwrap().id;
    let moved = move_to(&registry, &building, &city).await.unwrap();
    assert_eq!((&moved.parent_id, moved.etag.as_str()), (&city, "2"));
    assert_eq!(
        site(&registry, &attic).await.ancestor_ids,
        [city.clone(), building.clone()]
    );
    let inside = |ancestor: &str| ListSitesRequest {
        ancestor_id: ancestor.to_owned(),
        ..Default::default()
    };
    assert!(listed(&registry, inside(&town)).await.is_empty());
    assert_eq!(
        listed(&registry, inside(&city)).await,
        ["building", "attic", "cellar"]
    );
    let out = move_to(&registry, &building, "").await.unwrap();
    assert!(out.ancestor_ids.is_empty());
    assert_eq!(site(&registry, &attic).await.ancestor_ids, [building]);
}

async fn sites_make_no_circle_and_no_tower(registry: Registry) {
    let [town, building, attic, _] = town(&registry).await;
    for (what, to) in [(&town, &town), (&town, &attic), (&building, &attic)] {
        let refused = move_to(&registry, what, to).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "SITE_CYCLE");
    }
    // Three lie in each other already.
    let mut innermost = attic;
    for level in 4..=10 {
        let name = format!("level {level}");
        innermost = site_in(&registry, &name, &innermost).await.unwrap().id;
    }
    let refused = site_in(&registry, "one more", &innermost)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "SITE_DEPTH");
    let country = site_in(&registry, "country", "").await.unwrap().id;
    let refused = move_to(&registry, &town, &country).await.unwrap_err();
    assert_eq!(reason(&refused), "SITE_DEPTH");
    assert_eq!(site(&registry, &innermost).await.ancestor_ids.len(), 9);
}

async fn moves_that_would_make_a_circle_together_do_not(registry: Registry) {
    for round in 0..5 {
        let name = |what: &str| format!("{what} {round}");
        let a = site_in(&registry, &name("a"), "").await.unwrap().id;
        let in_a = site_in(&registry, &name("in a"), &a).await.unwrap().id;
        let b = site_in(&registry, &name("b"), "").await.unwrap().id;
        let in_b = site_in(&registry, &name("in b"), &b).await.unwrap().id;
        let (one, other) =
            tokio::join!(move_to(&registry, &a, &in_b), move_to(&registry, &b, &in_a));
        let refused = match (one, other) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            both => panic!("{both:?}"),
        };
        assert_eq!(reason(&refused), "SITE_CYCLE");
    }
}

async fn a_site_in_which_something_is_stays(registry: Registry) {
    let [town, building, attic, _] = town(&registry).await;
    let device = Device {
        display_name: "pump".to_owned(),
        site_id: attic.clone(),
        ..Default::default()
    };
    registry.create(device).await.unwrap();
    for full in [&town, &building, &attic] {
        let refused = delete_site(&registry, full).await.unwrap_err();
        assert_eq!(reason(&refused), "IN_USE");
    }
}

async fn a_site_that_only_deleted_devices_are_at_can_go(registry: Registry) {
    let [_, _, attic, _] = town(&registry).await;
    let device = Device {
        display_name: "pump".to_owned(),
        site_id: attic.clone(),
        ..Default::default()
    };
    let id = registry.create(device).await.unwrap().id;
    let request = registry.request(DeleteDeviceRequest {
        id: id.clone(),
        ..Default::default()
    });
    registry.devices().delete_device(request).await.unwrap();
    delete_site(&registry, &attic).await.unwrap();
    let request = registry.request(UndeleteDeviceRequest {
        id,
        ..Default::default()
    });
    let back = registry.devices().undelete_device(request).await.unwrap();
    assert_eq!(back.get_ref().site_id, "");
}

async fn tag(registry: &Registry, id: &str) -> Result<Tag, Status> {
    let request = registry.request(GetTagRequest {
        id: id.to_owned(),
        count_devices: true,
    });
    Ok(registry.tags().get_tag(request).await?.into_inner())
}

async fn device_with(registry: &Registry, tags: &[&String], site: &str) -> Device {
    let device = Device {
        display_name: "pump".to_owned(),
        tag_ids: tags.iter().map(|tag| (*tag).clone()).collect(),
        site_id: site.to_owned(),
        ..Default::default()
    };
    registry.create(device).await.unwrap()
}

async fn a_site_and_a_tag_tell_how_many_devices_they_have_if_asked(registry: Registry) {
    let [_, building, attic, _] = town(&registry).await;
    let red = registry.tag("red").await.unwrap();
    let blue = registry.tag("blue").await.unwrap();
    device_with(&registry, &[&red], &attic).await;
    device_with(&registry, &[&red, &blue], "").await;
    let gone = device_with(&registry, &[&red], &attic).await;
    let request = registry.request(DeleteDeviceRequest {
        id: gone.id,
        ..Default::default()
    });
    registry.devices().delete_device(request).await.unwrap();
    assert_eq!(site(&registry, &attic).await.device_count, Some(1));
    assert_eq!(site(&registry, &building).await.device_count, Some(0));
    assert_eq!(tag(&registry, &red).await.unwrap().device_count, Some(2));
    for (count_devices, wanted) in [(true, [Some(2), Some(1)]), (false, [None, None])] {
        let request = registry.request(ListTagsRequest {
            count_devices,
            ..Default::default()
        });
        let tags = registry.tags().list_tags(request).await.unwrap();
        let tags = tags.into_inner().tags.into_iter();
        let counts: Vec<_> = tags.map(|tag| tag.device_count).collect();
        assert_eq!(counts, wanted);
    }
}

async fn merge(registry: &Registry, id: &str, others: &[&String]) -> Result<Tag, Status> {
    let request = registry.request(MergeTagsRequest {
        id: id.to_owned(),
        tag_ids: others.iter().map(|id| (*id).clone()).collect(),
        ..Default::default()
    });
    Ok(registry.tags().merge_tags(request).await?.into_inner())
}

async fn tags_become_one_all_at_once(registry: Registry) {
    let red = registry.tag("red").await.unwrap();
    let rouge = registry.tag("rouge").await.unwrap();
    let rot = registry.tag("rot").await.unwrap();
    let both = device_with(&registry, &[&red, &rouge, &rot], "").await;
    let one = device_with(&registry, &[&rouge], "").await;
    let other = device_with(&registry, &[&rot], "").await;
    let none = device_with(&registry, &[], "").await;

    let refused = merge(&registry, &red, &[&rouge, &fresh()])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(
        registry.get(&one.id).await.unwrap().tag_ids,
        std::slice::from_ref(&rouge)
    );
    let refused = merge(&registry, &red, &[&rouge, &red]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let merged = merge(&registry, &red, &[&rouge, &rot]).await.unwrap();
    assert_eq!(merged.etag, "2");
    for device in [&both, &one, &other] {
        assert_eq!(
            registry.get(&device.id).await.unwrap().tag_ids,
            std::slice::from_ref(&red)
        );
    }
    assert!(registry.get(&none.id).await.unwrap().tag_ids.is_empty());
    assert_eq!(tag(&registry, &red).await.unwrap().device_count, Some(3));
    for gone in [&rouge, &rot] {
        assert_eq!(
            tag(&registry, gone).await.unwrap_err().code(),
            Code::NotFound
        );
    }
}

async fn tags_of_another_tenant_are_not_merged(registry: Registry) {
    let red = registry.tag("red").await.unwrap();
    let rouge = registry.tag("rouge").await.unwrap();
    let registry = registry.for_another_tenant();
    let own = registry.tag("red").await.unwrap();
    for (id, other) in [(&red, &rouge), (&own, &rouge), (&red, &own)] {
        let refused = merge(&registry, id, &[other]).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}

async fn claim_keys_name_the_tag_that_others_became(registry: Registry) {
    let red = registry.tag("red").await.unwrap();
    let rouge = registry.tag("rouge").await.unwrap();
    let blue = registry.tag("blue").await.unwrap();
    let mut client = ClaimKeyServiceClient::new(registry.peer());
    let mut made = Vec::new();
    for tags in [&[&rouge, &blue, &red][..], &[&blue]] {
        let request = registry.request(CreateClaimKeyRequest {
            claim_key: Some(ClaimKey {
                display_name: "batch".to_owned(),
                template: Some(DeviceTemplate {
                    tag_ids: tags.iter().map(|tag| (*tag).clone()).collect(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        });
        made.push(client.create_claim_key(request).await.unwrap().into_inner());
    }
    merge(&registry, &red, &[&rouge]).await.unwrap();
    let claim = tonic::Request::new(ClaimDeviceRequest {
        claim_key: made[0].secret.clone(),
        serial_number: "s-1".to_owned(),
        ..Default::default()
    });
    let claimed = client.claim_device(claim).await.unwrap().into_inner();
    let device = registry.get(&claimed.device_id).await.unwrap();
    assert_eq!(device.tag_ids, [red.clone(), blue.clone()]);
    let request = registry.request(ListClaimKeysRequest::default());
    let listed = client.list_claim_keys(request).await.unwrap().into_inner();
    let etags: Vec<_> = listed.claim_keys.iter().map(|key| &*key.etag).collect();
    assert_eq!(etags, ["2", "1"], "another one's template stays");
}
