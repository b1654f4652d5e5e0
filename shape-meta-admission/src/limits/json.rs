use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{AdmissionLimits, LimitsProblem};
use crate::Kind;

/// Parses limits strictly. The syntax is checked first, so that every later problem has a key.
pub(super) fn parse(text: &str) -> Result<AdmissionLimits, LimitsProblem> {
    if text.trim_ascii().is_empty() {
        return Err(LimitsProblem::Empty);
    }
    let syntax = |why: serde_json::Error| LimitsProblem::Syntax { why: why.to_string() };
    let whole: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    if !whole.get().starts_with('{') {
        return Err(LimitsProblem::NotAnObject { found: json_type(whole) });
    }
    let Members(members) = serde_json::from_str(text).map_err(syntax)?;

    let mut found = [None; 2];
    for (key, value) in members {
        let Some(at) = Kind::ALL.iter().position(|kind| kind.name() == key) else {
            return Err(LimitsProblem::UnknownKey { key: truncate(&key) });
        };
        let key = Kind::ALL[at].name();
        if found[at].replace(number(key, &value)?).is_some() {
            return Err(LimitsProblem::DuplicateKey { key });
        }
    }
    let [initial, existing] = found;
    let missing = |kind: Kind| LimitsProblem::MissingKey { key: kind.name() };
    Ok(AdmissionLimits {
        initial: initial.ok_or_else(|| missing(Kind::Initial))?,
        existing: existing.ok_or_else(|| missing(Kind::Existing))?,
    })
}

/// Parses a number as it was written. Through a float, 300.0 and 3e2 would count as integers, and 1e999 as a
/// syntax error.
fn number(key: &'static str, value: &RawValue) -> Result<u32, LimitsProblem> {
    let text = value.get();
    let quoted = || truncate(text);
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        Err(LimitsProblem::NotANumber { key, found: json_type(value) })
    } else if text.starts_with('-') {
        Err(LimitsProblem::Negative { key, value: quoted() })
    } else if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        Err(LimitsProblem::NotWhole { key, value: quoted() })
    } else {
        // Digits only, so the only possible error is overflow.
        text.parse().map_err(|_| LimitsProblem::TooLarge { key, value: quoted() })
    }
}

/// Returns the type of a value, by the first character of its valid JSON.
fn json_type(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Truncates a text to a length that is suitable for a log.
fn truncate(text: &str) -> String {
    text[..text.floor_char_boundary(64)].to_owned()
}

/// The members of an object in their order. A map would lose duplicate keys.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Collect)
    }
}
