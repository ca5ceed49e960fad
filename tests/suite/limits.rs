//! How often somebody may ask, and how often be wrong.

use crate::support::{ADMIN, Answer, Caller, Installation, PASSWORD, Server, eventually, log_in};
use crate::support::{grpc, unique};
use crate::support::{probe, send};
use proto::registry::ListDevicesRequest;
use proto::registry::device_service_client::DeviceServiceClient;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// What is given back of these in a test's time is next to nothing.
const PRINCIPAL: usize = 200;
const TENANT: usize = 280;
const SOURCE: usize = 450;
const FAILURES: usize = 30;
/// How much more that may be on a slow machine.
const SLACK: usize = 15;
const ORIGIN: &str = "https://console.example.com";

struct Limited {
    server: Server,
    probes: Vec<String>,
    admin: Caller,
}

/// One server for all tests of this file, who come from addresses of their own.
async fn limited() -> Option<&'static Limited> {
    static LIMITED: OnceCell<Option<Limited>> = OnceCell::const_new();
    LIMITED.get_or_init(start).await.as_ref()
}

async fn start() -> Option<Limited> {
    let hourly = |number: usize| format!("{number}/h");
    let installation = Installation::new().await?.with(&[
        ("MUSTER_LIMIT_PRINCIPAL", &hourly(PRINCIPAL)),
        ("MUSTER_LIMIT_TENANT", &hourly(TENANT)),
        ("MUSTER_LIMIT_SOURCE", &hourly(SOURCE)),
        ("MUSTER_LIMIT_FAILURES", &hourly(FAILURES)),
        ("MUSTER_TRUSTED_PROXIES", "127.0.0.1"),
        ("MUSTER_CORS_ORIGINS", ORIGIN),
    ]);
    let (installation, probes) = installation.with_probes();
    let server = Server::start_on(installation).await;
    let admin = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    Some(Limited {
        server,
        probes,
        admin,
    })
}

impl Limited {
    /// The founder of a new tenant.
    async fn founder(&self) -> Caller {
        let tenant = json!({"displayName": unique()});
        let tenant = self.admin.post("/v1/tenants", tenant).await.expect(201);
        let scope = json!({"tenantId": tenant["id"]});
        let scoped = self.admin.post("/v1/auth:selectTenant", scope).await;
        let token = scoped.expect(200)["accessToken"].clone();
        self.server.caller(bearer(&token))
    }

    /// The sum of what processes tell of a meter with this label.
    async fn figure(&self, meter: &str, label: &str) -> f64 {
        let mut all = 0.0;
        for address in &self.probes {
            let (_, text) = probe(address, "/metrics").await.expect("it answers");
            let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
            let ours = lines.filter(|(name, _)| name.starts_with(meter) && name.contains(label));
            all += ours
                .map(|(_, value)| value.parse::<f64>().unwrap())
                .sum::<f64>();
        }
        all
    }
}

fn bearer(secret: &Value) -> String {
    format!("Bearer {}", secret.as_str().unwrap())
}

/// A new key with these fields, and who holds it.
async fn key(founder: &Caller, mut fields: Value) -> (Value, Caller) {
    fields["displayName"] = unique().into();
    fields["permissions"] = json!(["devices.read"]);
    let made = founder.post("/v1/apiKeys", fields).await.expect(201);
    let holder = founder.with(bearer(&made["secret"]));
    (made["apiKey"].clone(), holder)
}

/// Asks from an address.
async fn from(caller: &Caller, address: &str) -> Answer {
    let request = caller.request(Method::GET, "/v1/devices");
    let request = request.header("user-agent", "tool/1.0");
    send(request.header("x-forwarded-for", address)).await
}

/// Asks until it is refused, and how often it was not.
async fn exhaust(caller: &Caller, address: &str, status: u16) -> (usize, Answer) {
    for number in 0..1000 {
        let answer = from(caller, address).await;
        if answer.status.as_u16() == 429 {
            return (number, answer);
        }
        answer.expect(status);
    }
    panic!("nothing is limited");
}

fn reason(answer: &Answer) -> String {
    let body = answer.expect(429);
    body["details"][0]["reason"].as_str().unwrap().to_owned()
}

