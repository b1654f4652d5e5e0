use super::token::{self, Token, Unsupported};

/// Returns whether one of the conditions that `AND` joins at the top level of a `where` clause is
/// `column = constant` or `constant = column`. Parameters count as constants.
///
/// Splitting at `AND` is correct because only three constructs of SQL give an `AND` outside of parentheses
/// another meaning: `OR`, which binds less tightly; `BETWEEN x AND y`; and `CASE`. If one of them is at the
/// top level, the result is `false`. Any text is accepted, also text that is not SQL.
pub(super) fn has_equality(sql: &str) -> bool {
    search(sql) == Ok(true)
}

fn search(mut sql: &str) -> Result<bool, Unsupported> {
    let mut depth = 0_u32;
    let mut found = false;
    let mut condition = Vec::with_capacity(16);
    while let Some(token) = token::next(&mut sql)? {
        match token {
            Token::Other(b'(' | b'[') => {
                depth += 1;
                // The outermost parenthesis stands for the whole group.
                if depth != 1 {
                    continue;
                }
            }
            Token::Other(b')' | b']') => {
                depth = depth.checked_sub(1).ok_or(Unsupported)?;
                continue;
            }
            _ if depth > 0 => continue,
            Token::Word(word) if ["or", "between", "case"].iter().any(|no| word.eq_ignore_ascii_case(no)) => {
                return Ok(false);
            }
            Token::Word(word) if word.eq_ignore_ascii_case("and") => {
                found |= is_equality(&condition);
                condition.clear();
                continue;
            }
            _ => {}
        }
        condition.push(token);
    }
    if depth > 0 {
        return Err(Unsupported);
    }
    Ok(found | is_equality(&condition))
}

fn is_equality(condition: &[Token<'_>]) -> bool {
    let mut sides = condition.split(|token| *token == Token::Operator("="));
    let (Some(left), Some(right), None) = (sides.next(), sides.next(), sides.next()) else {
        return false;
    };
    is_column(left) && is_constant(right) || is_constant(left) && is_column(right)
}

/// Whether the tokens are a column name, optionally with the names of its table and schema.
fn is_column(tokens: &[Token<'_>]) -> bool {
    tokens.split(|token| *token == Token::Other(b'.')).all(|name| match name {
        [Token::Name] => true,
        [Token::Word(word)] => !is_literal(word),
        _ => false,
    })
}

/// Whether the tokens are a constant, optionally with a sign and a cast to a type of one word.
fn is_constant(tokens: &[Token<'_>]) -> bool {
    let value = match tokens {
        [value @ .., Token::Other(b':'), Token::Other(b':'), Token::Word(_)] => value,
        value => value,
    };
    match value {
        [Token::Value] | [Token::Operator("-" | "+"), Token::Value] => true,
        // A comparison with NULL is never true.
        [Token::Word(word)] => is_literal(word) && !word.eq_ignore_ascii_case("null"),
        _ => false,
    }
}

fn is_literal(word: &str) -> bool {
    ["true", "false", "null"].iter().any(|literal| word.eq_ignore_ascii_case(literal))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_equality_among_top_level_ands_is_found() {
        for sql in [
            "a = 1",
            "a=1",
            "1 = a",
            "a = -1",
            "\"org_id\" = $1",
            "issue_id = 'a9dcc471'",
            "a = 'it''s OR ('",
            "\"od\"\"d OR\" = 'x'",
            "t.a = $12",
            "s.\"t\".a = 5e3",
            "a = 'x'::uuid",
            "$1::int = a",
            "done = false",
            "a = 1 AND b = 2",
            "a > 1 AND b = 2",
            "a = 1.5",
            "a = 1_000",
            "b = 2 and (a = 1 OR c = 3)",
            "NOT a = 1 AND b = 2",
            "a IS NOT NULL\n\tAND b = $1",
            "größe = 3",
            "a$x$ = 1",
            "id IN (1, 2) AND value = 'v6'",
        ] {
            assert!(has_equality(sql), "{sql}");
        }
    }

    #[test]
    fn other_filters_have_no_equality() {
        for sql in [
            "",
            " ",
            "a",
            "a = b",
            "1 = 1",
            "a = NULL",
            "a <= 1",
            "a == 1",
            "a = 1 OR b = 2",
            "a = 1 AND b = 2 oR c = 3",
            "a BETWEEN 1 AND b = 2",
            "CASE WHEN a AND b = 1 AND c THEN d END",
            "NOT a = 1",
            "$1 = ANY(user_ids)",
            "a = ANY($1)",
            "lower(a) = 'x'",
            "(a = 1)",
            "(a = 1",
            "a = 1)",
            ") AND a = 1 AND (",
            "a = '1",
            "\"a = 1",
            "a = E'\\' OR b'",
            "a = $x$ y $x$",
            "a = 1 AND b > $x$ y $x$",
            "a = 1 -- OR true",
            "a = 1 /* OR true */",
            "a = 1 AND b /* x */",
            "a = 1\0",
            "\u{1} AND a = 1",
            "a + 1 = 2",
            "a = 1 = true",
            "a. = 1",
            "id IN (1, 2) AND value <> 'v6'",
            "x[1 AND a = 1 AND 2]",
        ] {
            assert!(!has_equality(sql), "{sql}");
        }
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let deep = "(".repeat(1_000_000);
        assert!(!has_equality(&deep));
        assert!(has_equality(&format!("{deep}{} AND a = 1", ")".repeat(1_000_000))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_is_accepted(sql in any::<String>()) {
            has_equality(&sql);
        }

        #[test]
        fn any_text_of_special_tokens_is_accepted(pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "'", "\"", "''", "$", "$1", "$a$", "(", ")", "[", "]", "--", "/*", "*/", "\\", "E'", "\0",
                "\r\n", "\u{85}", "\u{200f}", "é", "🦀", ".", "::", ":", "=", "-", "a", "AND", " OR ", " ", "1e",
            ]),
            0..20,
        )) {
            has_equality(&pieces.concat());
        }

        #[test]
        fn a_filter_with_a_final_or_has_no_equality(sql in "[a-c1'\"$=() ANDOR.]{0,20}") {
            let with_or = format!("x = 1 AND {sql} OR x = 1");
            prop_assert!(!has_equality(&with_or), "{with_or}");
        }
    }
}
