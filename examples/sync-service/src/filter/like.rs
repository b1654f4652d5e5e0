/// Returns whether a text matches a pattern of `LIKE`. `None` if the pattern ends with its escape character,
/// which PostgreSQL refuses.
pub(crate) fn matches(text: &str, pattern: &str) -> Option<bool> {
    let (text, pattern) = (text.chars().collect::<Vec<_>>(), tokens(pattern)?);
    // The last `%` and where its match ends: all that has to be tried again, so this takes at most the
    // product of both lengths.
    let (mut at, mut token, mut wildcard) = (0, 0, None);
    while at < text.len() {
        match pattern.get(token) {
            Some(Token::Any) => {
                wildcard = Some((token, at));
                token += 1;
            }
            Some(Token::One) => (at, token) = (at + 1, token + 1),
            Some(Token::Char(char)) if *char == text[at] => (at, token) = (at + 1, token + 1),
            _ => {
                let Some((any, end)) = wildcard else { return Some(false) };
                wildcard = Some((any, end + 1));
                (at, token) = (end + 1, any + 1);
            }
        }
    }
    Some(pattern[token..].iter().all(|token| matches!(token, Token::Any)))
}

enum Token {
    Any,
    One,
    Char(char),
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut chars = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '%' => Token::Any,
            '_' => Token::One,
            '\\' => Token::Char(chars.next()?),
            char => Token::Char(char),
        });
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_postgresql() {
        let cases = [
            ("", "", true),
            ("", "%", true),
            ("a", "", false),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "a_c", true),
            ("abc", "_", false),
            ("a%c", r"a\%c", true),
            ("abc", r"a\%c", false),
            ("abab", "%ab", true),
            ("aXbXc", "a%b%c", true),
            ("mississippi", "%iss%ip_i", true),
            ("öß", "_ß", true),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(matches(text, pattern), Some(expected), "{text:?} LIKE {pattern:?}");
        }
        assert_eq!(matches("a", r"a\"), None);
    }
}