fn limit(answer: &Answer) -> String {
    let body = answer.expect(429);
    let limit = &body["details"][0]["metadata"]["limit"];
    limit.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_principal_that_asks_too_often_is_told_when_to_come_back() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (_, holder) = key(&founder, json!({})).await;
    let first = from(&holder, "192.0.2.1").await;
    first.expect(200);
    // Of the limit that is nearest, whichever that is by now.
    assert!(first.header("ratelimit-policy").ends_with(";w=3600"));
    assert!(!first.header("ratelimit").is_empty());
    let (taken, refusal) = exhaust(&holder, "192.0.2.1", 200).await;
    assert!(
        (PRINCIPAL - 1..PRINCIPAL + SLACK).contains(&taken),
        "{taken}"
    );
    assert_eq!(reason(&refusal), "RATE_LIMITED");
    assert_eq!(limit(&refusal), "principal");
    let policy = format!("\"principal\";q={PRINCIPAL};w=3600");
    assert_eq!(refusal.header("ratelimit-policy"), policy);
    let wait: u64 = refusal.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let retry = &refusal.json()["details"][1];
    assert_eq!(retry["retryDelay"], format!("{wait}s"), "{retry}");
    assert!(
        refusal
            .header("ratelimit")
            .starts_with("\"principal\";r=0;t=")
    );
    // Nobody else is held up by it.
    let (_, other) = key(&founder, json!({})).await;
    from(&other, "192.0.2.1").await.expect(200);
}

#[tokio::test]
async fn a_key_may_have_a_number_of_its_own() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (_, holder) = key(&founder, json!({"requestsPerMinute": 5})).await;
    let first = from(&holder, "192.0.2.2").await;
    first.expect(200);
    assert_eq!(first.header("ratelimit-policy"), "\"principal\";q=5;w=60");
    let (taken, refusal) = exhaust(&holder, "192.0.2.2", 200).await;
    assert!(taken >= 4, "{taken}");
    assert_eq!(limit(&refusal), "principal");
}

#[tokio::test]
async fn the_keys_of_a_tenant_count_together() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (_, one) = key(&founder, json!({})).await;
    let (_, other) = key(&founder, json!({})).await;
    for _ in 0..PRINCIPAL - 20 {
        from(&one, "192.0.2.3").await.expect(200);
    }
    let (taken, refusal) = exhaust(&other, "192.0.2.3", 200).await;
    assert!(taken < PRINCIPAL, "{taken}");
    assert_eq!(limit(&refusal), "tenant");
    let elsewhere = limited.founder().await;
    elsewhere.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_refused_whoever_it_says_to_be() {
    let limited = need!(limited().await);
    let anybody = limited.server.anybody();
    // Of IPv6, a household is one address.
    let (taken, refusal) = exhaust(&anybody, "2001:db8::1", 401).await;
    assert!((SOURCE..SOURCE + SLACK).contains(&taken), "{taken}");
    assert_eq!(limit(&refusal), "source");
    assert_eq!(
        reason(&from(&limited.admin, "2001:db8::2").await),
        "RATE_LIMITED"
    );
    let neighbour = from(&anybody, "2001:db8:0:1::1").await;
    assert_eq!(neighbour.status.as_u16(), 401);
    // What is no path of ours is refused too, and the probes never.
    let lost = anybody.request(Method::GET, "/nowhere");
    let lost = send(lost.header("x-forwarded-for", "2001:db8::1")).await;
    assert_eq!(lost.status.as_u16(), 429);
    let probe = anybody.request(Method::GET, "/healthz");
    let probe = send(probe.header("x-forwarded-for", "2001:db8::1")).await;
    assert_eq!(probe.status.as_u16(), 200);
}

#[tokio::test]
async fn over_grpc_a_limit_is_told_in_details_and_metadata() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (_, holder) = key(&founder, json!({"requestsPerMinute": 3})).await;
    let channel = grpc::connect(&limited.server.url).await;
    let ask = async || -> Result<_, Status> {
        let mut request = Request::new(ListDevicesRequest::default());
        let metadata = request.metadata_mut();
        let token = holder.authorization.as_deref().unwrap();
        metadata.insert("authorization", token.parse().unwrap());
        metadata.insert("x-forwarded-for", "192.0.2.4".parse().unwrap());
        let mut client = DeviceServiceClient::new(channel.clone());
        Ok(client.list_devices(request).await?.metadata().clone())
    };
    let first = ask().await.unwrap();
    assert_eq!(
        first.get("ratelimit-policy").unwrap(),
        "\"principal\";q=3;w=60"
    );
    let mut refusal = None;
    for _ in 0..100 {
        if let Err(status) = ask().await {
            refusal = Some(status);
            break;
        }
    }
    let refusal = refusal.expect("it is limited");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let info = refusal.get_details_error_info().unwrap();
    assert_eq!(info.reason, "RATE_LIMITED");
    let delay = refusal.get_details_retry_info().unwrap().retry_delay;
    let wait = refusal.metadata().get("retry-after").unwrap();
    assert_eq!(wait, &delay.unwrap().as_secs().to_string());
}

