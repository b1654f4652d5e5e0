use shape_meta_core::{Definition, DefinitionExt, Shape};

/// Checks that any bytes are a definition or are refused with a message, and that a definition has exactly
/// one encoding and one key.
///
/// # Panics
///
/// If a property does not hold.
pub fn definition(bytes: &[u8]) {
    let shape = match Shape::decode(bytes) {
        Ok(shape) => shape,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.column() <= bytes.len() + 1, "{error}: the column is behind the end");
            return;
        }
    };
    let encoded = shape.encode();
    let decoded = Shape::decode(&encoded).expect("an encoded definition decodes");
    assert_eq!(decoded, shape);
    assert_eq!(decoded.encode(), encoded, "a definition has one encoding");
    assert_eq!((decoded.key(), decoded.definition_hash()), (shape.key(), shape.definition_hash()));
    // Another definition has another key.
    let filter = format!("{} ", shape.filter.as_deref().unwrap_or_default());
    assert_ne!(shape.clone().filter(filter).key(), shape.key());
    assert_eq!(shape.relations().len(), 1);
    // Tokenizes the filter, which may be any text.
    let _ = shape.is_indexed();
}
