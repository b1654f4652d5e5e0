use std::{collections::BTreeMap, error, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{LogMode, Replica, Shape};
use crate::{Key, Relation};

/// The error for text that is no definition of a [`Shape`] in JSON.
#[derive(Debug)]
pub struct InvalidShape {
    message: String,
    column: usize,
}

impl InvalidShape {
    /// Returns the column of the error: a byte of the last line, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl From<serde_json::Error> for InvalidShape {
    fn from(error: serde_json::Error) -> Self {
        // A definition is one line of a trace or one value in a database, so a line number within it would
        // mislead.
        let (line, column) = (error.line(), error.column());
        let mut message = error.to_string();
        if let Some(bare) = message.strip_suffix(&format!(" at line {line} column {column}")) {
            message.truncate(bare.len());
        }
        Self { message, column }
    }
}

impl fmt::Display for InvalidShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a shape definition: {} (column {})", self.message, self.column)
    }
}

impl error::Error for InvalidShape {}

/// Writes what `serde_json` writes for the shape, as a test checks, in a fifth of its time.
pub(super) fn write(shape: &Shape) -> Vec<u8> {
    // Destructured, so that a new field cannot be forgotten here.
    let Shape {
        table,
        oid,
        pk,
        columns,
        replica,
        log,
        filter,
        params,
        dependencies,
        all_columns,
        subquery_columns,
    } = shape;
    let mut out = Vec::with_capacity(512);
    out.extend(br#"{"table":["#);
    text(&mut out, &table.schema);
    out.push(b',');
    text(&mut out, &table.name);
    out.extend(br#"],"oid":"#);
    number(&mut out, oid.oid());
    out.extend(br#","pk":"#);
    list(&mut out, b"[]", pk, |out, column| text(out, column));
    out.extend(br#","columns":"#);
    list(&mut out, b"[]", columns, |out, column| text(out, column));
    out.extend(match replica {
        Replica::Default => br#","replica":"default""#.as_slice(),
        Replica::Full => br#","replica":"full""#,
    });
    out.extend(match log {
        LogMode::Full => br#","log":"full""#.as_slice(),
        LogMode::ChangesOnly => br#","log":"changes_only""#,
    });
    if let Some(filter) = filter {
        out.extend(br#","where":"#);
        text(&mut out, filter);
    }
    if !params.is_empty() {
        out.extend(br#","params":"#);
        list(&mut out, b"{}", params, |out, (name, value)| {
            text(out, name);
            out.push(b':');
            text(out, value);
        });
    }
    if !dependencies.is_empty() {
        out.extend(br#","dependencies":"#);
        list(&mut out, b"[]", dependencies, |out, key| text(out, &key.to_string()));
    }
    if *all_columns {
        out.extend(br#","all_columns":true"#);
    }
    if !subquery_columns.is_empty() {
        out.extend(br#","subquery_columns":"#);
        list(&mut out, b"[]", subquery_columns, |out, column| text(out, column));
    }
    out.push(b'}');
    out
}

/// Writes a list or a map: its items between these brackets, with commas.
fn list<T>(
    out: &mut Vec<u8>,
    brackets: &[u8; 2],
    items: impl IntoIterator<Item = T>,
    item: impl Fn(&mut Vec<u8>, T),
) {
    out.push(brackets[0]);
    for (at, one) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(brackets[1]);
}

/// Whether a byte is escaped in JSON. A table, because nearly all of the time here is this test.
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escaped[byte] = true;
        byte += 1;
    }
    escaped[b'"' as usize] = true;
    escaped[b'\\' as usize] = true;
    escaped
};

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().any(|byte| ESCAPED[usize::from(byte)]) {
        escape(out, text);
    } else {
        out.extend(text.as_bytes());
    }
    out.push(b'"');
}

#[cold]
fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend(br#"\""#),
            b'\\' => out.extend(br"\\"),
            b'\n' => out.extend(br"\n"),
            b'\r' => out.extend(br"\r"),
            b'\t' => out.extend(br"\t"),
            0x08 => out.extend(br"\b"),
            0x0c => out.extend(br"\f"),
            0..0x20 => {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
                out.extend(br"\u00");
                out.extend([digit(byte >> 4), digit(byte & 15)]);
            }
            other => out.push(other),
        }
    }
}

fn number(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(&digits[at..]);
}

pub(super) fn read(bytes: &[u8]) -> Result<Shape, InvalidShape> {
    // serde would accept an array of the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde_json::Error::custom("expected an object, found an array").into());
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Deserializes an optional field that is present. `null` is refused, because it could mean that no row
/// matches.
pub(super) fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

/// Deserializes a map without duplicate names, of which one value would be dropped silently.
pub(super) fn params<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Params;

    impl<'de> Visitor<'de> for Params {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of parameter names to text values")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut params = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                if params.contains_key(&name) {
                    return Err(A::Error::custom(format_args!("duplicate parameter {name:?}")));
                }
                params.insert(name, value);
            }
            Ok(params)
        }
    }

    from.deserialize_map(Params)
}

pub(super) mod oid {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(oid: &Relation, to: S) -> Result<S::Ok, S::Error> {
        oid.oid().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Relation, D::Error> {
        u32::deserialize(from).map(Relation::new)
    }
}

/// Serializes keys as hexadecimal text.
pub(super) mod keys {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(keys: &[Key], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(keys.iter().map(Key::to_string))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Key>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"table":["public","a"],"oid":4294967295,"pk":["id"],"columns":["id"],"replica":"full","log":"changes_only"}"#;

    fn read_edited(from: &str, to: &str) -> Result<Shape, String> {
        assert!(WHOLE.contains(from));
        read(WHOLE.replacen(from, to, 1).as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_and_writes_the_format_of_traces() {
        let shape = read(WHOLE.as_bytes()).expect("the JSON is valid");
        assert_eq!(
            (shape.oid.oid(), shape.replica, shape.log),
            (u32::MAX, Replica::Full, LogMode::ChangesOnly)
        );
        assert_eq!(write(&shape), WHOLE.as_bytes());

        let more = r#","where":"a = $1\n","params":{"1":"x"},"dependencies":["0707070707070707070707070707070707070707070707070707070707070707"]}"#;
        let whole = WHOLE.replace('}', more);
        let shape = read(whole.as_bytes()).expect("the JSON is valid");
        assert_eq!(shape.filter.as_deref(), Some("a = $1\n"));
        assert_eq!(shape.dependencies, [Key::new([7; 32])]);
        assert_eq!(write(&shape), whole.as_bytes());
    }

    #[test]
    fn ambiguous_and_unknown_fields_are_refused() {
        let refused = |from, to, because: &str| {
            let message = read_edited(from, to).expect_err(to);
            assert!(message.contains(because), "{message}");
        };
        refused("{", r#"{"colour":1,"#, "unknown field `colour`");
        refused("{", r#"{"oid":1,"#, "duplicate field `oid`");
        refused(r#""oid":4294967295,"#, "", "missing field `oid`");
        refused(r#","replica":"full""#, "", "missing field `replica`");
        refused("4294967295", "4294967296", "expected u32");
        refused("4294967295", "-1", "expected u32");
        refused(r#""full""#, r#""half""#, "unknown variant `half`");
        refused(r#"["public","a"]"#, r#"["a"]"#, "invalid length 1");
        refused("}", r#","where":null}"#, "null");
        refused("}", r#","params":null}"#, "null");
        refused("}", r#","params":[]}"#, "expected a map of parameter names");
        refused("}", r#","params":{"1":1}}"#, "expected a string");
        refused("}", r#","params":{"1":"a","1":"a"}}"#, "duplicate parameter \"1\"");
        refused("}", r#","dependencies":["07"]}"#, "64 hexadecimal digits");
        refused("}", "}{", "trailing characters");
        refused("}", "", "EOF");
        assert!(read(b"").is_err());
        assert!(read(b"\xff").is_err());
    }

    #[test]
    fn an_array_of_fields_is_refused() {
        let fields = br#" [["public","a"],1,["id"],["id"],"full","full"]"#;
        assert!(
            serde_json::from_slice::<Shape>(fields).is_ok(),
            "otherwise the check in `read` is not needed"
        );
        assert!(read(fields).is_err());
    }

    #[test]
    fn errors_report_the_column_without_a_line() {
        let error = read(WHOLE.replace("4294967295", "\"x\"").as_bytes()).expect_err("the OID is no number");
        assert_eq!(error.column(), 33);
        let message = error.to_string();
        insta::assert_snapshot!(message, @r#"not a shape definition: invalid type: string "x", expected u32 (column 33)"#);
    }
}
