//! Shapes as JSON: what `list`, `show` and `export` write, and `import` reads.

use serde::{Deserialize, Serialize};
use shape_meta_core::{DefinitionHash, Handle, Key, NewShape, Relation, ScanItem, SnapshotState, Timestamp};

/// One shape.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeJson {
    handle: String,
    key: String,
    hash: String,
    #[serde(default)]
    created: u64,
    state: String,
    #[serde(default)]
    indexed: bool,
    relations: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
    /// Microseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_read: Option<u64>,
    /// The definition, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    /// The definition in hexadecimal digits, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition_hex: Option<String>,
}

impl ShapeJson {
    pub(crate) fn of(listed: &ScanItem) -> Self {
        let (record, entry) = (&listed.record, &listed.record.entry);
        let text = str::from_utf8(&record.definition).ok();
        Self {
            handle: entry.handle().to_string(),
            key: entry.key().to_string(),
            hash: entry.hash().to_string(),
            created: entry.created().get(),
            state: listed.metadata.state.to_string(),
            indexed: entry.is_indexed(),
            relations: entry.relations().iter().map(|one| one.oid()).collect(),
            dependencies: record.dependencies.iter().map(Key::to_string).collect(),
            last_read: listed.metadata.last_read.map(Timestamp::as_micros),
            definition: text.map(str::to_owned),
            definition_hex: text.is_none().then(|| hex(&record.definition)),
        }
    }

    /// The shape to add, how far its snapshot has come, and when it was last read; or what is wrong with it.
    pub(crate) fn shape(self) -> Result<(NewShape, SnapshotState, Option<Timestamp>), String> {
        let state = match self.state.as_str() {
            "pending" => SnapshotState::Pending,
            "started" => SnapshotState::Started,
            "complete" => SnapshotState::Complete,
            other => return Err(format!("{other:?} is no snapshot state")),
        };
        let definition = match (self.definition, self.definition_hex) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(digits)) => unhex(&digits).ok_or("the definition is not hexadecimal")?,
            _ => return Err("it needs either a definition or a definition_hex".into()),
        };
        let key = |text: &str| text.parse::<Key>().map_err(|error| error.to_string());
        let hash = u64::from_str_radix(&self.hash, 16).map_err(|_| "the hash is not hexadecimal")?;
        let shape = NewShape {
            handle: Handle::new(&self.handle).map_err(|error| error.to_string())?,
            key: key(&self.key)?,
            hash: DefinitionHash::new(hash),
            relations: self.relations.into_iter().map(Relation::new).collect(),
            dependencies: self.dependencies.iter().map(|one| key(one)).collect::<Result<_, _>>()?,
            indexed: self.indexed,
            definition: definition.into(),
        };
        Ok((shape, state, self.last_read.map(Timestamp::from_micros)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}
