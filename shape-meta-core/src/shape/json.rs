use std::{collections::BTreeMap, error, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::Shape;
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

pub(super) fn write(shape: &Shape) -> Vec<u8> {
    serde_json::to_vec(shape).expect("strings, numbers and maps with text keys always become JSON")
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
    use crate::{LogMode, Replica};

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
