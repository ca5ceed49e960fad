//! From a rule to a route.

use std::sync::Arc;

use http::{Method, StatusCode};
use prost_reflect::MethodDescriptor;

use crate::bind::path::Decoding;
use crate::bind::{FieldPath, Lost, has_text, resolve};
use crate::plan::{Kind, Known, Message, MessageId, Plans, Shape};
use crate::route::{
    BodyPlan, CsvPlan, EtagAt, MethodInfo, PathVariable, ResponsePlan, Route, Rule, grpc_uri,
    position,
};
use crate::rule::HttpRule;
use crate::style::{MethodStyle, Style};
use crate::template::{Template, Variable};

/// Compiles one rule, or tells everything that is wrong with it.
pub(crate) fn compile(
    plans: &Plans,
    method: &MethodDescriptor,
    info: &Arc<MethodInfo>,
    rule: &HttpRule,
    style: Style,
    method_style: &MethodStyle,
    several: Decoding,
) -> Result<(Route, Template), Vec<String>> {
    let (http_method, text) = rule.target().map_err(|problem| vec![problem])?;
    let template = Template::parse(text).map_err(|refusal| vec![format!("{text}: {refusal}")])?;
    let input = plans.by_name(method.input().full_name());
    let output = plans.by_name(method.output().full_name());
    let (Some(input), Some(output), Some(uri)) = (input, output, grpc_uri(&info.path)) else {
        return Err(vec!["the method's types are missing".into()]);
    };
    let mut compiler = Compiler {
        plans,
        input,
        output,
        several,
        problems: Vec::new(),
    };
    let variables = compiler.variables(text, &template);
    let body = compiler.body(&rule.body);
    let response = compiler.response(info, &rule.response_body, &method_style.text_body);
    let csv = compiler.csv(info, response, &method_style.csv_columns);
    let success = compiler.success(method_style.success_status);
    let event_id = compiler.event_id(&method_style.event_id);
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    let plan = plans.message(input);
    let update_mask = (http_method == Some(Method::PATCH))
        .then(|| compiler.update_mask(body))
        .flatten();
    let mut unmasked = compiler.unmasked(body, &variables);
    let changes = matches!(http_method, Some(Method::PATCH | Method::PUT));
    let body_etag = changes.then(|| compiler.body_etag(body)).flatten();
    if body_etag.is_some() {
        unmasked.push("etag".to_owned());
    }
    let own_etag = plan.string_field("etag").map(|field| EtagAt {
        within: None,
        number: field.number,
    });
    let route = Route {
        rule: Rule {
            http_method,
            template: text.to_owned(),
            body: rule.body.clone(),
            response_body: rule.response_body.clone(),
            method: info.clone(),
        },
        uri,
        style,
        input,
        output,
        segments: template.segments.len(),
        many: template.many(),
        variables,
        body,
        response,
        success,
        event_id,
        request_id: plan.string_field("request_id").map(|field| field.number),
        etag: own_etag.or(body_etag),
        update_mask,
        unmasked,
        csv,
        response_etag: compiler.response_etag(response),
    };
    Ok((route, template))
}

struct Compiler<'a> {
    plans: &'a Plans,
    input: MessageId,
    output: MessageId,
    /// How variables of several segments are decoded.
    several: Decoding,
    problems: Vec<String>,
}

