//! The trace that a request is part of (W3C Trace Context). Muster records no
//! spans, so it hands on what it was given, for those that do.

use http::{HeaderMap, HeaderName, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// Bytes of a state that are handed on; all must bear 512.
const LONGEST: usize = 1024;

/// A trace's id and the span that the request came from, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    parent: Option<HeaderValue>,
    state: Option<HeaderValue>,
}

impl Trace {
    /// What the headers of a request say of it. A parent that is malformed is
    /// none, and there is no state without one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all(PARENT).iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(parent), None) if is_parent(parent.as_bytes()) => parent.clone(),
            _ => return Self::default(),
        };
        let states = headers.get_all(STATE).iter();
        let states: Vec<&[u8]> = states.map(HeaderValue::as_bytes).collect();
        // A list in several headers is one list.
        let state = Some(states.join(&b','))
            .filter(|state| (1..=LONGEST).contains(&state.len()))
            .and_then(|state| HeaderValue::try_from(state).ok());
        Self {
            parent: Some(parent),
            state,
        }
    }

    /// Writes it into the headers of a request, in place of what they say.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in [(PARENT, &self.parent), (STATE, &self.state)] {
            match value {
                Some(value) => headers.insert(name, value.clone()),
                None => headers.remove(name),
            };
        }
    }
}

/// `00-<32 digits>-<16 digits>-<2 digits>`; later versions may add to it.
fn is_parent(value: &[u8]) -> bool {
    let (Some(known), rest) = (value.get(..55), value.get(55..).unwrap_or_default()) else {
        return false;
    };
    let digits = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let (version, trace, span, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let is_id = |part: &[u8]| digits(part) && part.iter().any(|b| *b != b'0');
    let ends = match version {
        b"00" => rest.is_empty(),
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let dashes = [known[2], known[35], known[52]] == *b"---";
    digits(version)
        && version != b"ff"
        && is_id(trace)
        && is_id(span)
        && digits(flags)
        && dashes
        && ends
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_trace_goes_on_as_it_came() {
        let came = headers(&[
            ("traceparent", SOUND),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ]);
        let mut goes = headers(&[("tracestate", "mine=1"), ("tracestate", "mine=2")]);
        Trace::of(&came).write(&mut goes);
        let want = headers(&[("traceparent", SOUND), ("tracestate", "a=1,b=2")]);
        assert_eq!(goes, want);
        Trace::default().write(&mut goes);
        assert!(goes.is_empty());
    }

    #[test]
    fn a_parent_that_is_malformed_is_none() {
        let later = SOUND.replacen("00", "cc", 1);
        for sound in [SOUND, &later, &format!("{later}-more")] {
            assert!(is_parent(sound.as_bytes()), "{sound}");
        }
        for wrong in [
            "",
            "00",
            &SOUND.to_uppercase(),
            &SOUND.replacen("00", "ff", 1),
            &format!("{SOUND}-more"),
            &format!("{later}more"),
            &SOUND.replace('-', "_"),
            &SOUND.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &SOUND.replace("b7ad6b7169203331", &"0".repeat(16)),
            &SOUND[..54],
        ] {
            let came = headers(&[("traceparent", wrong), ("tracestate", "a=1")]);
            assert_eq!(Trace::of(&came), Trace::default(), "{wrong}");
        }
        let twice = headers(&[("traceparent", SOUND), ("traceparent", SOUND)]);
        assert_eq!(Trace::of(&twice), Trace::default());
        let long = format!("a={}", "x".repeat(LONGEST));
        let long = headers(&[("traceparent", SOUND), ("tracestate", &long)]);
        assert_eq!(Trace::of(&long).state, None);
    }
}