#[tokio::test]
async fn a_dialect_tells_a_limit_in_its_own_shape() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (_, holder) = key(&founder, json!({"requestsPerMinute": 1})).await;
    let mut answers = Vec::new();
    for _ in 0..100 {
        let request = holder.request(Method::GET, "/v2/devices");
        let answer = send(request.header("x-forwarded-for", "192.0.2.5")).await;
        let over = answer.status.as_u16() == 429;
        answers.push(answer);
        if over {
            break;
        }
    }
    let refusal = answers.last().unwrap();
    let body = refusal.expect(429);
    assert!(body.is_string(), "{body}");
    assert!(!refusal.header("retry-after").is_empty());
}

#[tokio::test]
async fn wrong_keys_from_one_address_are_slowed_down_and_known_ones_go_on() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (_, known) = key(&founder, json!({})).await;
    let (_, unknown) = key(&founder, json!({})).await;
    let (guesser, other) = ("198.51.100.1", "198.51.100.2");
    from(&known, guesser).await.expect(200);
    let slowed = async || {
        limited
            .figure("muster_exchanges_total", "outcome=\"slowed\"")
            .await
    };
    let before = slowed().await;
    let mut asked = 0;
    for number in 0..300 {
        let wrong = limited.server.caller(format!("Bearer guess-{number}"));
        let answer = from(&wrong, guesser).await;
        if answer.status.as_u16() == 401 {
            asked += 1;
        } else {
            assert_eq!(reason(&answer), "TOO_MANY_FAILURES");
            assert_eq!(limit(&answer), "failures");
            assert!(!answer.header("retry-after").is_empty());
        }
    }
    assert!((FAILURES..FAILURES + SLACK).contains(&asked), "{asked}");
    // The others cost key management nothing.
    assert!(slowed().await - before >= 300.0 - asked as f64);
    from(&known, guesser).await.expect(200);
    let answer = from(&unknown, guesser).await;
    assert_eq!(reason(&answer), "TOO_MANY_FAILURES");
    from(&unknown, other).await.expect(200);
    // Now it is known.
    from(&unknown, guesser).await.expect(200);
}

