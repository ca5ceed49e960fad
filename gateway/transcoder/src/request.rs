//! From an HTTP request to a message of a gRPC call.

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http_body::Body;

use crate::BoxError;
use crate::bind::query::Pairs;
use crate::bind::{self, FieldPath};
use crate::builder::Limits;
use crate::fault::{Fault, Outcome, Reason};
use crate::frames;
use crate::headers::{self, Media};
use crate::json::decode::Decoder;
use crate::json::mask;
use crate::json::reader::{Reader, Start};
use crate::plan::Plans;
use crate::route::{BodyPlan, EtagAt, Route};
use crate::wire;

/// Everything that is read to make one message.
pub(crate) struct Incoming<'a> {
    pub(crate) plans: &'a Plans,
    pub(crate) route: &'a Route,
    pub(crate) captures: &'a [String],
    pub(crate) limits: Limits,
    pub(crate) parts: &'a Parts,
    pub(crate) body: &'a [u8],
    pub(crate) media: Media,
    /// Whether an upload has begun before, and told its type.
    pub(crate) continues: bool,
}

/// Reads a body to its end, up to a limit.
pub(crate) async fn collect<B>(body: B, limit: usize) -> Outcome<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let too_large = || {
        Fault::new(
            Reason::BodyTooLarge,
            format!("the body is larger than {limit} bytes"),
        )
    };
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut body = std::pin::pin!(body);
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| unread(error.into()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + more.len() + data.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() {
        first
    } else {
        more.freeze()
    })
}

/// The fault of a body that could not be read to its end.
pub(crate) fn unread(error: BoxError) -> Box<Fault> {
    match is_limit(&*error) {
        true => Fault::new(Reason::BodyTooLarge, "the body is larger than allowed here"),
        false => Fault::new(Reason::UnreadableBody, "the body cannot be read to its end"),
    }
}

/// How the body of a request is to be read.
pub(crate) fn media(route: &Route, parts: &Parts) -> Outcome<Media> {
    let encoding = parts.headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::new(
            Reason::UnsupportedMediaType,
            "the body is encoded",
        ));
    }
    match headers::media(&parts.headers) {
        Media::Untyped if route.style.untyped_is_form() => Ok(Media::Form),
        Media::Untyped => Ok(Media::Json),
        media => Ok(media),
    }
}

/// The fault of a body that is of no type that is read here.
pub(crate) fn unsupported() -> Box<Fault> {
    Fault::new(
        Reason::UnsupportedMediaType,
        "the body is neither application/json nor application/x-www-form-urlencoded",
    )
}

