use std::{
    error, fmt,
    io::{self, BufRead, Read},
};

use super::{InvalidShape, Shape, json};

/// A reader of traces: one JSON definition per line.
///
/// It iterates over line numbers (from 1) and definitions. A line that is not a definition yields an error in
/// its place, and the next call continues after it; so a caller can stop at the first bad line or report all
/// of them. Lines of white space are skipped, but counted. A line longer than
/// [`MAX_LINE_BYTES`](Self::MAX_LINE_BYTES) yields an error and is not kept in memory. After a read error the
/// iterator ends.
///
/// It reads from any [`BufRead`]. The caller opens the file, and names it in its own error messages.
///
/// ```
/// use shape_meta_core::Trace;
///
/// let text = r#"{"table":["public","todos"],"oid":1,"pk":["id"],"columns":["id"],"replica":"full","log":"full"}
/// {"table":"todos"}"#;
/// let mut trace = Trace::new(text.as_bytes());
/// let (line, shape) = trace.next().unwrap()?;
/// assert_eq!((line, shape.oid.oid()), (1, 1));
/// assert_eq!(trace.next().unwrap().unwrap_err().line(), 2);
/// assert!(trace.next().is_none());
/// # Ok::<_, shape_meta_core::TraceError>(())
/// ```
#[derive(Debug)]
pub struct Trace<R> {
    /// `None` after the end and after a read error.
    reader: Option<R>,
    line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Trace<R> {
    /// The length of the longest line that is read, in bytes: 8 MiB, several times the default limit of a
    /// definition.
    pub const MAX_LINE_BYTES: usize = 8 << 20;

    /// Returns a reader of the trace in `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader: Some(reader), line: 0, text: Vec::new() }
    }

    /// Reads the next line into `text`. Returns whether there is one.
    fn advance(&mut self) -> Result<bool, Problem> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        self.text.clear();
        self.line += 1;
        // One byte more than allowed: a line of the maximum length then still comes with its line break.
        let most = Self::MAX_LINE_BYTES as u64 + 1;
        let read = reader.take(most).read_until(b'\n', &mut self.text).map_err(Problem::Read)?;
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
        } else if self.text.len() > Self::MAX_LINE_BYTES {
            reader.skip_until(b'\n').map_err(Problem::Read)?;
            return Err(Problem::TooLong);
        }
        Ok(read > 0)
    }
}

impl<R: BufRead> Iterator for Trace<R> {
    type Item = Result<(u64, Shape), TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = loop {
            match self.advance() {
                Ok(false) => {
                    self.reader = None;
                    return None;
                }
                Ok(true) if self.text.trim_ascii().is_empty() => {}
                Ok(true) => break json::read(&self.text).map_err(Problem::Invalid),
                Err(problem) => {
                    if matches!(problem, Problem::Read(_)) {
                        self.reader = None;
                    }
                    break Err(problem);
                }
            }
        };
        Some(match result {
            Ok(shape) => Ok((self.line, shape)),
            Err(problem) => Err(TraceError { line: self.line, problem }),
        })
    }
}

/// A line of a trace that could not be read, or is not a definition.
#[derive(Debug)]
pub struct TraceError {
    line: u64,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Read(io::Error),
    TooLong,
    Invalid(InvalidShape),
}

impl TraceError {
    /// The number of the line, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.problem {
            Problem::Read(error) => write!(f, "cannot read the trace: {error}"),
            Problem::TooLong => {
                write!(f, "the line is longer than {} bytes", Trace::<&[u8]>::MAX_LINE_BYTES)
            }
            Problem::Invalid(error) => error.fmt(f),
        }
    }
}

impl error::Error for TraceError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.problem {
            Problem::Read(error) => Some(error),
            Problem::TooLong | Problem::Invalid(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{BufReader, Cursor},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::Definition;

    const LINE: &str =
        r#"{"table":["a","b"],"oid":1,"pk":["id"],"columns":["id"],"replica":"full","log":"full"}"#;

    fn read_lines(text: impl AsRef<[u8]>) -> Vec<String> {
        Trace::new(Cursor::new(text))
            .map(|item| {
                item.map_or_else(|error| error.to_string(), |(line, _)| format!("line {line} is good"))
            })
            .collect()
    }

    #[test]
    fn a_bad_line_is_reported_and_later_lines_are_read() {
        let text = format!("{LINE}\n\n  \t\r\nnonsense\n{LINE}\r\n{{\"table\":1}}\n\u{feff}{LINE}\n{LINE}");
        insta::assert_debug_snapshot!(read_lines(text), @r#"
        [
            "line 1 is good",
            "line 4: not a shape definition: expected ident (column 2)",
            "line 5 is good",
            "line 6: not a shape definition: invalid type: integer `1`, expected a tuple of size 2 (column 10)",
            "line 7: not a shape definition: expected value (column 1)",
            "line 8 is good",
        ]
        "#);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_reported() {
        insta::assert_debug_snapshot!(read_lines(b"\xff\xfe\n{\"table\":[\"\xff\"]}"), @r#"
        [
            "line 1: not a shape definition: expected value (column 1)",
            "line 2: not a shape definition: invalid unicode code point (column 12)",
        ]
        "#);
    }

    #[test]
    fn a_line_over_the_limit_is_not_kept() {
        let limit = Trace::<&[u8]>::MAX_LINE_BYTES;
        let long = "x".repeat(limit + 1);
        let fits = format!("{LINE}{}", " ".repeat(limit - LINE.len()));
        let text = format!("{long}\n{fits}\n{LINE}\n{long}{long}\n{fits}");
        let too_long = |line: u64| format!("line {line}: the line is longer than 8388608 bytes");
        let good = |line: u64| format!("line {line} is good");
        assert_eq!(read_lines(text), [too_long(1), good(2), good(3), too_long(4), good(5)]);
    }

    #[test]
    fn a_read_error_ends_the_trace() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let first = format!("{LINE}\n");
        let mut trace = Trace::new(BufReader::new(first.as_bytes().chain(Broken)));
        assert!(trace.next().is_some_and(|item| item.is_ok()));
        let error = trace.next().expect("an item").expect_err("a read error");
        assert_eq!(error.to_string(), "line 2: cannot read the trace: the disk is gone");
        assert!(error::Error::source(&error).is_some());
        assert!(trace.next().is_none());
    }

    #[test]
    fn only_a_read_error_has_a_source() {
        let error = Trace::new("no trace".as_bytes()).next().expect("a line").expect_err("no definition");
        assert_eq!(error.line(), 1);
        assert!(error.to_string().starts_with("line 1: not a shape definition"), "{error}");
        assert!(error::Error::source(&error).is_none(), "the text says what is wrong with the line");
    }

    #[test]
    fn the_sample_trace_round_trips() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sample.jsonl");
        let sample = BufReader::new(File::open(sample).expect("the sample opens"));
        let mut lines = 0;
        for item in Trace::new(sample) {
            let (_, shape) = item.expect("a definition");
            let read = Shape::decode(&shape.encode()).expect("an encoded definition decodes");
            assert_eq!(read.key(), shape.key());
            assert_eq!(read, shape);
            lines += 1;
        }
        assert!(lines >= 2_000, "{lines}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read_lines(bytes);
        }
    }
}
