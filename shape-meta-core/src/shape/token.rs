/// A token of SQL, as far as [`is_indexed`](super::filter::is_indexed) distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword or a name without quotes.
    Word(&'a str),
    /// A name in double quotes.
    Name,
    /// A string constant, a number or a parameter.
    Value,
    /// A run of operator characters.
    Operator(&'a str),
    /// Any other single character.
    Other(u8),
}

/// Removes the first token from `sql` and returns it, or `None` at the end.
///
/// # Errors
///
/// For text that is not tokenized: comments, dollar quotes, prefixed strings (`E'...'`), control characters,
/// and unterminated quotes.
pub(super) fn next<'a>(sql: &mut &'a str) -> Result<Option<Token<'a>>, Unsupported> {
    run(sql, SPACE);
    let Some(&first) = sql.as_bytes().first() else {
        return Ok(None);
    };
    let token = match first {
        b'\'' => quoted(sql, first).map(|()| Token::Value)?,
        b'"' => quoted(sql, first).map(|()| Token::Name)?,
        b'$' => {
            take(sql, 1);
            match run(sql, DIGIT) {
                "" => return Err(Unsupported),
                _ => Token::Value,
            }
        }
        b'0'..=b'9' => {
            run(sql, NUMBER);
            Token::Value
        }
        // PostgreSQL treats every byte above ASCII as a letter.
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
            let word = run(sql, WORD);
            if sql.as_bytes().first() == Some(&b'\'') {
                return Err(Unsupported);
            }
            Token::Word(word)
        }
        byte if byte.is_ascii_control() => return Err(Unsupported),
        byte if CLASSES[usize::from(byte)] & OPERATOR != 0 => {
            let operator = run(sql, OPERATOR);
            if operator.as_bytes().windows(2).any(|two| two == b"--" || two == b"/*") {
                return Err(Unsupported);
            }
            Token::Operator(operator)
        }
        byte => {
            take(sql, 1);
            Token::Other(byte)
        }
    };
    Ok(Some(token))
}

/// The error for text that is not tokenized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsupported;

const SPACE: u8 = 1;
const DIGIT: u8 = 2;
const NUMBER: u8 = 4;
const WORD: u8 = 8;
const OPERATOR: u8 = 16;

/// The kinds of token that each byte can continue. A table, because nearly all of the time here is this test.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        classes[at] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => SPACE,
            b'0'..=b'9' => DIGIT | NUMBER | WORD,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NUMBER | WORD,
            b'.' => NUMBER,
            b'$' | 0x80.. => WORD,
            b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' => OPERATOR,
            b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?' => OPERATOR,
            _ => 0,
        };
        at += 1;
    }
    classes
};

/// Removes a quoted string. A doubled quote is part of the string.
fn quoted(sql: &mut &str, quote: u8) -> Result<(), Unsupported> {
    loop {
        take(sql, 1);
        let end = sql.bytes().position(|byte| byte == quote).ok_or(Unsupported)?;
        take(sql, end + 1);
        if sql.as_bytes().first() != Some(&quote) {
            return Ok(());
        }
    }
}

/// Removes the bytes at the beginning that are of this class.
fn run<'a>(sql: &mut &'a str, class: u8) -> &'a str {
    let length = sql.bytes().position(|byte| CLASSES[usize::from(byte)] & class == 0).unwrap_or(sql.len());
    take(sql, length)
}

/// Removes a number of bytes and returns them. All callers stop at an ASCII byte or at the end, so at a
/// character boundary.
fn take<'a>(sql: &mut &'a str, length: usize) -> &'a str {
    let (head, rest) = sql.split_at(length);
    *sql = rest;
    head
}
