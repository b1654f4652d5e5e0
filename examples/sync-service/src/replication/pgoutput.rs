//! Decoding of `pgoutput`, version 1 of its protocol.

use std::{collections::HashMap, sync::Arc};

use super::{Change, Columns, Row};

/// What is known of the tables in one session.
#[derive(Default)]
pub(crate) struct Decoder {
    tables: HashMap<u32, Arc<Columns>>,
}

/// A message that is not one of the protocol.
#[derive(Debug)]
pub(crate) struct Malformed;

/// A value in a message.
enum Value {
    Null,
    /// A large value that the update did not change.
    Unchanged,
    Text(String),
}

impl Decoder {
    /// Decodes a message, and appends its changes.
    pub(crate) fn decode(
        &mut self,
        message: &[u8],
        changes: &mut Vec<(Arc<Columns>, Change)>,
    ) -> Result<(), Malformed> {
        let mut reader = Reader(message);
        match reader.byte()? {
            b'R' => {
                let columns = reader.relation()?;
                self.tables.insert(columns.oid, Arc::new(columns));
            }
            b'I' => {
                let table = self.table(reader.int()?)?;
                reader.byte()?;
                let change = complete(reader.row()?).map_or(Change::Restart, |new| Change::Insert { new });
                changes.push((table, change));
            }
            b'U' => {
                let table = self.table(reader.int()?)?;
                let old = match reader.byte()? {
                    b'O' => {
                        let old = complete(reader.row()?);
                        reader.byte()?;
                        old
                    }
                    b'K' => {
                        reader.row()?;
                        reader.byte()?;
                        None
                    }
                    _ => None,
                };
                let new = reader.row()?;
                let change = old.and_then(|old| Some(Change::Update { new: completed(new, &old)?, old }));
                changes.push((table, change.unwrap_or(Change::Restart)));
            }
            b'D' => {
                let table = self.table(reader.int()?)?;
                let is_whole = reader.byte()? == b'O';
                let old = complete(reader.row()?).filter(|_| is_whole);
                changes.push((table, old.map_or(Change::Restart, |old| Change::Delete { old })));
            }
            b'T' => {
                let count = reader.int()?;
                reader.byte()?;
                for _ in 0..count {
                    changes.push((self.table(reader.int()?)?, Change::Restart));
                }
            }
            // Types, origins and messages.
            _ => {}
        }
        Ok(())
    }

    fn table(&self, oid: u32) -> Result<Arc<Columns>, Malformed> {
        self.tables.get(&oid).cloned().ok_or(Malformed)
    }
}

/// Returns the row, unless a value is missing.
fn complete(values: Vec<Value>) -> Option<Row> {
    completed(values, &[])
}

/// Returns the row, with unchanged values from the old row.
fn completed(values: Vec<Value>, old: &[Option<String>]) -> Option<Row> {
    let value = |(at, value)| match value {
        Value::Null => Some(None),
        Value::Unchanged => old.get(at).cloned(),
        Value::Text(text) => Some(Some(text)),
    };
    values.into_iter().enumerate().map(value).collect()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.bytes(1)?[0])
    }

    fn short(&mut self) -> Result<u16, Malformed> {
        self.bytes(2)?.try_into().map(u16::from_be_bytes).map_err(|_| Malformed)
    }

    fn int(&mut self) -> Result<u32, Malformed> {
        self.bytes(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = String::from_utf8(self.bytes(length)?.to_vec()).map_err(|_| Malformed)?;
        self.byte()?;
        Ok(text)
    }

    fn relation(&mut self) -> Result<Columns, Malformed> {
        let (oid, schema, name) = (self.int()?, self.text()?, self.text()?);
        self.byte()?;
        let count = self.short()?;
        let column = |_| {
            self.byte()?;
            Ok((self.text()?, self.int()?, self.int()?.cast_signed()))
        };
        Ok(Columns { oid, schema, name, columns: (0..count).map(column).collect::<Result<_, _>>()? })
    }

    fn row(&mut self) -> Result<Vec<Value>, Malformed> {
        let count = self.short()?;
        let value = |_| {
            Ok(match self.byte()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => {
                    let length = self.int()? as usize;
                    Value::Text(String::from_utf8(self.bytes(length)?.to_vec()).map_err(|_| Malformed)?)
                }
                _ => return Err(Malformed),
            })
        };
        (0..count).map(value).collect()
    }
}