impl Compiler<'_> {
    fn variables(&mut self, text: &str, template: &Template) -> Vec<PathVariable> {
        let mut variables = Vec::new();
        for variable in &template.variables {
            match self.variable(variable) {
                Ok(field) => variables.push(PathVariable {
                    name: variable.path.join("."),
                    field,
                    start: variable.start,
                    end: variable.end,
                    decoding: match template.is_multi(variable) {
                        true => self.several,
                        false => Decoding::All,
                    },
                }),
                Err(problem) => {
                    let name = variable.path.join(".");
                    self.problems.push(format!("{text}: {{{name}}} {problem}"));
                }
            }
        }
        variables
    }

    fn variable(&self, variable: &Variable) -> Result<FieldPath, &'static str> {
        let names = variable.path.iter().map(String::as_str);
        let path = resolve(self.plans, self.input, names).map_err(|lost| match lost {
            Lost::Unknown(..) => "is not a field of the request",
            Lost::TooDeep => "leads too deep",
            Lost::NoMessage => "leads through something that has no fields",
        })?;
        let Some((id, index)) = path.last() else {
            return Err("is empty");
        };
        let field = &self.plans.message(*id).fields[*index];
        match field.shape {
            Shape::Singular if has_text(self.plans, field) => Ok(path),
            Shape::Singular => Err("is a message, which no path can hold"),
            _ => Err("is repeated, which no path can hold"),
        }
    }

    fn body(&mut self, name: &str) -> BodyPlan {
        let plan = self.plans.message(self.input);
        match name {
            "" => BodyPlan::None,
            "*" if plan.known == Some(Known::HttpBody) => BodyPlan::Raw(None),
            "*" => BodyPlan::Whole,
            name => match position(&plan.fields, name) {
                Some(index) if self.is_http_body(plan, index) => BodyPlan::Raw(Some(index)),
                Some(index) => BodyPlan::Field(index),
                None => {
                    self.problems
                        .push(format!("body {name:?} is not a field of {}", plan.name));
                    BodyPlan::None
                }
            },
        }
    }

    fn response(&mut self, info: &MethodInfo, name: &str, text: &str) -> ResponsePlan {
        let plan = self.plans.message(self.output);
        if !text.is_empty() {
            if info.server_streaming {
                let problem = format!("text_body {text:?} of a stream, which is no single text");
                self.problems.push(problem);
            }
            return match position(&plan.fields, text) {
                Some(index) if plan.fields[index].is_plain(Kind::String) => {
                    ResponsePlan::Text(index)
                }
                _ => {
                    self.problems.push(format!(
                        "text_body {text:?} is not a string of {}",
                        plan.name
                    ));
                    ResponsePlan::Whole
                }
            };
        }
        match name {
            "" if plan.known == Some(Known::HttpBody) => ResponsePlan::Raw(None),
            "" => ResponsePlan::Whole,
            name => match position(&plan.fields, name) {
                Some(index) if self.is_http_body(plan, index) => ResponsePlan::Raw(Some(index)),
                Some(index) => ResponsePlan::Field(index),
                None => {
                    self.problems.push(format!(
                        "response_body {name:?} is not a field of {}",
                        plan.name
                    ));
                    ResponsePlan::Whole
                }
            },
        }
    }

    /// The rows of a stream, if its messages can be rows.
    fn csv(&mut self, info: &MethodInfo, response: ResponsePlan, columns: &str) -> Option<CsvPlan> {
        let (input, output) = (
            self.plans.message(self.input),
            self.plans.message(self.output),
        );
        let root = match response {
            ResponsePlan::Whole => Some(self.output),
            ResponsePlan::Field(index) => output.fields[index].singular_message(),
            ResponsePlan::Text(_) | ResponsePlan::Raw(_) => None,
        };
        let root = root.filter(|id| self.plans.message(*id).known.is_none());
        let root = root.filter(|_| info.server_streaming);
        let field = position(&input.fields, columns).map(|index| &input.fields[index]);
        let field = field.filter(|f| f.kind == Kind::String && f.shape != Shape::Singular);
        if !columns.is_empty() && (field.is_none() || root.is_none()) {
            let text =
                format!("csv_columns {columns:?} is no repeated string, or nothing is a row");
            self.problems.push(text);
        }
        let columns = field.map(|field| field.number);
        root.map(|root| CsvPlan { root, columns })
    }

    fn event_id(&mut self, name: &str) -> Option<u32> {
        let plan = self.plans.message(self.output);
        let index = position(&plan.fields, name).filter(|_| !name.is_empty());
        let field = index.map(|index| &plan.fields[index]);
        let field = field.filter(|field| field.is_plain(Kind::String));
        if field.is_none() && !name.is_empty() {
            let problem = format!("event_id {name:?} is not a string of {}", plan.name);
            self.problems.push(problem);
        }
        field.map(|field| field.number)
    }

    fn is_http_body(&self, plan: &Message, index: usize) -> bool {
        let message = plan.fields[index].singular_message();
        message.is_some_and(|id| self.plans.message(id).known == Some(Known::HttpBody))
    }

    fn success(&mut self, status: i32) -> StatusCode {
        let code = match status {
            0 => Some(StatusCode::OK),
            200..=399 => u16::try_from(status)
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok()),
            _ => None,
        };
        code.unwrap_or_else(|| {
            self.problems
                .push(format!("success_status {status} is not a success"));
            StatusCode::OK
        })
    }

    /// `update_mask` of a request whose body is one of its messages.
    fn update_mask(&self, body: BodyPlan) -> Option<u32> {
        let plan = self.plans.message(self.input);
        let BodyPlan::Field(index) = body else {
            return None;
        };
        let resource = plan.fields[index].singular_message()?;
        if self.plans.message(resource).known.is_some() {
            return None;
        }
        let field = &plan.fields[position(&plan.fields, "update_mask")?];
        let mask = self.plans.message(field.singular_message()?);
        (mask.known == Some(Known::FieldMask)).then_some(field.number)
    }

    /// The variables of the path that lie within the body's field.
    fn unmasked(&self, body: BodyPlan, variables: &[PathVariable]) -> Vec<String> {
        let BodyPlan::Field(body) = body else {
            return Vec::new();
        };
        let name = |(id, index): &(MessageId, usize)| &*self.plans.message(*id).fields[*index].name;
        let within = variables
            .iter()
            .filter_map(|variable| match &*variable.field {
                [(_, first), below @ ..] if *first == body => {
                    Some(below.iter().map(name).collect::<Vec<_>>().join("."))
                }
                _ => None,
            });
        within.collect()
    }

    /// The `etag` of the resource that is the body.
    fn body_etag(&self, body: BodyPlan) -> Option<EtagAt> {
        let BodyPlan::Field(index) = body else {
            return None;
        };
        let field = &self.plans.message(self.input).fields[index];
        let resource = self.plans.message(field.singular_message()?);
        Some(EtagAt {
            within: Some(field.number),
            number: resource.string_field("etag")?.number,
        })
    }

    /// The response's `etag`, or else that of the field that is sent.
    fn response_etag(&self, response: ResponsePlan) -> Option<EtagAt> {
        let plan = self.plans.message(self.output);
        if let Some(field) = plan.string_field("etag") {
            return Some(EtagAt {
                within: None,
                number: field.number,
            });
        }
        let ResponsePlan::Field(index) = response else {
            return None;
        };
        let below = self.plans.message(plan.fields[index].singular_message()?);
        let number = below.string_field("etag")?.number;
        Some(EtagAt {
            within: Some(plan.fields[index].number),
            number,
        })
    }
}
