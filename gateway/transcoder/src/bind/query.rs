//! Queries and forms: `a.b=1&list=x&list=y&map[key]=v`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use percent_encoding::percent_decode_str;

use super::{FieldPath, Lost, has_json, has_text, put, put_entry, resolve};
use crate::fault::{Fault, Outcome, Reason};
use crate::json::decode::Decoder;
use crate::nearby;
use crate::plan::{MessageId, Shape};

/// Binds the pairs of one query or form.
pub(crate) struct Pairs<'d> {
    decoder: Decoder<'d>,
    root: MessageId,
    /// The reason for keys that are not known.
    unknown: Reason,
    /// The field of the root that the body gives, and so nothing else.
    taken: Option<usize>,
    seen: HashSet<(FieldPath, String)>,
    /// The member of each oneof that was given.
    oneofs: HashMap<(FieldPath, u16), usize>,
}

impl<'d> Pairs<'d> {
    pub(crate) fn new(decoder: Decoder<'d>, root: MessageId, unknown: Reason) -> Self {
        Self {
            decoder,
            root,
            unknown,
            taken: None,
            seen: HashSet::new(),
            oneofs: HashMap::new(),
        }
    }

    /// The same without a field, or anything below it, that the body gives.
    pub(crate) fn without(self, taken: Option<usize>) -> Self {
        Self { taken, ..self }
    }

    /// Appends all pairs of a text and tells each field to `each`.
    pub(crate) fn bind(
        &mut self,
        text: &str,
        out: &mut Vec<u8>,
        mut each: impl FnMut(&FieldPath),
    ) -> Outcome<()> {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = unescape(key)
                .ok_or_else(|| Fault::new(self.unknown, "a name that is not UTF-8"))?;
            let (name, entry) = split_entry(&key);
            let path = match resolve(self.decoder.plans, self.root, name.split('.')) {
                Ok(path) if !self.is_taken(&path) => path,
                Ok(_) if self.decoder.style.ignore_unknown => continue,
                Ok(_) => {
                    let message = "the body gives this field, not the query";
                    return Err(Fault::new(self.unknown, message).in_field(&key));
                }
                Err(Lost::TooDeep) => {
                    return Err(Fault::new(Reason::TooDeep, "a name of too many fields"));
                }
                Err(_) if self.decoder.style.ignore_unknown => continue,
                Err(lost) => return Err(self.lost(lost, name).in_field(&key)),
            };
            let entry = entry.filter(|entry| !entry.is_empty() || !self.is_list(&path));
            self.once(&path, entry)?;
            let value = unescape(value)
                .ok_or_else(|| Fault::invalid("the value is not UTF-8").in_field(name))?;
            match entry {
                Some(entry) => put_entry(&self.decoder, &path, entry, value, out)?,
                None => put(&self.decoder, &path, value, out)?,
            }
            each(&path);
        }
        Ok(())
    }

    fn is_taken(&self, path: &FieldPath) -> bool {
        let first = path.first().map(|(_, index)| *index);
        self.taken.is_some() && first == self.taken
    }

    fn lost(&self, lost: Lost, name: &str) -> Box<Fault> {
        let Decoder { plans, style } = self.decoder;
        let message = match lost {
            Lost::Unknown(id, place) => {
                let part = name.split('.').nth(place).unwrap_or(name);
                let near = nearby::fields(plans.message(id), part, style.proto_field_names);
                format!("unknown{near}")
            }
            Lost::NoMessage | Lost::TooDeep => "there are no fields below this one".to_owned(),
        };
        Fault::new(self.unknown, message)
    }

    /// Whether a field may be given more than once.
    fn is_list(&self, path: &FieldPath) -> bool {
        path.last().is_some_and(|(id, index)| {
            let plans = self.decoder.plans;
            let field = &plans.message(*id).fields[*index];
            let given_so = has_text(plans, field) || has_json(plans, field);
            matches!(field.shape, Shape::List { .. }) && given_so
        })
    }

    /// Only lists may be given more than once, and of a oneof only one.
    fn once(&mut self, path: &FieldPath, entry: Option<&str>) -> Outcome<()> {
        let plans = self.decoder.plans;
        let list = self.is_list(path);
        let key = || (path.clone(), entry.unwrap_or_default().to_owned());
        let message = if !list && !self.seen.insert(key()) {
            "given twice"
        } else if !self.alone(path) {
            "another member of the same oneof is given too"
        } else {
            return Ok(());
        };
        let fault = Fault::new(Reason::DuplicateField, message);
        Err(path.iter().rev().fold(fault, |fault, (id, index)| {
            fault.in_field(&plans.message(*id).fields[*index].name)
        }))
    }

    /// Whether every oneof on the way has been given this member only.
    fn alone(&mut self, path: &FieldPath) -> bool {
        let plans = self.decoder.plans;
        path.iter().enumerate().all(|(depth, (id, index))| {
            plans.message(*id).fields[*index].oneof.is_none_or(|oneof| {
                let place = (path[..depth].to_vec(), oneof);
                *self.oneofs.entry(place).or_insert(*index) == *index
            })
        })
    }
}

/// `map[key]` as the map and the key; `list[]`, as some clients write lists, has
/// an empty one.
pub(crate) fn split_entry(key: &str) -> (&str, Option<&str>) {
    match key.strip_suffix(']').and_then(|key| key.split_once('[')) {
        Some((name, entry)) => (name, Some(entry)),
        None => (key, None),
    }
}

/// Decodes `application/x-www-form-urlencoded`.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().ok();
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(|text| Cow::Owned(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_as_forms_are() {
        assert_eq!(unescape("a+b%2Bc%20d").as_deref(), Some("a b+c d"));
        assert_eq!(unescape("%ff"), None);
        assert_eq!(split_entry("labels[a.b]"), ("labels", Some("a.b")));
        assert_eq!(split_entry("labels"), ("labels", None));
    }
}
