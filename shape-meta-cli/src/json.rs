//! JSON form of a shape: the output of `list`, `show` and `export`, and the input of `import`.

use serde::{Deserialize, Serialize};
use shape_meta_core::{DefinitionHash, Handle, Key, NewShape, Relation, ScanItem, SnapshotState, Timestamp};

/// One shape. `import` accepts and ignores `created_seq`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeJson {
    handle: String,
    key: String,
    hash: String,
    /// Sequence number of the shape's add.
    #[serde(default)]
    created_seq: u64,
    /// Microseconds since the Unix epoch; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<u64>,
    state: String,
    #[serde(default)]
    indexed: bool,
    relations: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
    /// Microseconds since the Unix epoch; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_read: Option<u64>,
    /// The definition, if it is valid UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    /// The definition in hexadecimal digits, otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition_hex: Option<String>,
}

impl ShapeJson {
    pub(crate) fn of(item: &ScanItem) -> Self {
        let (record, entry) = (&item.record, &item.record.entry);
        let text = str::from_utf8(&record.definition).ok();
        Self {
            handle: entry.handle().to_string(),
            key: entry.key().to_string(),
            hash: entry.hash().to_string(),
            created_seq: entry.created().get(),
            created_at: item.metadata.created_at.map(Timestamp::as_micros),
            state: item.metadata.state.to_string(),
            indexed: entry.is_indexed(),
            relations: entry.relations().iter().map(|one| one.oid()).collect(),
            dependencies: record.dependencies.iter().map(Key::to_string).collect(),
            last_read: item.metadata.last_read.map(Timestamp::as_micros),
            definition: text.map(str::to_owned),
            definition_hex: text.is_none().then(|| hex(&record.definition)),
        }
    }

    /// Returns the shape to add, its snapshot state and its last-read time.
    ///
    /// # Errors
    ///
    /// A message that names the invalid field.
    pub(crate) fn into_parts(self) -> Result<(NewShape, SnapshotState, Option<Timestamp>), String> {
        let state = match self.state.as_str() {
            "pending" => SnapshotState::Pending,
            "started" => SnapshotState::Started,
            "complete" => SnapshotState::Complete,
            other => {
                return Err(format!("{other:?} is not a snapshot state; use pending, started or complete"));
            }
        };
        let definition = match (self.definition, self.definition_hex) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(digits)) => unhex(&digits).ok_or("definition_hex is not hexadecimal")?,
            _ => return Err("exactly one of definition and definition_hex is required".into()),
        };
        let key = |text: &str| text.parse::<Key>().map_err(|error| error.to_string());
        let hash = u64::from_str_radix(&self.hash, 16)
            .map_err(|_| format!("the hash {:?} is not a 64-bit hexadecimal number", self.hash))?;
        let shape = NewShape {
            handle: Handle::new(&self.handle).map_err(|error| error.to_string())?,
            key: key(&self.key)?,
            hash: DefinitionHash::new(hash),
            relations: self.relations.into_iter().map(Relation::new).collect(),
            dependencies: self.dependencies.iter().map(|one| key(one)).collect::<Result<_, _>>()?,
            indexed: self.indexed,
            definition: definition.into(),
            created_at: self.created_at.map(Timestamp::from_micros),
        };
        Ok((shape, state, self.last_read.map(Timestamp::from_micros)))
    }
}

/// Returns the bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}
