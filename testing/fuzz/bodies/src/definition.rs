use shape_meta_core::{Definition, Shape};

/// Any bytes are a definition or are refused with a reason; what is a definition is written down in one form
/// only, and has one key.
pub fn definition(bytes: &[u8]) {
    let shape = match Shape::decode(bytes) {
        Ok(shape) => shape,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.column() <= bytes.len() + 1, "{error}: behind the end");
            return;
        }
    };
    let written = shape.encode();
    let again = Shape::decode(&written).expect("what was written can be read");
    assert_eq!(again, shape);
    assert_eq!(again.encode(), written, "one form only");
    assert_eq!((again.key(), again.hash()), (shape.key(), shape.hash()));
    // Another definition has another key.
    let filter = format!("{} ", shape.filter.as_deref().unwrap_or_default());
    assert_ne!(shape.clone().filter(filter).key(), shape.key());
    assert_eq!(shape.relations().len(), 1);
    // It looks into the filter, whatever that is.
    let _ = shape.is_indexed();
}
