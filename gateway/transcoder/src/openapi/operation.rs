//! The document: its paths, and what each operation is.

use std::collections::{BTreeMap, HashMap};

use http::StatusCode;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde_json::{Map, Value, json};

use super::comment::split;
use super::component::{Purpose, View};
use super::path::Path;
use super::schema::{Schemas, describe, is_deprecated, name};
use super::{Api, ErrorBody, example};
use crate::plan::Plans;
use crate::route::Route;
use crate::template::Template;
use crate::transcoder::Transcoder;

/// The methods that a Path Item Object has a place for.
const METHODS: [&str; 8] = [
    "GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE",
];

/// The whole document.
pub(super) fn document(transcoder: &Transcoder, api: &dyn Api) -> Value {
    let inner = transcoder.inner();
    let mut work = Work {
        api,
        plans: &inner.plans,
        pool: inner.plans.pool(),
        schemas: Schemas::new(inner.plans.pool()),
        paths: Map::new(),
        tags: Vec::new(),
        unlisted: Vec::new(),
        bindings: HashMap::new(),
        responses: BTreeMap::new(),
    };
    let routes = inner
        .routes
        .iter()
        .filter(|route| api.has(&route.rule.method));
    let (routes, mut paths): (Vec<_>, Vec<_>) = routes
        .filter_map(|route| Some((route, work.path(route)?)))
        .unzip();
    agree(&mut paths);
    for (route, path) in routes.into_iter().zip(&paths) {
        work.route(route, path);
    }
    work.finish()
}

/// Paths of one shape are one path, and so have one name for each parameter.
fn agree(paths: &mut [Path]) {
    let mut best: HashMap<String, Path> = HashMap::new();
    for path in paths.iter() {
        let known = best.entry(path.shape()).or_insert_with(|| path.clone());
        known.agree(path);
    }
    for path in paths {
        if let Some(known) = best.get(&path.shape()) {
            path.agree(known);
        }
    }
}

/// What a document has so far.
struct Work<'a> {
    api: &'a dyn Api,
    plans: &'a Plans,
    pool: &'a DescriptorPool,
    schemas: Schemas,
    paths: Map<String, Value>,
    tags: Vec<Value>,
    unlisted: Vec<String>,
    /// How many rules of a method there were.
    bindings: HashMap<String, usize>,
    /// Error responses that operations refer to, by name.
    responses: BTreeMap<String, Value>,
}

