//! Generated from the descriptors: what must hold for every method there is.

use super::native;
use crate::support::{MARK, World, grpc, unique};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MethodDescriptor, ReflectMessage, Value};
use proto::access::{ALL_PERMISSIONS, Requirement, requirement, scope};
use proto::registry::RecordSightingsResponse;
use serde_json::json;
use tonic::Code;

fn required(method: &MethodDescriptor) -> Requirement {
    requirement(&grpc::path(method)).expect("every method requires something")
}

fn empty(method: &MethodDescriptor) -> DynamicMessage {
    DynamicMessage::new(method.input())
}

#[tokio::test]
async fn every_method_but_the_public_ones_is_refused_without_a_token() {
    let world = need!(World::new().await);
    let channel = grpc::connect(&world.server.url).await;
    let methods = grpc::methods();
    assert!(
        methods.len() > 60,
        "the contract has shrunk to {}",
        methods.len()
    );
    for method in methods {
        let answer = grpc::call(&channel, &method, None, &empty(&method)).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        match required(&method) {
            Requirement::Public => {
                assert_ne!(code, Code::PermissionDenied, "{}", method.full_name())
            }
            // What only services may call, nobody else gets to know.
            Requirement::Service => assert_eq!(code, Code::Unimplemented, "{}", method.full_name()),
            _ => assert_eq!(code, Code::Unauthenticated, "{}", method.full_name()),
        }
    }
}

