//! Rules of the source that no compiler sees.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// No file of these folders is longer.
const LONGEST: usize = 400;

/// Files that are longer, and how long they may be. The list may only shrink.
const LONGER: [(&str, usize); 3] = [
    ("services/device-registry/tests/registry.rs", 552),
    ("gateway/src/dialects/device42/devices.rs", 432),
    ("gateway/transcoder/tests/grpc.rs", 410),
];

/// All files below a folder of the project whose names end so.
fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![Path::new(ROOT).join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {suffix} in {folder}");
    found
}

fn name(path: &Path) -> &str {
    path.strip_prefix(ROOT).unwrap().to_str().unwrap()
}

/// The first argument of every call of a method, as it is written.
fn first_arguments<'a>(source: &'a str, method: &str) -> Vec<&'a str> {
    let rests = source.split(method).skip(1);
    rests
        .map(|rest| rest.trim_start().split([',', ')']).next().unwrap().trim())
        .collect()
}

/// Why the services use these methods of the store, as their first argument says.
fn uses(methods: &[&str]) -> Vec<String> {
    let mut uses = Vec::new();
    for file in files("services", ".rs") {
        let source = fs::read_to_string(&file).unwrap();
        for method in methods {
            for why in first_arguments(&source, method) {
                let named = why.starts_with('"') && why.ends_with('"');
                assert!(named, "{}: {method} says why in a literal", name(&file));
                uses.push(format!("{}: {}", name(&file), why.trim_matches('"')));
            }
        }
    }
    uses.sort();
    uses
}

#[test]
fn the_uses_of_the_store_across_tenants_are_those_that_are_listed() {
    let listed = fs::read_to_string(format!("{ROOT}/tests/global_store_uses.txt")).unwrap();
    let listed: Vec<_> = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let uses = uses(&[".global(", ".change_global(", ".change_within("]);
    assert_eq!(uses, listed, "the list may only shrink");
}

#[test]
fn only_what_is_observed_of_devices_is_written_without_a_record() {
    let first_use =
        "services/device-registry/src/authentication.rs: note the first use of a credential";
    let sightings =
        "services/device-registry/src/sightings.rs: note when devices were last heard of";
    assert_eq!(uses(&[".observe("]), [first_use, sightings]);
}

#[test]
fn only_the_macro_says_which_column_holds_the_tenant() {
    let folders = ["services", "chassis", "gateway", "migrations", "src"];
    let sources = folders.iter().flat_map(|folder| files(folder, ".rs"));
    let mut found = Vec::new();
    for file in sources {
        let source = fs::read_to_string(&file).unwrap();
        for line in source
            .lines()
            .filter(|line| line.contains("TenantOwned for"))
        {
            found.push(format!("{}: {}", name(&file), line.trim()));
        }
    }
    let the_macro = "chassis/src/store.rs: impl $crate::store::TenantOwned for $module::Entity {";
    assert_eq!(found, [the_macro]);
}

#[test]
fn no_file_is_too_long_to_read() {
    let folders = ["src", "services", "chassis", "gateway", "guard"];
    let sources = folders.iter().flat_map(|folder| files(folder, ".rs"));
    let long: Vec<_> = sources
        .filter_map(|file| {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            let longer = LONGER.iter().find(|(longer, _)| *longer == name(&file));
            let longest = longer.map_or(LONGEST, |(_, lines)| *lines);
            (lines > longest).then(|| format!("{}: {lines} lines", name(&file)))
        })
        .collect();
    assert!(long.is_empty(), "more than {LONGEST}: {long:#?}");
    for (longer, _) in LONGER {
        let lines = fs::read_to_string(format!("{ROOT}/{longer}"))
            .unwrap()
            .lines()
            .count();
        assert!(lines > LONGEST, "take {longer} off the list");
    }
}

#[test]
fn no_service_names_another() {
    let folders: Vec<_> = fs::read_dir(format!("{ROOT}/services"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(folders.len() >= 4, "{folders:?}");
    for service in &folders {
        let manifest = fs::read_to_string(format!("{ROOT}/services/{service}/Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        // Those of its tests are not part of it: they run with what is real.
        let dependencies = dependencies.split("[dev-dependencies]").next().unwrap();
        for other in folders.iter().filter(|other| *other != service) {
            assert!(
                !dependencies.contains(other.as_str()),
                "{service} names {other}"
            );
        }
        assert!(
            !dependencies.contains("gateway"),
            "{service} names the gateway"
        );
    }
}

#[test]
fn no_vendor_is_named_outside_its_dialect() {
    let vendors = ["hardwario", "yombo", "iottly", "sensorbucket", "device42"];
    let folders = ["src", "services", "chassis", "migrations"];
    for file in folders.iter().flat_map(|folder| files(folder, ".rs")) {
        let source = fs::read_to_string(&file).unwrap().to_lowercase();
        for vendor in vendors {
            assert!(!source.contains(vendor), "{} names {vendor}", name(&file));
        }
    }
}
