//! SQLite's record format: a header with the types, then the values.

/// Value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    /// No column of ours is a float, so its value is not kept.
    Real,
    Blob(&'a [u8]),
    Text(&'a [u8]),
}

/// Returns a variable-length integer and its length of one to nine bytes.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        if at == 8 {
            return Some((value << 8 | u64::from(*byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Returns the values of a record; `None` if the bytes are not exactly one record.
pub(super) fn values(payload: &[u8]) -> Option<Vec<Value<'_>>> {
    let (header, mut at) = varint(payload)?;
    let header = usize::try_from(header).ok().filter(|end| (at..=payload.len()).contains(end))?;
    let mut from = header;
    let mut values = Vec::new();
    while at < header {
        let (kind, length) = varint(&payload[at..header])?;
        at += length;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => usize::try_from((kind - 12) / 2).ok()?,
        };
        let bytes = payload.get(from..from.checked_add(size)?)?;
        from += size;
        values.push(match kind {
            0 => Value::Null,
            1..=6 => Value::Integer(integer(bytes)),
            7 => Value::Real,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            even if even % 2 == 0 => Value::Blob(bytes),
            _ => Value::Text(bytes),
        });
    }
    (from == payload.len()).then_some(values)
}

/// Returns a big-endian integer with the sign of its first byte.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records_of_sqlite() {
        assert_eq!(varint(&[0x7f]), Some((127, 1)));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, 2)));
        assert_eq!(varint(&[0xff; 9]), Some((u64::MAX, 9)));
        assert_eq!(varint(&[0xff; 8]), None);
        let row = [6, 0, 1, 2, 8, 17, 0xff, 1, 0, b'h', b'i'];
        let values = values(&row).expect("the record is well-formed");
        assert_eq!(
            values,
            [Value::Null, Value::Integer(-1), Value::Integer(256), Value::Integer(0), Value::Text(b"hi"),]
        );
    }

    #[test]
    fn rejects_records_of_a_wrong_length() {
        let row = [3, 1, 14, 5, b'x'];
        assert!(values(&row).is_some());
        for end in 0..row.len() {
            assert_eq!(values(&row[..end]), None);
        }
        assert_eq!(values(&[3, 1, 14, 5, b'x', 0]), None);
        assert_eq!(values(&[2, 10]), None);
    }
}
