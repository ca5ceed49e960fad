//! The built-in roles, and what each allows. `roles.txt` shows the whole as a
//! table.

use chassis::permissions::Permissions;
use proto::access::{ALL_PERMISSIONS, Permission};
use sea_orm::entity::prelude::*;

/// A built-in role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(StringLen::N(16))",
    rename_all = "snake_case"
)]
pub(crate) enum Role {
    /// May do everything.
    Owner,
    /// Runs the tenant, but does not change what it is.
    Admin,
    /// Works with devices.
    Operator,
    /// Looks on.
    Viewer,
}

impl Role {
    /// All of them, from the most powerful to the least.
    pub(crate) const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Operator, Self::Viewer];

    /// As in the contract.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// The role of a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What the role allows.
    pub(crate) fn permissions(self) -> Permissions {
        let all = ALL_PERMISSIONS.iter().copied();
        all.filter(|permission| self.allows(*permission)).collect()
    }

    fn allows(self, permission: Permission) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(
                permission,
                Permission::TenantWrite | Permission::TenantsCreate
            ),
            Self::Operator => {
                Self::Viewer.allows(permission)
                    || matches!(
                        permission,
                        Permission::DevicesWrite
                            | Permission::TagsWrite
                            | Permission::SitesWrite
                            | Permission::CommandsWrite
                            | Permission::CommandsSend
                            | Permission::CommandsReceive
                            | Permission::CredentialsRead
                            | Permission::CredentialsWrite
                    )
            }
            Self::Viewer => matches!(
                permission,
                Permission::TenantRead
                    | Permission::MembersRead
                    | Permission::DevicesRead
                    | Permission::TagsRead
                    | Permission::SitesRead
                    | Permission::CommandsRead
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::access::scope;

    use super::*;

    /// The checked-in table, for people to read and to review.
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/roles.txt");

    /// A line for each permission, a column for each role.
    fn table() -> String {
        let head = Role::ALL
            .map(|role| format!("{:<10}", role.name()))
            .concat();
        let mut lines = vec![format!("{:<22}{head}", "")];
        for permission in ALL_PERMISSIONS {
            let marks = Role::ALL
                .map(|role| role.permissions().holds(*permission))
                .map(|held| format!("{:<10}", if held { "x" } else { "-" }))
                .concat();
            lines.push(format!("{:<22}{marks}", scope(*permission)));
        }
        lines
            .iter()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect()
    }

    #[test]
    fn what_roles_allow_is_as_checked_in() {
        if std::env::var_os("MUSTER_UPDATE").is_some() {
            std::fs::write(FILE, table()).unwrap();
        }
        let checked_in = std::fs::read_to_string(FILE).unwrap_or_default();
        assert_eq!(
            table(),
            checked_in,
            "what a role allows has changed; if it shall, write roles.txt anew:\n\
             MUSTER_UPDATE=1 cargo test -p muster-tenancy roles"
        );
    }

    #[test]
    fn each_role_may_do_what_the_next_one_may() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[0].permissions().covers(pair[1].permissions()));
        }
    }

    #[test]
    fn a_role_is_stored_under_its_name() {
        for role in Role::ALL {
            assert_eq!(role.to_value(), role.name());
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        assert_eq!(Role::parse("Owner"), None);
    }
}