impl Incoming<'_> {
    fn decoder(&self) -> Decoder<'_> {
        Decoder {
            plans: self.plans,
            style: &self.route.style,
        }
    }

    /// Appends the message, in its frame.
    pub(crate) fn frame(&self, out: &mut Vec<u8>) -> Outcome<()> {
        let start = frames::open(out);
        let mut given = Vec::new();
        self.body(out, &mut given)?;
        self.rest(start, out, &given)?;
        frames::close(out, start);
        Ok(())
    }

    /// Appends what does not come from the body to the message at `start`.
    fn rest(&self, start: usize, out: &mut Vec<u8>, given: &[FieldPath]) -> Outcome<()> {
        self.query(out)?;
        bind::path::bind(&self.decoder(), &self.route.variables, self.captures, out)?;
        self.headers(start, out)?;
        self.update_mask(start, out, given)
    }

    /// Writes the body; of a form also tells the fields that were given.
    fn body(&self, out: &mut Vec<u8>, given: &mut Vec<FieldPath>) -> Outcome<()> {
        if self.body.is_empty() {
            return Ok(());
        }
        let input = self.plans.message(self.route.input);
        match (self.route.body, self.media) {
            (BodyPlan::None, media) => self.no_body(media),
            (BodyPlan::Raw(None), _) => {
                self.raw(out);
                Ok(())
            }
            (BodyPlan::Raw(Some(index)), _) => {
                wire::put_nested(out, input.fields[index].number, |out| {
                    self.raw(out);
                    Ok(())
                })
            }
            (BodyPlan::Whole, Media::Form) => self.form(None, out, given),
            (BodyPlan::Field(index), Media::Form) => self.form(Some(index), out, given),
            (BodyPlan::Whole, Media::Json) => {
                self.decoder()
                    .document(self.body, self.limits.depth, self.route.input, out)
            }
            (BodyPlan::Field(index), Media::Json) => {
                let field = &input.fields[index];
                self.decoder()
                    .field_document(self.body, self.limits.depth, field, out)
            }
            (BodyPlan::Whole, Media::Wire) => {
                out.extend_from_slice(self.body);
                Ok(())
            }
            (BodyPlan::Field(index), Media::Wire) => {
                wire::put_bytes(out, input.fields[index].number, self.body);
                Ok(())
            }
            (_, Media::Csv | Media::Other | Media::Untyped) => Err(unsupported()),
        }
    }

    /// Some clients send an empty object with every request, which says nothing.
    fn no_body(&self, media: Media) -> Outcome<()> {
        let refused = || Fault::new(Reason::UnexpectedBody, "the method takes no body");
        let mut reader = Reader::new(self.body, self.limits.depth)?;
        if media != Media::Json || reader.start()? != Start::Object {
            return Err(refused());
        }
        reader.enter()?;
        let mut first = true;
        while let Some(key) = reader.key(&mut first)? {
            if !self.route.style.ignore_unknown {
                return Err(refused().in_field(&key));
            }
            reader.skip()?;
        }
        reader.end()
    }

    /// The fields of a `google.api.HttpBody`.
    fn raw(&self, out: &mut Vec<u8>) {
        let kind = self.parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.filter(|_| !self.continues);
        if let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) {
            wire::put_bytes(out, 1, kind.as_bytes());
        }
        wire::put_bytes(out, 2, self.body);
    }

    fn form(
        &self,
        field: Option<usize>,
        out: &mut Vec<u8>,
        given: &mut Vec<FieldPath>,
    ) -> Outcome<()> {
        let text = std::str::from_utf8(self.body)
            .map_err(|_| Fault::new(Reason::MalformedForm, "the form is not UTF-8"))?;
        let Some(index) = field else {
            let mut pairs = Pairs::new(self.decoder(), self.route.input, Reason::UnknownField);
            return pairs.bind(text, out, |path| given.push(path.clone()));
        };
        let field = &self.plans.message(self.route.input).fields[index];
        let Some(root) = field.singular_message() else {
            return Err(Fault::new(
                Reason::UnsupportedMediaType,
                "the body is not a message, so it cannot be a form",
            ));
        };
        let mut pairs = Pairs::new(self.decoder(), root, Reason::UnknownField);
        wire::put_nested(out, field.number, |out| {
            pairs.bind(text, out, |path| given.push(path.clone()))
        })
        .map_err(|fault| fault.in_field(&field.name))
    }

    fn query(&self, out: &mut Vec<u8>) -> Outcome<()> {
        let Some(query) = self.parts.uri.query().filter(|query| !query.is_empty()) else {
            return Ok(());
        };
        if query.len() > self.limits.query {
            let message = format!("the query is longer than {} bytes", self.limits.query);
            return Err(Fault::new(Reason::QueryTooLong, message));
        }
        let whole = matches!(self.route.body, BodyPlan::Whole | BodyPlan::Raw(None));
        if whole && self.route.style.ignore_unknown {
            return Ok(());
        }
        if whole {
            return Err(self.no_query(query));
        }
        let reason = Reason::UnknownQueryParameter;
        let pairs = Pairs::new(self.decoder(), self.route.input, reason);
        // http.proto: a query has what neither the path nor the body has.
        let mut pairs = pairs.without(self.route.body.field());
        pairs.bind(query, out, |_| ())
    }

    /// With the body `*` there is nothing left that a query could give.
    fn no_query(&self, query: &str) -> Box<Fault> {
        let key = query.split(['&', '=']).next().unwrap_or_default();
        let message = "the method takes no query, only a body";
        Fault::new(Reason::UnknownQueryParameter, message).in_field(key)
    }

    /// Headers that stand for fields which are still unset.
    fn headers(&self, start: usize, out: &mut Vec<u8>) -> Outcome<()> {
        if let Some(field) = self.route.request_id
            && let Some(key) = header_text(&self.parts.headers, &headers::IDEMPOTENCY_KEY)
            && !wire::has_field(&out[start..], field)
        {
            // The draft has it in quotes, and many clients send it without.
            let quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
            wire::put_bytes(out, field, quoted.unwrap_or(key).as_bytes());
        }
        let Some(EtagAt { within, number }) = self.route.etag else {
            return self.no_condition();
        };
        let Some(tag) = headers::if_match(&self.parts.headers)? else {
            return Ok(());
        };
        match within {
            None if !wire::has_field(&out[start..], number) => {
                wire::put_bytes(out, number, tag.as_bytes());
                Ok(())
            }
            Some(outer) if !wire::has_field_within(&out[start..], outer, number) => {
                wire::put_nested(out, outer, |out| {
                    wire::put_bytes(out, number, tag.as_bytes());
                    Ok(())
                })
            }
            _ => Ok(()),
        }
    }

    /// A condition that nobody checks must not be taken for one that holds (RFC
    /// 9110, 13.1.1); of reads and streams it is left to the service.
    fn no_condition(&self) -> Outcome<()> {
        let headers = &self.parts.headers;
        let method = &self.route.rule.method;
        let streams = method.client_streaming || method.server_streaming;
        let reads = matches!(self.parts.method, Method::GET | Method::HEAD);
        if streams || reads || matches!(headers::if_match(headers), Ok(None)) {
            return Ok(());
        }
        let message = "this method checks no etag; leave the header out";
        let fault = Fault::new(Reason::ConditionUnsupported, message);
        Err(fault.in_field(header::IF_MATCH.as_str()))
    }

    /// Without a mask of its own, a PATCH changes what its body holds.
    fn update_mask(&self, start: usize, out: &mut Vec<u8>, given: &[FieldPath]) -> Outcome<()> {
        let (Some(mask), BodyPlan::Field(index)) = (self.route.update_mask, self.route.body) else {
            return Ok(());
        };
        let field = &self.plans.message(self.route.input).fields[index];
        let Some(resource) = field.singular_message().filter(|_| !self.body.is_empty()) else {
            return Ok(());
        };
        if wire::has_field(&out[start..], mask) {
            return Ok(());
        }
        let paths = match self.media {
            Media::Json => mask::paths(&self.decoder(), resource, self.body, self.limits.depth)?,
            _ => given.iter().map(|path| self.dotted(path)).collect(),
        };
        wire::put_nested(out, mask, |out| {
            let masked = paths
                .iter()
                .filter(|path| !self.route.unmasked.contains(path));
            masked.for_each(|path| wire::put_bytes(out, 1, path.as_bytes()));
            Ok(())
        })
    }

    fn dotted(&self, path: &FieldPath) -> String {
        let name = |(id, index): &(usize, usize)| &*self.plans.message(*id).fields[*index].name;
        path.iter().map(name).collect::<Vec<_>>().join(".")
    }
}

fn header_text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers
        .get(name)?
        .to_str()
        .ok()
        .filter(|text| !text.is_empty())
}

/// Whether a body was cut by a layer in front that allows less.
fn is_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<http_body_util::LengthLimitError>())
}
