//! gRPC and gRPC-Web at the gateway's port, as clients without types use it.

use std::collections::BTreeSet;

use crate::support::{Answer, Caller, World, grpc, send, unique};
use bytes::Bytes;
use prost::Message;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::{CreateDeviceRequest, Device, GetDeviceRequest, ListDevicesRequest};
use reqwest::Method;
use serde_json::json;
use tokio::sync::OnceCell;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

async fn world() -> Option<&'static World> {
    static WORLD: OnceCell<Option<World>> = OnceCell::const_new();
    WORLD.get_or_init(World::new).await.as_ref()
}

async fn channel() -> Option<Channel> {
    Some(grpc::connect(&world().await?.server.url).await)
}

/// What reflection must list: every service of the contract's packages, and
/// health. Reflection itself may be listed too.
fn served() -> BTreeSet<String> {
    let pool = grpc::pool();
    let services = pool.services().map(|s| s.full_name().to_owned());
    let ours = services.filter(|name| name.starts_with("muster."));
    ours.chain(["grpc.health.v1.Health".to_owned()]).collect()
}

/// Lists the services and finds the file of each by one version of reflection.
macro_rules! reflect {
    ($version:ident) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

        let channel = need!(channel().await);
        let ask = async |what: MessageRequest| {
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(what),
            };
            let mut client = ServerReflectionClient::new(channel.clone());
            let answers = client.server_reflection_info(tokio_stream::once(request));
            let answer = answers.await.unwrap().into_inner().message().await.unwrap();
            answer.unwrap().message_response.unwrap()
        };
        let listed = match ask(MessageRequest::ListServices(String::new())).await {
            MessageResponse::ListServicesResponse(list) => list.service,
            other => panic!("{other:?}"),
        };
        let listed: BTreeSet<String> = listed.into_iter().map(|s| s.name).collect();
        for service in served() {
            assert!(listed.contains(&service), "{service} is not in {listed:?}");
            let found = ask(MessageRequest::FileContainingSymbol(service.clone())).await;
            let MessageResponse::FileDescriptorResponse(files) = found else {
                panic!("{service}: {found:?}");
            };
            let file = prost_types::FileDescriptorProto::decode(&*files.file_descriptor_proto[0]);
            let package = file.unwrap().package.unwrap();
            assert!(service.starts_with(&package), "{service} in {package}");
        }
        listed
    }};
}

#[tokio::test]
async fn reflection_v1_lists_and_describes_every_service() {
    let listed = reflect!(v1);
    let dialects = listed
        .iter()
        .filter(|name| name.starts_with("muster.dialect."));
    assert!(dialects.count() >= 5, "{listed:?}");
}

#[tokio::test]
async fn reflection_v1alpha_lists_and_describes_every_service() {
    let listed = reflect!(v1alpha);
    let dialects = listed
        .iter()
        .filter(|name| name.starts_with("muster.dialect."));
    assert!(dialects.count() >= 5, "{listed:?}");
}

#[tokio::test]
async fn health_is_told_to_anybody() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let mut health = HealthClient::new(need!(channel().await));
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let request = HealthCheckRequest {
        service: "no.Such".to_owned(),
    };
    assert_eq!(
        health.check(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

fn request<T>(message: T, name: &'static str, value: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = value.parse().unwrap();
    request.metadata_mut().insert(name, value);
    request
}

fn device(display_name: &str) -> CreateDeviceRequest {
    CreateDeviceRequest {
        device: Some(Device {
            display_name: display_name.to_owned(),
            ..Device::default()
        }),
        ..CreateDeviceRequest::default()
    }
}

#[tokio::test]
async fn a_key_counts_in_each_metadata_that_is_documented() {
    let alice = &need!(world().await).alice;
    let key = alice.new_key(&["devices.read", "devices.write"]).await;
    let mut devices = DeviceServiceClient::new(need!(channel().await));
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("ApiKey {key}")),
        ("x-api-key", key.clone()),
    ] {
        let shown = unique();
        let made = devices
            .create_device(request(device(&shown), name, &value))
            .await;
        let made = made.unwrap().into_inner();
        assert_eq!(made.display_name, shown);
        let get = GetDeviceRequest {
            id: made.id.clone(),
            ..Default::default()
        };
        let read = devices.get_device(request(get, name, &value)).await;
        assert_eq!(read.unwrap().into_inner(), made);
    }
}

