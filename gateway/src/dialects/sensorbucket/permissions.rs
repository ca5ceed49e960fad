//! SensorBucket's permissions and what they come to in Muster.

use chassis::permissions::Permissions;

/// Each permission of SensorBucket and its counterpart, as a token's `scope`.
/// What Muster has no counterpart of allows nothing here.
const ALL: [(&str, &str); 15] = [
    (
        "READ_DEVICES",
        "devices.read tags.read sites.read commands.read",
    ),
    (
        "WRITE_DEVICES",
        "devices.write tags.write sites.write commands.write",
    ),
    ("READ_API_KEYS", "keys.read"),
    ("WRITE_API_KEYS", "keys.write"),
    ("READ_TENANTS", "tenant.read members.read"),
    ("WRITE_TENANTS", "members.write"),
    ("READ_PIPELINES", ""),
    ("WRITE_PIPELINES", ""),
    ("READ_MEASUREMENTS", ""),
    ("WRITE_MEASUREMENTS", ""),
    ("READ_USER_WORKERS", ""),
    ("WRITE_USER_WORKERS", ""),
    ("READ_PROJECTS", ""),
    ("WRITE_PROJECTS", ""),
    ("READ_TRACING", ""),
];

/// What permissions of SensorBucket allow in Muster; the first unknown one is
/// the error.
pub(super) fn allowed(names: &[String]) -> Result<Permissions, &str> {
    let mut scope = String::new();
    for name in names {
        let found = ALL.iter().find(|(theirs, _)| theirs == name);
        let (_, ours) = found.ok_or(name.as_str())?;
        scope = format!("{scope} {ours}");
    }
    Ok(Permissions::from_scope(&scope))
}

/// The permissions of SensorBucket that a key comes to which was made elsewhere.
pub(super) fn equivalent(names: &[String]) -> Vec<String> {
    let held = Permissions::from_scope(&names.join(" "));
    ALL.iter()
        .filter(|(_, ours)| !ours.is_empty() && held.covers(Permissions::from_scope(ours)))
        .map(|(theirs, _)| (*theirs).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn every_counterpart_is_a_permission_of_muster() {
        for (theirs, ours) in ALL {
            let known = Permissions::from_names(ours.split_terminator(' '));
            assert!(known.is_ok(), "{theirs}: {known:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_shown_again() {
        let asked = names(&["READ_DEVICES", "WRITE_API_KEYS"]);
        let allowed: Vec<String> = allowed(&asked)
            .unwrap()
            .names()
            .map(str::to_owned)
            .collect();
        assert!(allowed.contains(&"tags.read".to_owned()));
        assert_eq!(equivalent(&allowed), asked);
    }

    #[test]
    fn a_part_of_a_permission_is_not_shown_as_the_whole() {
        assert_eq!(equivalent(&names(&["devices.read"])), names(&[]));
    }

    #[test]
    fn an_unknown_permission_is_refused_and_one_without_counterpart_allows_nothing() {
        assert_eq!(allowed(&names(&["READ_MINDS"])), Err("READ_MINDS"));
        let nothing = names(&["READ_PIPELINES"]);
        assert_eq!(allowed(&nothing), Ok(Permissions::default()));
    }
}
