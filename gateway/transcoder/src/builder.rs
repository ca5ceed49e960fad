//! From a descriptor set to a [`Transcoder`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::bind::path::Decoding;
use crate::compile::compile;
use crate::headers;
use crate::plan::Plans;
use crate::problem::{ErrorShape, GoogleErrors};
use crate::route::{MethodInfo, Route};
use crate::router::Router;
use crate::rule::{Document, HttpRule, extension};
use crate::style::{MethodStyle, Style};
use crate::transcoder::{Inner, Transcoder};

/// `google.api.http`.
const HTTP: u32 = 72_295_728;
/// `transcoder.v1.method` and `transcoder.v1.service`.
const STYLE: u32 = 51_201;

/// How much of a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body that is one message, 4 MiB if not said otherwise.
    pub body: usize,
    /// Bytes of each message of a body that is a stream of them, 4 MiB. The
    /// stream itself may be of any length.
    pub message: usize,
    /// Objects and arrays of a JSON body inside each other, 64.
    pub depth: usize,
    /// Bytes of a query, 16 KiB.
    pub query: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            message: 4 << 20,
            depth: 64,
            query: 16 << 10,
        }
    }
}

impl Limits {
    /// Limits the bytes of a body that is one message.
    pub fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// Limits the bytes of each message of a client stream.
    pub fn message(mut self, bytes: usize) -> Self {
        self.message = bytes;
        self
    }

    /// Limits how deep a JSON body may be nested.
    pub fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Limits the bytes of a query.
    pub fn query(mut self, bytes: usize) -> Self {
        self.query = bytes;
        self
    }
}

/// Everything that is wrong with the rules, found at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<String>,
}

impl BuildError {
    pub(crate) fn one(problem: String) -> Self {
        Self {
            problems: vec![problem],
        }
    }

    /// One line for each problem.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for BuildError {}

type ServiceFilter = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Builds a [`Transcoder`].
pub struct Builder {
    set: Bytes,
    filter: ServiceFilter,
    limits: Limits,
    documents: Vec<Result<Document, String>>,
    fully_decoded: bool,
    forward: headers::Forward,
    stream_errors: Arc<dyn ErrorShape>,
    heartbeat: Option<Duration>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(set: Bytes) -> Self {
        Self {
            set,
            filter: Box::new(|_| true),
            limits: Limits::default(),
            documents: Vec::new(),
            fully_decoded: false,
            forward: Box::new(headers::forwarded),
            stream_errors: Arc::new(GoogleErrors),
            heartbeat: None,
        }
    }

    /// Leaves out the services (by full name) that `keep` does not keep.
    pub fn service_filter(mut self, keep: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Box::new(keep);
        self
    }

    /// Limits how much of a request is read.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds the rules of a `google.api.Http` JSON document, also as the `http`
    /// member of a service configuration. They replace a method's annotation.
    ///
    /// A selector is a list of full names of methods, separated by commas, and
    /// `library.v1.Library.*` selects all below. Of several rules for a method
    /// the last one counts.
    pub fn rules_from_json(mut self, document: impl AsRef<str>) -> Self {
        self.documents.push(Document::from_json(document.as_ref()));
        self
    }

    /// Adds the rules of a service configuration in YAML (`type:
    /// google.api.Service`), as [`rules_from_json`](Self::rules_from_json)
    /// does those of one in JSON.
    #[cfg(feature = "yaml")]
    pub fn rules_from_yaml(mut self, document: impl AsRef<str>) -> Self {
        self.documents.push(Document::from_yaml(document.as_ref()));
        self
    }

    /// Decodes also the reserved characters of RFC 6570 in path variables of
    /// several segments, all but `/`: `google.api.Http`'s member of that name,
    /// which a document can set too.
    pub fn fully_decode_reserved_expansion(mut self, fully: bool) -> Self {
        self.fully_decoded = fully;
        self
    }

    /// Chooses the request headers that become metadata, in place of
    /// [`forwarded`](crate::forwarded). Hop-by-hop headers and those that
    /// describe the body never do.
    pub fn forward_headers(
        mut self,
        forward: impl Fn(&HeaderName) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.forward = Box::new(forward);
        self
    }

    /// Gives errors their shape that come after a stream has begun, unless
    /// the call's own shape has one ([`ErrorShape::for_stream`]). Of the
    /// shaped answer only the body is used, as `{"error": ...}`, so it must be
    /// JSON on one line.
    pub fn stream_errors(mut self, errors: Arc<dyn ErrorShape>) -> Self {
        self.stream_errors = errors;
        self
    }

    /// Sends a comment on a stream of server-sent events that was silent for
    /// this long, so that proxies do not take it for dead; 15 seconds will do.
    /// None is sent if not said otherwise. Needs a tokio runtime with timers.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = Some(every);
        self
    }

