//! The table of what each method requires, and the rules of the contract that
//! no linter knows: every method requires something, no request names a tenant.

use std::collections::BTreeSet;
use std::fmt::Write;

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, MethodDescriptor, Value};

/// Requests that may name a tenant: it is what they are about.
const MAY_NAME_A_TENANT: [&str; 1] = ["muster.identity.v1.SelectTenantRequest"];

/// Packages whose requests may name a tenant, for the same reason.
const TENANT_PACKAGES: [&str; 1] = ["muster.tenancy.v1"];

/// Rust source of `requirement(path)`, and of the names of permissions.
pub(crate) fn generate(pool: &DescriptorPool) -> String {
    let mut arms = String::new();
    let (mut callers, mut repeatable) = (String::new(), Vec::new());
    let (mut streams, mut streamed) = (Vec::new(), Vec::new());
    for method in methods(pool) {
        refuse_tenant(&method);
        let named = callers_of(pool, &method);
        if !named.is_empty() {
            writeln!(callers, "        {:?} => &{named:?},", path(&method)).unwrap();
        }
        if method.is_client_streaming() {
            streamed.push(format!("{:?}", path(&method)));
        }
        if method.is_server_streaming() {
            streams.push(format!("{:?}", path(&method)));
        } else if !method.is_client_streaming() && is_idempotent(pool, &method) {
            repeatable.push(format!("{:?}", path(&method)));
        }
        writeln!(
            arms,
            "        {:?} => {},",
            path(&method),
            requirement(pool, &method)
        )
        .unwrap();
    }
    format!(
        "/// What a method requires of its caller; `None` for a method that the contract does not have.\n\
         pub fn requirement(path: &str) -> Option<Requirement> {{\n    Some(match path {{\n{arms}        _ => return None,\n    }})\n}}\n\
         /// Which services may call a method that only services may call.\n\
         pub fn callers(path: &str) -> &'static [&'static str] {{\n    match path {{\n{callers}        _ => &[],\n    }}\n}}\n\
         /// Whether a call may be made again when nobody knows what became of the first.\n\
         pub fn idempotent(path: &str) -> bool {{\n    matches!(path, {})\n}}\n\
         /// Whether a method answers with a stream.\n\
         pub fn streams(path: &str) -> bool {{\n    matches!(path, {})\n}}\n\
         /// Whether a method is asked with a stream, which cannot be sent again.\n\
         pub fn streamed(path: &str) -> bool {{\n    matches!(path, {})\n}}\n\
         /// Every service of the contract, by its full name.\n\
         pub const SERVICES: &[&str] = &{:?};\n{}",
        repeatable.join(" | "),
        streams.join(" | "),
        streamed.join(" | "),
        services(pool),
        scopes(pool)
    )
}

/// The full names of our own services.
fn services(pool: &DescriptorPool) -> Vec<String> {
    let ours = |name: &String| name.starts_with("muster.");
    pool.services()
        .map(|s| s.full_name().to_owned())
        .filter(ours)
        .collect()
}

/// Whoever is named may call a method that only services may call.
fn callers_of(pool: &DescriptorPool, method: &MethodDescriptor) -> Vec<String> {
    let option = pool
        .get_extension_by_name("muster.access.v1.requires")
        .unwrap();
    let value = method.options().get_extension(&option).into_owned();
    let callers = value.as_message().unwrap().get_field_by_name("callers");
    let callers = callers.unwrap().into_owned();
    let names = callers.as_list().unwrap().iter();
    names.map(|n| n.as_str().unwrap().to_owned()).collect()
}

/// What says of itself that it has no side effects, and what HTTP's GET
/// stands for. Creating and revoking are not, whatever their HTTP method.
fn is_idempotent(pool: &DescriptorPool, method: &MethodDescriptor) -> bool {
    let options = method.options();
    let level = options.get_field_by_name("idempotency_level");
    // google.protobuf.MethodOptions.IdempotencyLevel.NO_SIDE_EFFECTS
    if level.and_then(|l| l.as_enum_number()) == Some(1) {
        return true;
    }
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let rule = options.get_extension(&http).into_owned();
    rule.as_message().unwrap().has_field_by_name("get")
}