impl Work<'_> {
    /// The path of a route, with its parameters named in the service's style.
    fn path(&self, route: &Route) -> Option<Path> {
        let view = View::new(route.style, Purpose::Request);
        let names: Vec<String> = route
            .variables
            .iter()
            .map(|variable| {
                let steps = variable.field.iter().map(|(message, index)| {
                    let plan = self.plans.message(*message);
                    let message = self.pool.get_message_by_name(&plan.name);
                    let field = &plan.fields[*index];
                    let known = message.and_then(|m| m.get_field(field.number));
                    known.map_or_else(|| field.name.to_string(), |field| name(&field, view))
                });
                steps.collect::<Vec<_>>().join(".")
            })
            .collect();
        let template = Template::parse(&route.rule.template).ok()?;
        Some(Path::of(&template, &names))
    }

    fn route(&mut self, route: &Route, path: &Path) {
        let method = route.rule.http_method.as_ref().map_or("*", |m| m.as_str());
        let text = path.text();
        let Some(rpc) = self.rpc(route) else { return };
        let taken = self
            .paths
            .get(&text)
            .and_then(|item| item.get(method.to_lowercase()));
        if !METHODS.contains(&method) || taken.is_some() {
            self.unlisted.push(format!("{method} {text}"));
            return;
        }
        self.tag(&rpc);
        let operation = self.operation(route, path, &rpc);
        let item = self.paths.entry(text).or_insert_with(|| json!({}));
        item[method.to_lowercase()] = operation;
    }

    fn rpc(&self, route: &Route) -> Option<MethodDescriptor> {
        let service = self.pool.get_service_by_name(&route.rule.method.service)?;
        service
            .methods()
            .find(|method| method.name() == route.rule.method.name)
    }

    /// A tag for each service.
    fn tag(&mut self, rpc: &MethodDescriptor) {
        let service = rpc.parent_service();
        if !self.tags.iter().any(|tag| tag["name"] == service.name()) {
            let mut tag = json!({"name": service.name()});
            describe(&mut tag, self.schemas.comments.of(service));
            self.tags.push(tag);
        }
    }

    fn operation(&mut self, route: &Route, path: &Path, rpc: &MethodDescriptor) -> Value {
        let (input, output) = (rpc.input(), rpc.output());
        let info = &route.rule.method;
        let service = rpc.parent_service();
        let nth = self.bindings.entry(info.path.clone()).or_default();
        *nth += 1;
        let id = match *nth {
            1 => format!("{}_{}", service.name(), info.name),
            nth => format!("{}_{}{nth}", service.name(), info.name),
        };
        let mut operation = json!({"operationId": id, "tags": [service.name()]});
        let (summary, rest) = split(self.schemas.comments.of(rpc));
        if !summary.is_empty() {
            operation["summary"] = summary.into();
        }
        let note = self.api.note(info).unwrap_or_default();
        describe(&mut operation, format!("{rest}\n\n{note}").trim());
        if is_deprecated(&rpc.options()) || is_deprecated(&service.options()) {
            operation["deprecated"] = true.into();
        }
        let parameters = self.schemas.parameters(route, &input, path);
        let body = self.schemas.request_body(route, &input);
        let mut refusals = self.api.refusals(info);
        if !parameters.is_empty() || body.is_some() {
            refusals.push(StatusCode::BAD_REQUEST);
        }
        if path.parameters().next().is_some() {
            refusals.push(StatusCode::NOT_FOUND);
        }
        if route.etag.is_some() {
            refusals.push(StatusCode::PRECONDITION_FAILED);
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        let mut responses = Map::new();
        let success = self.schemas.success(route, &output);
        responses.insert(route.success.as_str().to_owned(), success);
        if super::parameter::is_cached(route) {
            let unchanged = json!({"description": "The client has the answer already."});
            responses.insert("304".into(), unchanged);
        }
        self.refusals(route, refusals, &mut responses);
        operation["responses"] = responses.into();
        if let Some(security) = self.api.security(info) {
            operation["security"] = security.into();
        }
        operation
    }

    fn refusals(
        &mut self,
        route: &Route,
        mut statuses: Vec<StatusCode>,
        responses: &mut Map<String, Value>,
    ) {
        statuses.sort();
        statuses.dedup();
        let listed = statuses.into_iter().map(Some).chain([None]);
        for status in listed {
            let key = status.map_or("default".to_owned(), |s| s.as_str().to_owned());
            let response = self.refusal(route, status);
            responses.entry(key).or_insert(response);
        }
    }

    /// A reference to the response of an error, made at its first use.
    fn refusal(&mut self, route: &Route, status: Option<StatusCode>) -> Value {
        let content = match self.api.error_body(&route.rule.method) {
            ErrorBody::Status => {
                json!({"application/json": {"schema": {"$ref": "#/components/schemas/RpcStatus"}}})
            }
            ErrorBody::Content(content) => content,
            ErrorBody::Message(message) => match self.pool.get_message_by_name(&message) {
                Some(message) => {
                    let view = View::new(route.style, Purpose::Answer);
                    let schema = self.schemas.message(&message, view, Default::default());
                    json!({"application/json": {"schema": schema}})
                }
                None => json!({}),
            },
        };
        let description = status.map_or("Any other error.", describe_status);
        let response = json!({"description": description, "content": content});
        let reason = status.and_then(|s| s.canonical_reason()).unwrap_or("Error");
        let base: String = reason.split([' ', '-']).collect();
        let numbered = (2..).map(|n| format!("{base}{n}"));
        let mut names = std::iter::once(base.clone()).chain(numbered);
        let fits = |name: &String| self.responses.get(name).is_none_or(|r| *r == response);
        let name = names.find(fits).unwrap_or(base);
        self.responses.entry(name.clone()).or_insert(response);
        json!({"$ref": format!("#/components/responses/{name}")})
    }

    fn finish(mut self) -> Value {
        self.schemas.complete();
        let responses: Map<String, Value> = self.responses.into_iter().collect();
        let status = Value::Object(responses.clone())
            .to_string()
            .contains("#/components/schemas/RpcStatus\"");
        let mut document = json!({"openapi": "3.1.0", "info": self.api.info()});
        let servers = self.api.servers();
        if !servers.is_empty() {
            document["servers"] = servers.into();
        }
        document["tags"] = self.tags.into();
        document["paths"] = self.paths.into();
        document["components"] = json!({"responses": responses});
        let mut schemas = self.schemas.parts.name(&mut document);
        if status {
            schemas.insert("RpcStatus".into(), google_status());
            schemas.sort_keys();
        }
        document["components"]["schemas"] = schemas.into();
        let schemes = self.api.security_schemes();
        if !schemes.is_empty() {
            document["components"]["securitySchemes"] = schemes.into();
        }
        if !self.unlisted.is_empty() {
            document["x-unlisted-rules"] = self.unlisted.into();
        }
        example::fill(&mut document);
        document
    }
}

fn describe_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request is malformed or breaks a rule; the answer names what is wrong.",
        401 => "There is no credential, or it is not good.",
        403 => "The credential does not allow this.",
        404 => "There is no such thing, or the caller may not see it.",
        409 => "The request does not fit what is there.",
        412 => "A condition of the request does not hold.",
        413 => "The request is too large.",
        429 => "There were too many requests.",
        501 => "This is not served.",
        503 => "What is needed cannot be reached now.",
        _ => status.canonical_reason().unwrap_or("An error."),
    }
}

/// `google.rpc.Status`, as `GoogleErrors` prints it.
fn google_status() -> Value {
    json!({
        "type": "object",
        "description": "An error (`google.rpc.Status`).",
        "properties": {
            "code": {
                "type": "integer",
                "description": "The `google.rpc.Code`: 3 invalid argument, 5 not found, 7 permission denied, 16 unauthenticated and so on.",
                "minimum": 1,
                "maximum": 16
            },
            "message": {"type": "string", "description": "What is wrong, for people."},
            "details": {
                "type": "array",
                "description": "What is wrong, for programs: `google.rpc.ErrorInfo` has a stable `reason`, `google.rpc.BadRequest` names fields.",
                "items": {
                    "type": "object",
                    "properties": {"@type": {"type": "string"}},
                    "required": ["@type"]
                }
            }
        },
        "required": ["code", "message", "details"],
        "examples": [{
            "code": 3,
            "message": "the request is not valid",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "display_name", "description": "must have at least 1 character"}]
            }]
        }]
    })
}