    /// Compiles all rules; every problem is told, not only the first.
    pub fn build(self) -> Result<Transcoder, BuildError> {
        let pool = DescriptorPool::decode(self.set.clone())
            .map_err(|error| BuildError::one(format!("the descriptor set: {error}")))?;
        let mut work = Work {
            plans: Arc::new(Plans::compile(pool.clone())),
            method_options: pool.get_message_by_name("google.protobuf.MethodOptions"),
            overrides: Vec::new(),
            several: Decoding::ExceptReserved,
            routes: Vec::new(),
            router: Router::default(),
            problems: Vec::new(),
        };
        if self.fully_decoded {
            work.several = Decoding::ExceptSlash;
        }
        work.take_documents(self.documents);
        for service in pool
            .services()
            .filter(|service| (self.filter)(service.full_name()))
        {
            work.service(&service);
        }
        work.unknown_selectors(&pool);
        if !work.problems.is_empty() {
            return Err(BuildError {
                problems: work.problems,
            });
        }
        Ok(Transcoder::new(Inner {
            plans: work.plans,
            routes: work.routes,
            router: work.router,
            limits: self.limits,
            forward: self.forward,
            stream_errors: self.stream_errors,
            heartbeat: self.heartbeat,
        }))
    }
}

/// What a build has so far.
struct Work {
    plans: Arc<Plans>,
    method_options: Option<MessageDescriptor>,
    overrides: Vec<HttpRule>,
    /// How variables of several segments are decoded.
    several: Decoding,
    routes: Vec<Arc<Route>>,
    router: Router,
    problems: Vec<String>,
}

impl Work {
    fn take_documents(&mut self, documents: Vec<Result<Document, String>>) {
        for document in documents {
            match document {
                Ok(document) => {
                    self.overrides.extend(document.rules);
                    if document.fully_decode_reserved_expansion {
                        self.several = Decoding::ExceptSlash;
                    }
                }
                Err(error) => self.problems.push(format!("the rules: {error}")),
            }
        }
    }

    fn unknown_selectors(&mut self, pool: &DescriptorPool) {
        let methods: Vec<String> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| method.full_name().to_owned())
            .collect();
        let unknown = self
            .overrides
            .iter()
            .filter(|rule| !methods.iter().any(|method| rule.selects(method)))
            .map(|rule| format!("{}: no such method", rule.selector));
        self.problems.extend(unknown);
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        let pool = service.parent_pool();
        let options = pool.get_message_by_name("google.protobuf.ServiceOptions");
        let style: Style =
            extension(&service.options(), options.as_ref(), STYLE).unwrap_or_default();
        for method in service.methods() {
            self.method(&method, style);
        }
    }

    fn method(&mut self, method: &MethodDescriptor, style: Style) {
        let options = method.options();
        let annotated = || extension(&options, self.method_options.as_ref(), HTTP);
        let mut overrides = self.overrides.iter().rev();
        let rule = overrides
            .find(|rule| rule.selects(method.full_name()))
            .cloned()
            .or_else(annotated);
        let Some(rule) = rule else { return };
        let method_style: MethodStyle =
            extension(&options, self.method_options.as_ref(), STYLE).unwrap_or_default();
        let info = Arc::new(info(method));
        if rule
            .additional_bindings
            .iter()
            .any(|rule| !rule.additional_bindings.is_empty())
        {
            self.problems.push(format!(
                "{}: additional_bindings inside additional_bindings",
                method.full_name()
            ));
        }
        for rule in std::iter::once(&rule).chain(&rule.additional_bindings) {
            let several = self.several;
            match compile(
                &self.plans,
                method,
                &info,
                rule,
                style,
                &method_style,
                several,
            ) {
                Ok((route, template)) => self.add(route, &template),
                Err(problems) => self.problems.extend(
                    problems
                        .into_iter()
                        .map(|problem| format!("{}: {problem}", method.full_name())),
                ),
            }
        }
    }

    fn add(&mut self, route: Route, template: &crate::template::Template) {
        let rule = &route.rule;
        let id = self.routes.len();
        if let Err(there) = self.router.insert(rule.http_method.as_ref(), template, id) {
            let other = &self.routes[there].rule;
            self.problems.push(format!(
                "{} {} of {} has the shape of {} of {}",
                rule.http_method
                    .as_ref()
                    .map_or("*", |method| method.as_str()),
                rule.template,
                rule.method.path,
                other.template,
                other.method.path,
            ));
        }
        self.routes.push(Arc::new(route));
    }
}

fn info(method: &MethodDescriptor) -> MethodInfo {
    let service = method.parent_service().full_name().to_owned();
    MethodInfo {
        path: format!("/{service}/{}", method.name()),
        service,
        name: method.name().to_owned(),
        input: method.input().full_name().to_owned(),
        output: method.output().full_name().to_owned(),
        client_streaming: method.is_client_streaming(),
        server_streaming: method.is_server_streaming(),
    }
}
