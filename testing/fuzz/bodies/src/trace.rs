use shape_meta_core::{Definition, Shape, Trace};

/// Checks that any bytes are a trace: each line is a definition or an error with its line number, and the
/// reader reaches the end.
///
/// # Panics
///
/// If a property does not hold.
pub fn trace(bytes: &[u8]) {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    let mut last = 0;
    for read in Trace::new(bytes) {
        let line = match &read {
            Ok((line, _)) => *line,
            Err(error) => error.line(),
        };
        assert!(line > last, "line {line} after line {last}");
        let skipped = lines[last as usize..line as usize - 1].iter();
        assert!(
            { skipped }.all(|line| line.trim_ascii().is_empty()),
            "only lines of white space are skipped"
        );
        let text = lines[line as usize - 1];
        match (read, Shape::decode(text)) {
            (Ok((_, shape)), Ok(same)) => assert_eq!(shape, same),
            (Err(error), Err(_)) => assert!(error.to_string().starts_with(&format!("line {line}: "))),
            (read, alone) => panic!("line {line} gives {read:?} in a trace, and {alone:?} alone"),
        }
        last = line;
    }
    assert!(
        lines[last as usize..].iter().all(|line| line.trim_ascii().is_empty()),
        "only lines of white space are left"
    );
}