#[tokio::test]
async fn every_method_that_requires_a_permission_is_refused_without_it() {
    let world = need!(World::new().await);
    let channel = grpc::connect(&world.server.url).await;
    let methods = grpc::methods();
    let mut checked = 0;
    for lacking in ALL_PERMISSIONS {
        let others: Vec<_> = ALL_PERMISSIONS
            .iter()
            .filter(|p| *p != lacking)
            .map(|p| scope(*p))
            .collect();
        let caller = world.alice.key_holder(&others).await;
        for method in methods
            .iter()
            .filter(|m| required(m) == Requirement::Permission(*lacking))
        {
            let answer = grpc::call(
                &channel,
                method,
                caller.authorization.as_deref(),
                &empty(method),
            )
            .await;
            let refusal = answer.expect_err(method.full_name());
            assert_eq!(
                refusal.code(),
                Code::PermissionDenied,
                "{}",
                method.full_name()
            );
            assert!(
                refusal.message().contains(scope(*lacking)),
                "{}",
                refusal.message()
            );
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} methods require a permission");
}

#[tokio::test]
async fn every_method_for_services_is_refused_to_a_tenants_owner() {
    let world = need!(World::new().await);
    let channel = grpc::connect(&world.server.url).await;
    for method in grpc::methods()
        .iter()
        .filter(|m| required(m) == Requirement::Service)
    {
        let answer = grpc::call(
            &channel,
            method,
            world.alice.authorization.as_deref(),
            &empty(method),
        )
        .await;
        assert_eq!(
            answer.expect_err(method.full_name()).code(),
            Code::Unimplemented,
            "{}",
            method.full_name()
        );
    }
}

/// One of everything, in tenant A.
pub(crate) struct Belongings {
    device: String,
    sensor: String,
    tag: String,
    site: String,
    command: String,
    device_command: String,
    user: String,
    api_key: String,
    api_client: String,
    tenant: String,
    token: i64,
    webhook: String,
    credential: String,
    authority: String,
    claim_key: String,
    customer: String,
}

impl Belongings {
    pub(crate) async fn of(world: &World) -> Self {
        let alice = &world.alice;
        let id = async |path: &str, body: serde_json::Value| {
            let made = alice.post(path, body).await.expect(201);
            let made = made
                .get("apiKey")
                .or(made.get("apiClient"))
                .or(made.get("credential"))
                .or(made.get("claimKey"))
                .unwrap_or(&made)
                .clone();
            made["id"].as_str().unwrap().to_owned()
        };
        let tag = id("/v1/tags", json!({"displayName": MARK})).await;
        let site = id("/v1/sites", json!({"displayName": MARK})).await;
        let device = id(
            "/v1/devices",
            json!({"displayName": MARK, "tagIds": [tag], "siteId": site}),
        )
        .await;
        let client = alice
            .post("/v1/apiClients", json!({"displayName": MARK}))
            .await
            .expect(201);
        let caller = alice.with(basic(&client));
        let token = caller.post("/v1/tokens", json!({})).await.expect(201)["number"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let told = format!("/v1/devices/{device}/commands");
        let credentials = format!("/v1/devices/{device}/credentials");
        let authority = json!({"displayName": MARK, "certificate": native::AUTHORITY});
        Self {
            device_command: id(&told, json!({"name": MARK})).await,
            webhook: alice
                .post(
                    "/v1/webhooks",
                    json!({
                        "url": "https://example.com/",
                        "description": MARK,
                        "eventTypes": ["nothing.ever"],
                    }),
                )
                .await
                .expect(201)["webhook"]["id"]
                .as_str()
                .unwrap()
                .to_owned(),
            credential: id(&credentials, json!({"credential": {"displayName": MARK}})).await,
            authority: id("/v1/deviceAuthorities", authority).await,
            claim_key: id("/v1/claimKeys", json!({"displayName": MARK})).await,
            command: id("/v1/commands", json!({"name": MARK})).await,
            customer: id("/v1/customers", json!({"displayName": MARK})).await,
            user: id("/v1/users", json!({"email": format!("{MARK}@example.com")})).await,
            api_key: id("/v1/apiKeys", json!({"displayName": MARK})).await,
            api_client: client["apiClient"]["id"].as_str().unwrap().to_owned(),
            tenant: world.tenant_a.clone(),
            sensor: id("/v1/sensors", json!({"deviceId": device, "code": MARK})).await,
            device,
            tag,
            site,
            token,
        }
    }

    /// The thing of tenant A that a field of a request names, if it names one.
    pub(crate) fn named_by(&self, service: &str, field: &str) -> Option<Value> {
        let text = |id: &str| Some(Value::String(id.to_owned()));
        match (field, service) {
            ("user_id", _) => text(&self.user),
            // Not theirs, but needed beside their user.
            ("role", "MemberService") => text("viewer"),
            ("site_id", _) => text(&self.site),
            ("tag_ids", _) => Some(Value::List(vec![Value::String(self.tag.clone())])),
            ("tenant_id", "AuthService") => text(&self.tenant),
            ("device_id", "DeviceCredentialService") => text(&self.device),
            ("authority_id", _) => text(&self.authority),
            ("id", "DeviceCredentialService") => text(&self.credential),
            ("id", "DeviceAuthorityService") => text(&self.authority),
            ("id", "ClaimKeyService") => text(&self.claim_key),
            ("id", "DeviceService") => text(&self.device),
            ("id", "SensorService") => text(&self.sensor),
            ("device_id", "SensorService") => text(&self.device),
            // Not theirs, but needed beside their device.
            ("code", "SensorService") => text("level"),
            ("id", "DeviceCommandService") => text(&self.device_command),
            ("device_id", _) => text(&self.device),
            ("device_ids", _) => Some(Value::List(vec![Value::String(self.device.clone())])),
            // Needed beside their device.
            ("name", "DeviceCommandService") => text("restart"),
            ("id", "TagService") => text(&self.tag),
            ("id", "SiteService") => text(&self.site),
            ("id", "CommandService") => text(&self.command),
            ("id", "CustomerService") => text(&self.customer),
            ("id", "UserService") => text(&self.user),
            ("id", "ApiKeyService") => text(&self.api_key),
            ("id", "ApiClientService") => text(&self.api_client),
            ("id", "TenantService") => text(&self.tenant),
            ("id" | "webhook_id", "WebhookService") => text(&self.webhook),
            // Needed beside their webhook.
            ("start_time", "WebhookService") => Some(Value::Message(in_2100())),
            ("number", "TokenService") => Some(Value::I64(self.token)),
            // Needed beside their key.
            ("end_time", "ApiKeyService") => Some(Value::Message(in_2100())),
            _ => None,
        }
    }

    /// All but the tenant's id: B is below A, and may know what it is below.
    fn all(&self) -> [&str; 14] {
        [
            &self.device,
            &self.sensor,
            &self.tag,
            &self.site,
            &self.command,
            &self.device_command,
            &self.user,
            &self.api_key,
            &self.api_client,
            &self.webhook,
            &self.credential,
            &self.authority,
            &self.claim_key,
            &self.customer,
        ]
    }
}

fn basic(client: &serde_json::Value) -> String {
    use base64::Engine;
    let pair = format!(
        "{}:{}",
        client["apiClient"]["clientKey"].as_str().unwrap(),
        client["clientSecret"].as_str().unwrap()
    );
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
}

pub(crate) fn in_2100() -> DynamicMessage {
    let kind = grpc::pool().get_message_by_name("google.protobuf.Timestamp");
    let mut time = DynamicMessage::new(kind.unwrap());
    time.set_field_by_name("seconds", Value::I64(4_102_444_800));
    time
}

/// Names tenant A's things wherever a message can name one; answers whether it can.
fn name_foreign(
    message: &mut DynamicMessage,
    service: &str,
    creates: bool,
    things: &Belongings,
) -> bool {
    let mut named = false;
    for field in message.descriptor().fields().collect::<Vec<_>>() {
        // A thing that is created has no id yet, and its request chooses one.
        let chosen = creates && makes(message.descriptor().name());
        let parent = field.name() == "device_id" && service != "DeviceService";
        let chosen = chosen && field.name().ends_with("_id") && !parent;
        let ignored = creates && field.name() == "id" || chosen;
        if let Some(value) = things.named_by(service, field.name()).filter(|_| !ignored) {
            message.set_field(&field, value);
            named = true;
        } else if let Kind::Message(inner) = field.kind()
            && inner.package_name().starts_with("muster.")
            && !field.is_list()
            && !field.is_map()
        {
            let mut nested = DynamicMessage::new(inner);
            if name_foreign(&mut nested, service, creates, things) {
                message.set_field(&field, Value::Message(nested));
                named = true;
            }
        }
    }
    named
}

/// Whether a method, or its request, is of those that make a new thing.
fn makes(name: &str) -> bool {
    name.starts_with("Create") || name.starts_with("Import")
}

/// Lists that name foreign things in filters: they find nothing, which is no error.
fn finds_nothing(method: &MethodDescriptor) -> bool {
    method.name().starts_with("List")
}

/// Methods that refuse with another code than NOT_FOUND, and why. It may only shrink.
const OTHER_REFUSALS: [(&str, Code); 4] = [
    // Membership is not told, nor whether there is such a tenant.
    (
        "muster.identity.v1.AuthService.SelectTenant",
        Code::PermissionDenied,
    ),
    // The field is named that refers to what is not there.
    (
        "muster.registry.v1.ClaimKeyService.CreateClaimKey",
        Code::InvalidArgument,
    ),
    (
        "muster.registry.v1.DeviceService.CreateDevice",
        Code::InvalidArgument,
    ),
    (
        "muster.tenancy.v1.MemberService.CreateMember",
        Code::InvalidArgument,
    ),
];

#[tokio::test]
async fn no_method_reaches_another_tenants_things() {
    let world = need!(World::new().await);
    let channel = grpc::connect(&world.server.url).await;
    let things = Belongings::of(&world).await;
    let client = world
        .bob
        .post("/v1/apiClients", json!({"displayName": unique()}))
        .await
        .expect(201);
    let client = basic(&client);
    let domain = |m: &&MethodDescriptor| !m.full_name().starts_with("muster.dialect.");
    let (mut refused, mut listed) = (0, 0);
    for method in grpc::methods().iter().filter(domain) {
        if matches!(required(method), Requirement::Service | Requirement::Public) {
            continue;
        }
        // It would end the session that the other calls are made with.
        if method.name() == "Logout" {
            continue;
        }
        let service = method.parent_service().name().to_owned();
        let mut message = empty(method);
        let names = name_foreign(&mut message, &service, makes(method.name()), &things);
        let bob = if service == "TokenService" {
            Some(client.as_str())
        } else {
            world.bob.authorization.as_deref()
        };
        let answer = grpc::call(&channel, method, bob, &message).await;
        match answer {
            // A stream goes on after what is unknown, and names it as its caller did.
            Ok(bytes) if method.name() == "RecordSightings" => {
                let told = RecordSightingsResponse::decode(bytes).unwrap();
                assert_eq!((told.known_count, told.unknown_count), (0, 1));
                refused += 1;
            }
            // It answers for each device by itself, which its own tests read:
            // `native/transfer.rs`.
            Ok(_) if method.name() == "ImportDevices" => refused += 1,
            Ok(bytes) => {
                assert!(
                    !names || finds_nothing(method),
                    "{} took a foreign id",
                    method.full_name()
                );
                let text = String::from_utf8_lossy(&bytes);
                for theirs in things.all().into_iter().chain([MARK]) {
                    assert!(
                        !text.contains(theirs),
                        "{} shows {theirs}",
                        method.full_name()
                    );
                }
                listed += 1;
            }
            Err(status) if names => {
                let other = OTHER_REFUSALS
                    .iter()
                    .find(|(name, _)| *name == method.full_name());
                let expected = other.map_or(Code::NotFound, |(_, code)| *code);
                assert_eq!(
                    status.code(),
                    expected,
                    "{}: {}",
                    method.full_name(),
                    status.message()
                );
                refused += 1;
            }
            Err(status) => {
                let harmless = [Code::InvalidArgument, Code::PermissionDenied];
                assert!(
                    harmless.contains(&status.code()),
                    "{}: {status:?}",
                    method.full_name()
                );
            }
        }
    }
    assert!(
        refused >= 20 && listed >= 8,
        "{refused} refused, {listed} listed"
    );
}
