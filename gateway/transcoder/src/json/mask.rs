//! The paths that are present in a JSON document, as a field mask.

use super::decode::Decoder;
use super::reader::{Reader, Start};
use crate::fault::Outcome;
use crate::plan::MessageId;

/// The paths of all leaves, with the names of the .proto file. Lists, maps
/// and the types with a JSON of their own are leaves, and so is null.
pub(crate) fn paths(
    decoder: &Decoder<'_>,
    id: MessageId,
    json: &[u8],
    depth: usize,
) -> Outcome<Vec<String>> {
    let mut reader = Reader::new(json, depth)?;
    let mut paths = Vec::new();
    if reader.start()? == Start::Object {
        object(decoder, id, &mut reader, "", &mut paths)?;
    }
    Ok(paths)
}

fn object(
    decoder: &Decoder<'_>,
    id: MessageId,
    reader: &mut Reader<'_>,
    prefix: &str,
    paths: &mut Vec<String>,
) -> Outcome<()> {
    let plan = decoder.plans.message(id);
    let proto = decoder.style.proto_field_names;
    reader.enter()?;
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        let Some(index) = plan.by_key(&key, proto) else {
            reader.skip()?;
            continue;
        };
        let field = &plan.fields[index];
        let path = format!("{prefix}{}", field.name);
        let below = field
            .below()
            .filter(|id| decoder.plans.message(*id).known.is_none());
        match below {
            Some(below) if reader.start()? == Start::Object => {
                let before = paths.len();
                object(decoder, below, reader, &format!("{path}."), paths)?;
                // An empty object sets the message itself.
                if paths.len() == before {
                    paths.push(path);
                }
            }
            _ => {
                reader.skip()?;
                paths.push(path);
            }
        }
    }
    Ok(())
}