#[tokio::test]
async fn a_key_counts_in_no_vendors_metadata() {
    let alice = &need!(world().await).alice;
    let key = alice.new_key(&["devices.read"]).await;
    let mut devices = DeviceServiceClient::new(need!(channel().await));
    for (name, value) in [
        ("x-auth-key", key.clone()),
        ("x-api-auth", key.clone()),
        ("authentication", format!("bearer {key}")),
    ] {
        let refused = devices.list_devices(request(ListDevicesRequest::default(), name, &value));
        assert_eq!(
            refused.await.unwrap_err().code(),
            Code::Unauthenticated,
            "{name}"
        );
    }
}

fn token(caller: &Caller) -> &str {
    caller.authorization.as_deref().unwrap()
}

#[tokio::test]
async fn a_refusal_says_why_in_rich_details() {
    let World { olga, victor, .. } = need!(world().await);
    let mut devices = DeviceServiceClient::new(need!(channel().await));
    let mut create = async |caller: &Caller, message: CreateDeviceRequest| -> Status {
        let request = request(message, "authorization", token(caller));
        devices.create_device(request).await.unwrap_err()
    };
    let serial = unique();
    let mut with_serial = device("x");
    with_serial.device.as_mut().unwrap().serial_number = serial.clone();
    olga.post(
        "/v1/devices",
        json!({"displayName": "x", "serialNumber": serial}),
    )
    .await
    .expect(201);
    let mut wrong = device("");
    wrong.device_id = "x".to_owned();
    for (status, code, reason) in [
        (
            create(olga, wrong).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        ),
        (
            create(victor, device("x")).await,
            Code::PermissionDenied,
            "PERMISSION_DENIED",
        ),
        (
            create(olga, with_serial).await,
            Code::AlreadyExists,
            "ALREADY_EXISTS",
        ),
    ] {
        assert_eq!(status.code(), code);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            (reason, "muster")
        );
        let fields: Vec<_> = details
            .bad_request()
            .map(|bad| &bad.field_violations[..])
            .unwrap_or_default()
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        match code {
            Code::InvalidArgument => assert_eq!(fields, ["device.display_name", "device_id"]),
            Code::AlreadyExists => assert_eq!(info.metadata["field"], "device.serial_number"),
            _ => assert!(fields.is_empty()),
        }
    }
}

