//! From a descriptor set to a [`Transcoder`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::compile::compile;
use crate::headers;
use crate::plan::Plans;
use crate::problem::{ErrorShape, GoogleErrors};
use crate::route::{MethodInfo, Route};
use crate::router::Router;
use crate::rule::{HttpRule, extension};
use crate::style::{MethodStyle, Style};
use crate::transcoder::{Inner, Transcoder};

/// `google.api.http`.
const HTTP: u32 = 72_295_728;
/// `transcoder.v1.method` and `transcoder.v1.service`.
const STYLE: u32 = 51_201;

/// How much of a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body, 4 MiB if not said otherwise.
    pub body: usize,
    /// Objects and arrays of a JSON body inside each other, 64.
    pub depth: usize,
    /// Bytes of a query, 16 KiB.
    pub query: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 << 20,
            depth: 64,
            query: 16 << 10,
        }
    }
}

impl Limits {
    /// Limits the bytes of a body.
    pub fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
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
    documents: Vec<String>,
    forward: headers::Forward,
    stream_errors: Arc<dyn ErrorShape>,
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
            forward: Box::new(headers::forwarded),
            stream_errors: Arc::new(GoogleErrors),
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
    pub fn rules_from_json(mut self, document: impl Into<String>) -> Self {
        self.documents.push(document.into());
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

    /// Compiles all rules; every problem is told, not only the first.
    pub fn build(self) -> Result<Transcoder, BuildError> {
        let pool = DescriptorPool::decode(self.set.clone())
            .map_err(|error| BuildError::one(format!("the descriptor set: {error}")))?;
        let mut work = Work {
            plans: Arc::new(Plans::compile(pool.clone())),
            method_options: pool.get_message_by_name("google.protobuf.MethodOptions"),
            overrides: HashMap::new(),
            routes: Vec::new(),
            router: Router::default(),
            problems: Vec::new(),
        };
        work.read_documents(&self.documents);
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
        }))
    }
}

/// What a build has so far.
struct Work {
    plans: Arc<Plans>,
    method_options: Option<MessageDescriptor>,
    overrides: HashMap<String, HttpRule>,
    routes: Vec<Arc<Route>>,
    router: Router,
    problems: Vec<String>,
}

impl Work {
    fn read_documents(&mut self, documents: &[String]) {
        for document in documents {
            match HttpRule::from_json(document) {
                Ok(rules) => {
                    // Of several rules for one selector the last one counts.
                    self.overrides
                        .extend(rules.into_iter().map(|rule| (rule.selector.clone(), rule)));
                }
                Err(error) => self.problems.push(format!("the rules: {error}")),
            }
        }
    }

    fn unknown_selectors(&mut self, pool: &DescriptorPool) {
        let known: HashSet<String> = pool
            .services()
            .flat_map(|service| {
                service
                    .methods()
                    .map(|m| m.full_name().to_owned())
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut unknown: Vec<&String> = self
            .overrides
            .keys()
            .filter(|selector| !known.contains(*selector))
            .collect();
        unknown.sort();
        let lines = unknown
            .iter()
            .map(|selector| format!("{selector}: no such method"));
        self.problems.extend(lines.collect::<Vec<_>>());
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
        let rule = self
            .overrides
            .get(method.full_name())
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
            match compile(&self.plans, method, &info, rule, style, &method_style) {
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
