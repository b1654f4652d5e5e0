/// A token of SQL, as far as [`has_equality`](super::filter::has_equality) has to know it.
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

/// Takes the first token off `sql`; `None` at its end, and an error for what is not looked into: comments, dollar
/// quotes, prefixed strings (`E'...'`), control characters, and quotes without an end.
pub(super) fn next<'a>(sql: &mut &'a str) -> Result<Option<Token<'a>>, Unclear> {
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
                "" => return Err(Unclear),
                _ => Token::Value,
            }
        }
        b'0'..=b'9' => {
            run(sql, |byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_');
            Token::Value
        }
        // PostgreSQL takes every byte above ASCII for a letter.
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
            let word = run(sql, |byte| {
                byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
            });
            if sql.starts_with('\'') {
                return Err(Unclear);
            }
            Token::Word(word)
        }
        byte if is_operator(byte) => {
            let operator = run(sql, is_operator);
            if operator.contains("--") || operator.contains("/*") {
                return Err(Unclear);
            }
            Token::Operator(operator)
        }
        byte if byte.is_ascii_control() => return Err(Unclear),
        byte => {
            take(sql, 1);
            Token::Other(byte)
        }
    };
    Ok(Some(token))
}

/// It takes more than this to read that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclear;

fn is_operator(byte: u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(&byte)
}

/// Takes off what stands between two quotes; a doubled quote stands for itself.
fn quoted(sql: &mut &str, quote: char) -> Result<(), Unclear> {
    loop {
        take(sql, 1);
        let end = sql.find(quote).ok_or(Unclear)?;
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

/// Takes off this many bytes. All callers count up to an ASCII byte or to the end, so to the edge of a character.
fn take<'a>(sql: &mut &'a str, length: usize) -> &'a str {
    let (head, rest) = sql.split_at(length);
    *sql = rest;
    head
}