/// Every method of our own packages.
fn methods(pool: &DescriptorPool) -> impl Iterator<Item = MethodDescriptor> {
    pool.services()
        .filter(|s| s.full_name().starts_with("muster."))
        .flat_map(|s| s.methods().collect::<Vec<_>>())
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn requirement(pool: &DescriptorPool, method: &MethodDescriptor) -> String {
    let option = pool
        .get_extension_by_name("muster.access.v1.requires")
        .unwrap();
    let options = method.options();
    let missing = || {
        panic!(
            "{} has no (muster.access.v1.requires) option",
            method.full_name()
        )
    };
    if !options.has_extension(&option) {
        missing();
    }
    let value = options.get_extension(&option);
    let rule = value.as_message().unwrap();
    let permission = enum_name(
        rule.get_field_by_name("permission").as_deref(),
        pool,
        "Permission",
    );
    let access = enum_name(rule.get_field_by_name("access").as_deref(), pool, "Access");
    match (permission, access.as_deref()) {
        (Some(name), None) => format!(
            "Requirement::Permission(Permission::{})",
            camel(&name, "PERMISSION_")
        ),
        (None, Some("ACCESS_PUBLIC")) => "Requirement::Public".into(),
        (None, Some("ACCESS_AUTHENTICATED")) => "Requirement::Authenticated".into(),
        (None, Some("ACCESS_SERVICE")) => "Requirement::Service".into(),
        _ => missing(),
    }
}

fn enum_name(value: Option<&Value>, pool: &DescriptorPool, kind: &str) -> Option<String> {
    let number = value?.as_enum_number().filter(|n| *n != 0)?;
    let values = pool
        .get_enum_by_name(&format!("muster.access.v1.{kind}"))
        .unwrap();
    Some(values.get_value(number).unwrap().name().to_owned())
}

/// prost's name of an enum value.
fn camel(name: &str, prefix: &str) -> String {
    let words = name.strip_prefix(prefix).unwrap().split('_');
    words
        .map(|w| w[..1].to_owned() + &w[1..].to_lowercase())
        .collect()
}

/// Rust source of a permission's name in a token's scope, and back.
fn scopes(pool: &DescriptorPool) -> String {
    let (mut to, mut from, mut all) = (String::new(), String::new(), String::new());
    for value in pool
        .get_enum_by_name("muster.access.v1.Permission")
        .unwrap()
        .values()
    {
        if value.number() == 0 {
            continue;
        }
        let variant = camel(value.name(), "PERMISSION_");
        let words = value
            .name()
            .trim_start_matches("PERMISSION_")
            .to_lowercase();
        let (object, verb) = words
            .rsplit_once('_')
            .expect("a permission is an object and a verb");
        writeln!(to, "        Permission::{variant} => \"{object}.{verb}\",").unwrap();
        writeln!(
            from,
            "        \"{object}.{verb}\" => Permission::{variant},"
        )
        .unwrap();
        write!(all, "Permission::{variant}, ").unwrap();
    }
    format!(
        "/// A permission's name in a token's scope, such as `devices.read`.\n\
         pub fn scope(permission: Permission) -> &'static str {{\n    match permission {{\n        Permission::Unspecified => \"\",\n{to}    }}\n}}\n\
         /// The permission of that name; `None` if there is none.\n\
         pub fn permission(scope: &str) -> Option<Permission> {{\n    Some(match scope {{\n{from}        _ => return None,\n    }})\n}}\n\
         /// Every permission.\n\
         pub const ALL_PERMISSIONS: &[Permission] = &[{all}];\n"
    )
}

/// Panics if the request of a domain package's method names a tenant.
fn refuse_tenant(method: &MethodDescriptor) {
    let package = method.parent_service().package_name().to_owned();
    if package.starts_with("muster.dialect.") || TENANT_PACKAGES.contains(&package.as_str()) {
        return;
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![method.input()];
    while let Some(message) = open.pop() {
        if MAY_NAME_A_TENANT.contains(&message.full_name())
            || !seen.insert(message.full_name().to_owned())
        {
            continue;
        }
        open.extend(fields_refused(method, &message));
    }
}

fn fields_refused(
    method: &MethodDescriptor,
    message: &MessageDescriptor,
) -> Vec<MessageDescriptor> {
    let mut nested = Vec::new();
    for field in message.fields() {
        assert!(
            !field.name().contains("tenant"),
            "{}: {} names a tenant; it comes from the caller's token",
            method.full_name(),
            field.full_name()
        );
        if let Kind::Message(inner) = field.kind() {
            nested.push(inner);
        }
    }
    nested
}