#[tokio::test]
async fn a_method_or_service_that_nobody_has_is_unimplemented() {
    let World { alice, .. } = need!(world().await);
    let mut client = tonic::client::Grpc::new(need!(channel().await));
    for path in [
        "/muster.registry.v1.DeviceService/Nothing",
        "/muster.registry.v1.NoService/GetDevice",
        "/muster.registry.v2.DeviceService/GetDevice",
        "/no.such.Service/Call",
    ] {
        for authorization in [None, Some(token(alice))] {
            client.ready().await.unwrap();
            let mut request = Request::new(Bytes::new());
            if let Some(value) = authorization {
                request
                    .metadata_mut()
                    .insert("authorization", value.parse().unwrap());
            }
            let path_ = path.parse().unwrap();
            let answer = client.unary(request, path_, grpc::Raw).await;
            assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_breaks_nothing() {
    let olga = &need!(world().await).olga;
    let path = "/muster.registry.v1.DeviceService/ListDevices";
    let answer = web(olga, path, b"\xff\xff\xff\xff").await;
    assert_ne!(answer.status(), "0");
    let answer = web(olga, path, b"").await;
    assert_eq!(answer.status(), "0", "{:?}", answer.http);
}

/// A gRPC-Web answer: its messages and trailers.
struct WebAnswer {
    http: Answer,
    message: Bytes,
    trailers: String,
}

impl WebAnswer {
    /// The call's status, in the trailers or, without a message, the headers.
    fn status(&self) -> String {
        let line = self
            .trailers
            .lines()
            .find_map(|line| line.strip_prefix("grpc-status:"));
        let status = line.unwrap_or_else(|| self.http.header("grpc-status"));
        status.trim().to_owned()
    }
}

/// A unary gRPC-Web call over HTTP/1.1, by hand: a frame is a flag, the length
/// in four bytes, and the message; the trailers are a frame whose flag is 0x80.
async fn web(caller: &Caller, path: &str, message: &[u8]) -> WebAnswer {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let request = caller
        .request(Method::POST, path)
        .version(reqwest::Version::HTTP_11)
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(frame);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let mut rest = response.bytes().await.unwrap();
    let (mut message, mut trailers) = (Bytes::new(), String::new());
    while !rest.is_empty() {
        let head = rest.split_to(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let body = rest.split_to(length as usize);
        match head[0] {
            0x80 => trailers = String::from_utf8(body.to_vec()).unwrap(),
            _ => message = body,
        }
    }
    let http = Answer {
        status,
        headers,
        text: String::new(),
    };
    WebAnswer {
        http,
        message,
        trailers,
    }
}

#[tokio::test]
async fn a_grpc_web_call_over_http_1_1_answers_a_message_and_trailers() {
    let alice = &need!(world().await).alice;
    let key = alice.key_holder(&["devices.read", "devices.write"]).await;
    let shown = unique();
    let path = "/muster.registry.v1.DeviceService/CreateDevice";
    let answer = web(&key, path, &device(&shown).encode_to_vec()).await;
    assert_eq!(answer.http.status, 200);
    assert_eq!(
        answer.http.header("content-type"),
        "application/grpc-web+proto"
    );
    assert_eq!(answer.status(), "0");
    let made = Device::decode(answer.message).unwrap();
    assert_eq!(made.display_name, shown);
    let read = alice
        .get(&format!("/v1/devices/{}", made.id))
        .await
        .expect(200);
    assert_eq!(read["displayName"], shown);
}

#[tokio::test]
async fn a_grpc_web_call_is_refused_with_a_status() {
    let World { victor, server, .. } = need!(world().await);
    let path = "/muster.registry.v1.DeviceService/CreateDevice";
    let message = device("x").encode_to_vec();
    for (caller, path, status) in [
        (&server.anybody(), path, "16"),
        (victor, path, "7"),
        (victor, "/muster.registry.v1.DeviceService/Nothing", "12"),
    ] {
        let answer = web(caller, path, &message).await;
        assert_eq!(
            (answer.http.status.as_u16(), answer.status().as_str()),
            (200, status)
        );
        assert!(answer.message.is_empty());
    }
}

#[tokio::test]
async fn a_grpc_path_without_its_content_type_is_no_route() {
    let olga = &need!(world().await).olga;
    let path = "/muster.registry.v1.DeviceService/ListDevices";
    let answer = send(olga.request(Method::POST, path).json(&json!({}))).await;
    assert_eq!(answer.expect(404)["code"], 5);
}

#[tokio::test]
async fn the_request_id_comes_back_over_grpc() {
    let olga = &need!(world().await).olga;
    let mut devices = DeviceServiceClient::new(need!(channel().await));
    let id = unique();
    let mut message = request(ListDevicesRequest::default(), "authorization", token(olga));
    message
        .metadata_mut()
        .insert("x-request-id", id.parse().unwrap());
    let answer = devices.list_devices(message).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), id.as_str());
}