#[tokio::test]
async fn wrong_secrets_count_wherever_they_are_taken() {
    let limited = need!(limited().await);
    let login = json!({"email": "nobody@example.com", "password": "not the password"});
    let login = login.to_string();
    let cases = [
        (
            "192.0.2.20",
            "/v1/auth:login",
            "application/json",
            login.as_str(),
        ),
        (
            "192.0.2.21",
            "/oauth2/token",
            "application/x-www-form-urlencoded",
            "grant_type=client_credentials&client_id=x&client_secret=y",
        ),
        (
            "192.0.2.22",
            "/v1/leaks",
            "application/json",
            r#"{"apiKey":"x"}"#,
        ),
    ];
    for (address, path, kind, body) in cases {
        let mut taken = 0;
        let refusal = loop {
            let request = limited.server.anybody().request(Method::POST, path);
            let request = request.header("x-forwarded-for", address);
            let request = request.header("content-type", kind);
            let answer = send(request.body(body.to_owned())).await;
            if answer.status.as_u16() == 429 {
                break answer;
            }
            taken += 1;
            assert!(taken < 1000, "{path} is not limited");
        };
        assert!(
            (FAILURES..FAILURES + SLACK).contains(&taken),
            "{path}: {taken}"
        );
        assert!(!refusal.header("retry-after").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_key_works_from_its_networks_only_also_when_it_is_known() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let networks = json!({"allowedNetworks": ["192.0.2.0/24", "2001:db8:7::/48"]});
    let (made, holder) = key(&founder, networks).await;
    for address in ["192.0.2.7", "2001:db8:7:1::1", "192.0.2.8"] {
        from(&holder, address).await.expect(200);
        let refused = from(&holder, "203.0.113.1").await.expect(401);
        assert_eq!(refused["details"][0]["reason"], "BAD_CREDENTIALS");
    }
    // Where it is allowed from now on, it works within a second.
    let path = format!("/v1/apiKeys/{}", made["id"].as_str().unwrap());
    let wider = json!({"allowedNetworks": ["192.0.2.0/24", "203.0.113.0/24"]});
    founder.patch(&path, wider).await.expect(200);
    let works = async || from(&holder, "203.0.113.1").await.status == 200;
    eventually("the wider network", works).await;
}

#[tokio::test]
async fn uses_are_counted_by_network_and_program() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (made, holder) = key(&founder, json!({})).await;
    for address in ["192.0.2.7", "192.0.2.8", "198.51.100.7"] {
        from(&holder, address).await.expect(200);
    }
    let path = format!("/v1/apiKeys/{}/rotation", made["id"].as_str().unwrap());
    let mut told = Value::Null;
    for _ in 0..60 {
        told = founder.get(&path).await.expect(200)["generations"][0].clone();
        if told["useCount"] == "3" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(told["useCount"], "3", "{told}");
    let uses = told["uses"].as_array().unwrap().iter();
    let mut uses: Vec<_> = uses
        .map(|used| {
            assert_eq!(used["userAgent"], "tool/1.0");
            format!("{} {}", used["network"], used["count"])
        })
        .collect();
    uses.sort();
    let wanted = [r#""192.0.2.0/24" "2""#, r#""198.51.100.0/24" "1""#];
    assert_eq!(uses, wanted);
}

#[tokio::test]
async fn an_answer_tells_that_its_secret_is_old() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let (made, old) = key(&founder, json!({})).await;
    assert_eq!(
        from(&old, "192.0.2.9").await.header("muster-credential"),
        ""
    );
    let path = format!("/v1/apiKeys/{}:rotate", made["id"].as_str().unwrap());
    let rotated = founder
        .post(&path, json!({"overlap": "3600s"}))
        .await
        .expect(200);
    let mut notice = String::new();
    for _ in 0..100 {
        let answer = from(&old, "192.0.2.9").await;
        answer.expect(200);
        answer.header("muster-credential").clone_into(&mut notice);
        if !notice.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let end = notice.strip_prefix("superseded;ends=@").expect(&notice);
    assert!(end.parse::<i64>().is_ok(), "{end}");
    let new = founder.with(bearer(&rotated["secret"]));
    assert_eq!(
        from(&new, "192.0.2.9").await.header("muster-credential"),
        ""
    );
}

#[tokio::test]
async fn an_answer_tells_that_its_key_ends_soon_and_pages_may_read_it() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let end = chassis::Clock::system().now() + chrono::TimeDelta::days(3);
    let fields = json!({"expireTime": end.to_rfc3339()});
    let (_, holder) = key(&founder, fields).await;
    let request = holder.request(Method::GET, "/v1/devices");
    let request = request.header("x-forwarded-for", "192.0.2.10");
    let answer = send(request.header("origin", ORIGIN)).await;
    let wanted = format!("expiring;ends=@{}", end.timestamp());
    assert_eq!(answer.header("muster-credential"), wanted);
    let exposed = answer.header("access-control-expose-headers");
    for header in [
        "muster-credential",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
    ] {
        assert!(exposed.split(',').any(|name| name == header), "{exposed}");
    }
}

#[tokio::test]
async fn a_client_whose_secret_can_be_misread_is_not_locked_out() {
    let limited = need!(limited().await);
    let founder = limited.founder().await;
    let client = format!("client-of-others-{}", unique());
    let secret = "a+secret%2Bof-others";
    let import = json!({"apiClient": {"clientKey": client}, "secret": {"raw": secret}});
    founder
        .post("/v1/apiClients:import", import)
        .await
        .expect(201);
    let ask = async |secret: &str, address: &str| {
        let request = limited.server.anybody();
        let request = request.request(Method::POST, "/oauth2/token");
        let request = request.header("x-forwarded-for", address);
        let request = request.basic_auth(&client, Some(secret));
        send(request.form(&[("grant_type", "client_credentials")])).await
    };
    let (good, guesser) = ("192.0.2.23", "192.0.2.24");
    for _ in 0..2 * FAILURES {
        ask(secret, good).await.expect(200);
    }
    // All that a wrong one may mean is one wrong one.
    let mut taken = 0;
    while ask("a+guess%2Bof-mine", guesser).await.status.as_u16() == 401 {
        taken += 1;
        assert!(taken < 1000, "guesses are not limited");
    }
    assert!((FAILURES..FAILURES + SLACK).contains(&taken), "{taken}");
    // What is known to be good goes on, whichever reading of it that is.
    ask(secret, guesser).await.expect(200);
}

#[tokio::test]
async fn a_device_uses_up_nothing_of_another_tenants_device_with_its_id() {
    let limited = need!(limited().await);
    let id = chassis::Clock::system().new_id().to_string();
    let mut devices = Vec::new();
    for _ in 0..2 {
        let founder = limited.founder().await;
        let device = json!({"displayName": "ours", "serialNumber": "same"});
        let path = format!("/v1/devices?deviceId={id}");
        founder.post(&path, device).await.expect(201);
        let path = format!("/v1/devices/{id}/credentials");
        let made = founder.post(&path, json!({})).await.expect(201);
        let proof = json!({"id": id, "secret": made["secret"], "issueToken": true});
        let told = founder.post("/v1/devices:authenticate", proof).await;
        let token = told.expect(200)["deviceToken"].clone();
        devices.push(limited.server.caller(bearer(&token)));
    }
    let ask = async |device: &Caller| {
        let request = device.request(Method::GET, "/v1/device");
        send(request.header("x-forwarded-for", "198.51.100.77")).await
    };
    let mut asked = 0;
    while ask(&devices[0]).await.status != 429 {
        asked += 1;
        assert!(asked <= PRINCIPAL + SLACK, "nothing is limited");
    }
    let told = ask(&devices[1]).await.expect(200);
    assert_eq!(told["id"], id);
}
