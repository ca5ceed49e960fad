//! The OpenAPI documents: one of the native API, one of each dialect. All of
//! them are made at the first request for one.

mod security;

use std::sync::LazyLock;

use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderValue, Request, Response, StatusCode};
use proto::access::{Requirement, requirement, scope};
use serde_json::{Map, Value, json};
use tonic::body::Body;
use transcoder::openapi::{Api, ErrorBody};
use transcoder::{BuildError, MethodInfo, Transcoder};

use crate::dialects;
use crate::pages::Page;

/// What the documents are for people who ask for it (the media type that
/// OpenAPI has registered).
const KIND: &str = "application/vnd.oai.openapi+json;version=3.1";

/// What a document is about.
struct Topic {
    /// What it is asked for by.
    name: &'static str,
    path: &'static str,
    /// The packages whose services it has begin so.
    package: &'static str,
    title: &'static str,
    description: &'static str,
}

/// What dialects have in common.
const DIALECT: &str = "muster.dialect.";

const TOPICS: [Topic; 8] = [
    Topic {
        name: "muster",
        path: "/openapi.json",
        package: "muster.",
        title: "Muster",
        description: include_str!("openapi/muster.md"),
    },
    Topic {
        name: "hardwario",
        path: "/openapi/hardwario.json",
        package: "muster.dialect.hardwario.",
        title: "HARDWARIO Cloud v2, served by Muster",
        description: "The documented paths of HARDWARIO Cloud v2. A space is a tenant of Muster.",
    },
    Topic {
        name: "yombo",
        path: "/openapi/yombo.json",
        package: "muster.dialect.yombo.",
        title: "Yombo GW-API, served by Muster",
        description: "The documented paths of the gateway API of Yombo 0.23. A gateway is a tenant of Muster.",
    },
    Topic {
        name: "iottly",
        path: "/openapi/iottly.json",
        package: "muster.dialect.iottly.",
        title: "iottly, served by Muster",
        description: "The documented paths of iottly's API 1.0. A project is a tenant of Muster.",
    },
    Topic {
        name: "sensorbucket",
        path: "/openapi/sensorbucket.json",
        package: "muster.dialect.sensorbucket.",
        title: "SensorBucket, served by Muster",
        description: "The documented paths of SensorBucket: API keys, tenants and devices.",
    },
    Topic {
        name: "device42",
        path: "/openapi/device42.json",
        package: "muster.dialect.device42.",
        title: "Device42, served by Muster",
        description: "The documented paths of Device42: tokens, devices, buildings and API clients. Every path may also end with a slash.",
    },
    Topic {
        name: "emqx",
        path: "/openapi/emqx.json",
        package: "muster.dialect.emqx.",
        title: "Hooks for EMQX, served by Muster",
        description: "What EMQX 5 asks over HTTP before it lets a device in.",
    },
    Topic {
        name: "mosquitto",
        path: "/openapi/mosquitto.json",
        package: "muster.dialect.mosquitto.",
        title: "Hooks for Mosquitto, served by Muster",
        description: "What the HTTP backend of mosquitto-go-auth asks before Mosquitto lets a device in.",
    },
];

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    // With rules that are wrong no gateway starts.
    let Ok(transcoder) = transcoder() else {
        return Vec::new();
    };
    let page = |topic: &Topic| Page::new("application/json", transcoder.openapi(topic).to_string());
    TOPICS.iter().map(page).collect()
});

/// The document at a path.
pub(crate) fn answer(request: &Request<Body>) -> Option<Response<Body>> {
    let path = request.uri().path();
    let index = TOPICS.iter().position(|topic| topic.path == path)?;
    let mut response = PAGES.get(index)?.answer(request);
    let success = response.status() == StatusCode::OK;
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("accept"));
    let accepted = request.headers().get(ACCEPT);
    let registered = accepted.is_some_and(|a| a.as_bytes().starts_with(b"application/vnd.oai"));
    if registered && success {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    }
    Some(response)
}

/// What documents there are, by what [`openapi`] takes.
pub fn apis() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|topic| topic.name)
}

/// The OpenAPI document of an API; `None` if there is no such API.
pub fn openapi(api: &str) -> Option<Value> {
    let topic = TOPICS.iter().find(|topic| topic.name == api)?;
    Some(transcoder().ok()?.openapi(topic))
}

fn transcoder() -> Result<Transcoder, BuildError> {
    Transcoder::builder(proto::DESCRIPTOR_SET).build()
}

impl Topic {
    fn is_dialect(&self) -> bool {
        self.package.starts_with(DIALECT)
    }

    fn has_service(&self, service: &str) -> bool {
        service.starts_with(self.package) && service.starts_with(DIALECT) == self.is_dialect()
    }
}

impl Api for Topic {
    fn info(&self) -> Value {
        json!({
            "title": self.title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": self.description.trim(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        })
    }

    fn has(&self, method: &MethodInfo) -> bool {
        // What only services may call is not there for anybody else.
        self.has_service(&method.service) && requirement(&method.path) != Some(Requirement::Service)
    }

    fn security_schemes(&self) -> Map<String, Value> {
        security::schemes(|service| self.has_service(service), !self.is_dialect())
    }

    fn security(&self, method: &MethodInfo) -> Option<Vec<Value>> {
        Some(security::of(method))
    }

    fn note(&self, method: &MethodInfo) -> Option<String> {
        Some(match requirement(&method.path)? {
            Requirement::Permission(permission) => {
                format!("Requires the permission `{}`.", scope(permission))
            }
            Requirement::Public => "Anybody may call it.".to_owned(),
            Requirement::Authenticated | Requirement::Service => return None,
        })
    }

    fn error_body(&self, method: &MethodInfo) -> ErrorBody {
        let dialect = dialects::ALL.iter().find(|d| d.service == method.service);
        match (dialect, security::error(&method.service)) {
            (Some(dialect), _) if dialect.error_content.is_some() => {
                ErrorBody::Content(dialect.error_content.map_or(Value::Null, |make| make()))
            }
            (Some(_), Some(message)) => ErrorBody::Message(message),
            _ => ErrorBody::Status,
        }
    }

    fn refusals(&self, method: &MethodInfo) -> Vec<StatusCode> {
        let mut statuses = vec![StatusCode::TOO_MANY_REQUESTS];
        match requirement(&method.path) {
            Some(Requirement::Permission(_)) => {
                statuses.extend([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
            }
            Some(Requirement::Authenticated) => statuses.push(StatusCode::UNAUTHORIZED),
            _ => {}
        }
        statuses
    }
}
