//! Sets of permissions.

use proto::access::{ALL_PERMISSIONS, Permission, permission, scope};

/// A set of permissions: one bit each, so that a check costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u128);

impl Permissions {
    /// Every permission there is.
    pub fn all() -> Self {
        ALL_PERMISSIONS.iter().copied().collect()
    }

    /// Reads a token's `scope`: names separated by spaces (RFC 8693). A name
    /// that this version does not know allows nothing.
    pub fn from_scope(names: &str) -> Self {
        names.split(' ').filter_map(permission).collect()
    }

    /// Reads names; the first unknown one is the error.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names
            .into_iter()
            .map(|name| permission(name).ok_or(name))
            .collect()
    }

    /// Whether the permission is in the set.
    pub fn holds(self, permission: Permission) -> bool {
        self.0 & bit(permission) != 0
    }

    /// Whether every permission of `other` is in the set.
    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The permissions in both sets.
    pub fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The permissions of this set that are not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Names, in the contract's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ALL_PERMISSIONS
            .iter()
            .filter(move |p| self.holds(**p))
            .map(|p| scope(*p))
    }

    /// As a token's `scope`.
    pub fn to_scope(self) -> String {
        self.names().collect::<Vec<_>>().join(" ")
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, p| bits | bit(p)))
    }
}

fn bit(permission: Permission) -> u128 {
    1u128.checked_shl(permission as u32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_as_it_was_written() {
        let all = Permissions::all();
        assert_eq!(Permissions::from_scope(&all.to_scope()), all);
        assert_eq!(all.names().count(), ALL_PERMISSIONS.len());
    }

    #[test]
    fn an_unknown_name_allows_nothing_in_a_token_and_is_refused_in_a_request() {
        assert_eq!(
            Permissions::from_scope("devices.fly"),
            Permissions::default()
        );
        assert_eq!(
            Permissions::from_names(["devices.read", "devices.fly"]),
            Err("devices.fly")
        );
    }

    #[test]
    fn a_set_covers_its_parts_only() {
        let some = Permissions::from_scope("devices.read tags.read");
        let one = Permissions::from_scope("devices.read");
        assert!(some.covers(one) && !one.covers(some));
        assert_eq!(some.without(one).to_scope(), "tags.read");
    }
}
