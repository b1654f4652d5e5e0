/// A token of SQL, as far as [`has_equality`](super::filter::has_equality) distinguishes them.
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
    *sql = sql.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let Some(&first) = sql.as_bytes().first() else {
        return Ok(None);
    };
    let token = match first {
        b'\'' => quoted(sql, '\'').map(|()| Token::Value)?,
        b'"' => quoted(sql, '"').map(|()| Token::Name)?,
        b'$' => {
            take(sql, 1);
            match run(sql, |byte| byte.is_ascii_digit()) {
                "" => return Err(Unsupported),
                _ => Token::Value,
            }
        }
        b'0'..=b'9' => {
            run(sql, |byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_');
            Token::Value
        }
        // PostgreSQL treats every byte above ASCII as a letter.
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
            let word = run(sql, |byte| {
                byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
            });
            if sql.starts_with('\'') {
                return Err(Unsupported);
            }
            Token::Word(word)
        }
        byte if is_operator(byte) => {
            let operator = run(sql, is_operator);
            if operator.contains("--") || operator.contains("/*") {
                return Err(Unsupported);
            }
            Token::Operator(operator)
        }
        byte if byte.is_ascii_control() => return Err(Unsupported),
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

fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

/// Removes a quoted string. A doubled quote is part of the string.
fn quoted(sql: &mut &str, quote: char) -> Result<(), Unsupported> {
    loop {
        take(sql, 1);
        let end = sql.find(quote).ok_or(Unsupported)?;
        take(sql, end + 1);
        if !sql.starts_with(quote) {
            return Ok(());
        }
    }
}

fn run<'a>(sql: &mut &'a str, belongs: impl Fn(u8) -> bool) -> &'a str {
    let length = sql.bytes().position(|byte| !belongs(byte)).unwrap_or(sql.len());
    take(sql, length)
}

/// Removes a number of bytes and returns them. All callers stop at an ASCII byte or at the end, so at a
/// character boundary.
fn take<'a>(sql: &mut &'a str, length: usize) -> &'a str {
    let (head, rest) = sql.split_at(length);
    *sql = rest;
    head
}
