use super::token::{self, Token, Unsupported};

/// The number of open parentheses that are looked into. A deeper group is taken for a condition without an
/// index, so that a filter of nothing but parentheses costs no memory.
const MAX_DEPTH: usize = 64;

/// Returns whether a `where` clause is of a form that an engine answers from an index of its constants; see
/// the documentation of `Shape::is_indexed`. Any text is accepted, also text that is not SQL.
///
/// Splitting at `AND` and `OR` is correct because only two constructs of SQL give an `AND` another meaning:
/// `BETWEEN x AND y`, whose `AND` belongs to the condition, and `CASE`, of which nothing is looked at.
pub(super) fn is_indexed(sql: &str) -> bool {
    search(sql) == Ok(true)
}

fn search(mut sql: &str) -> Result<bool, Unsupported> {
    let (mut enclosing, mut group) = (Vec::new(), OpenGroup::new(b' '));
    let mut too_deep = 0_u64;
    while let Some(token) = token::next(&mut sql)? {
        match token {
            Token::Other(b'(' | b'[') if too_deep > 0 || enclosing.len() == MAX_DEPTH => too_deep += 1,
            Token::Other(b')' | b']') if too_deep > 0 => {
                too_deep -= 1;
                if too_deep == 0 {
                    group.condition.push(Item::Group(Group::default()));
                }
            }
            _ if too_deep > 0 => {}
            Token::Other(open @ (b'(' | b'[')) => {
                enclosing.push(std::mem::replace(&mut group, OpenGroup::new(open)));
            }
            Token::Other(b')' | b']') => {
                let outer = enclosing.pop().ok_or(Unsupported)?;
                let closed = std::mem::replace(&mut group, outer).close();
                group.condition.push(Item::Group(closed));
            }
            token => group.push(token),
        }
    }
    match enclosing.is_empty() && too_deep == 0 {
        true => Ok(group.close().is_indexed),
        false => Err(Unsupported),
    }
}

/// A part of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item<'a> {
    Token(Token<'a>),
    Group(Group),
}

/// What is known of the text between two parentheses, or two brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Group {
    /// Whether it is in brackets.
    is_bracketed: bool,
    /// Whether nothing is in it.
    is_empty: bool,
    /// Whether it is one condition, or several of them joined by `AND` and `OR`, of a form with an index.
    is_indexed: bool,
    /// Whether it is a list of constants.
    is_constants: bool,
    /// Whether it is the name of a column.
    is_column: bool,
}

/// A group whose end is not reached.
struct OpenGroup<'a> {
    open: u8,
    /// The condition, or the element of a list, that is not at its end.
    condition: Vec<Item<'a>>,
    /// Whether it has a `BETWEEN` whose `AND` is still to come.
    is_between: bool,
    /// Whether one of the conditions since the last `OR` is of a form with an index.
    branch: bool,
    /// Whether all of the alternatives before that `OR` are.
    alternatives: bool,
    /// Whether `AND` or `OR` occurs.
    is_joined: bool,
    /// Whether all elements before the last comma are constants; `None` without a comma.
    elements: Option<bool>,
    /// Whether `CASE` occurs, of which nothing is looked at.
    has_case: bool,
}

impl<'a> OpenGroup<'a> {
    fn new(open: u8) -> Self {
        Self {
            open,
            condition: Vec::new(),
            is_between: false,
            branch: false,
            alternatives: true,
            is_joined: false,
            elements: None,
            has_case: false,
        }
    }

    fn push(&mut self, token: Token<'a>) {
        let is = |wanted: &str| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(wanted));
        if is("and") && !std::mem::take(&mut self.is_between) {
            self.end_condition();
        } else if is("or") {
            self.end_condition();
            self.alternatives &= std::mem::take(&mut self.branch);
        } else if token == Token::Other(b',') {
            let is_constant = self.ends_with(is_constant);
            self.elements = Some(self.elements.unwrap_or(true) && is_constant);
            self.condition.clear();
        } else {
            self.is_between |= is("between");
            self.has_case |= is("case");
            self.condition.push(Item::Token(token));
        }
    }

    fn end_condition(&mut self) {
        self.branch |= has_index(&self.condition);
        self.condition.clear();
        self.is_joined = true;
        self.is_between = false;
    }

    /// Whether this element of a list is one of these.
    fn ends_with(&self, is_wanted: impl FnOnce(&[Item<'_>]) -> bool) -> bool {
        !self.is_joined && is_wanted(&self.condition)
    }

    fn close(self) -> Group {
        let is_list = self.elements.is_some();
        Group {
            is_bracketed: self.open == b'[',
            is_empty: self.condition.is_empty() && !is_list && !self.is_joined,
            is_indexed: !self.has_case
                && !is_list
                && self.alternatives
                && (self.branch || has_index(&self.condition)),
            is_constants: self.elements.unwrap_or(true) && self.ends_with(is_constant),
            is_column: !is_list && self.ends_with(is_column),
        }
    }
}

/// Whether a condition, which has no `AND` or `OR` outside of its groups, is of a form with an index.
fn has_index(condition: &[Item<'_>]) -> bool {
    if let [Item::Group(group)] = condition {
        return group.is_indexed && !group.is_bracketed;
    }
    if let [column @ .., Item::Token(Token::Word(word)), Item::Group(list)] = condition
        && word.eq_ignore_ascii_case("in")
    {
        return is_column(column) && list.is_constants && !list.is_bracketed;
    }
    let sides = |operator| {
        let mut sides = condition.split(move |item| *item == Item::Token(Token::Operator(operator)));
        match (sides.next(), sides.next(), sides.next()) {
            (Some(left), Some(right), None) => Some((left, right)),
            _ => None,
        }
    };
    if let Some((left, right)) = sides("=") {
        return match right {
            [Item::Token(Token::Word(word)), Item::Group(array)]
                if ["any", "some"].iter().any(|any| word.eq_ignore_ascii_case(any)) =>
            {
                is_column(left) && array.is_constants || is_constant(left) && array.is_column
            }
            _ => is_column(left) && is_constant(right) || is_constant(left) && is_column(right),
        };
    }
    sides("@>").is_some_and(|(array, part)| is_column(array) && is_constant(part))
        || sides("<@").is_some_and(|(part, array)| is_constant(part) && is_column(array))
}

/// Whether the items are a column name, optionally with the names of its table and schema.
fn is_column(items: &[Item<'_>]) -> bool {
    items.split(|item| *item == Item::Token(Token::Other(b'.'))).all(|name| match name {
        [Item::Token(Token::Name)] => true,
        [Item::Token(Token::Word(word))] => !is_literal(word),
        _ => false,
    })
}

/// Whether the items are a constant, optionally with a sign and a cast to a type of one word, or an array of
/// such constants.
fn is_constant(items: &[Item<'_>]) -> bool {
    const COLON: Item<'_> = Item::Token(Token::Other(b':'));
    // The brackets of the type of an array.
    let items = match items {
        [
            value @ ..,
            Item::Token(Token::Word(_)),
            Item::Group(Group { is_bracketed: true, is_empty: true, .. }),
        ] => match value {
            [.., one, two] if *one == COLON && *two == COLON => &items[..items.len() - 1],
            _ => items,
        },
        items => items,
    };
    let value = match items {
        [value @ .., one, two, Item::Token(Token::Word(_))] if *one == COLON && *two == COLON => value,
        value => value,
    };
    match value {
        [Item::Token(Token::Value)]
        | [Item::Token(Token::Operator("-" | "+")), Item::Token(Token::Value)] => true,
        [Item::Token(Token::Word(word)), Item::Group(Group { is_bracketed: true, is_constants, .. })] => {
            word.eq_ignore_ascii_case("array") && *is_constants
        }
        // A comparison with NULL is never true.
        [Item::Token(Token::Word(word))] => is_literal(word) && !word.eq_ignore_ascii_case("null"),
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
    fn the_forms_with_an_index_are_recognised() {
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
            "id IN (1, 2) AND value <> 'v6'",
            "id in ('a', $2, -3, 'x'::uuid)",
            "t.id IN (1)",
            "a = 1 OR b = 2",
            "a = 1 OR b IN (2, 3) OR c = ANY($1)",
            "a = 1 AND b = 2 oR c = 3",
            "a = 1 AND b > 2 OR c = 3 AND d > 4",
            "(a = 1)",
            "((a = 1) OR (b = 2)) AND c > 3",
            "c > 3 AND (a = 1 OR (b = 2 AND d IS NULL))",
            "a BETWEEN 1 AND 2 AND b = 2",
            "b = 2 AND a NOT BETWEEN 1 AND 2",
            "a = ANY($1)",
            "a = any ('{1,2}'::int[])",
            "a = SOME(ARRAY[1, 2])",
            "$1 = ANY(user_ids)",
            "'x' = ANY(t.\"tags\")",
            "tags @> ARRAY['a', 'b']",
            "tags @> '{a}'::text[]",
            "$1 <@ tags",
            "ARRAY[1]::int[] <@ tags",
        ] {
            assert!(is_indexed(sql), "{sql}");
        }
    }

    #[test]
    fn other_filters_have_no_index() {
        for sql in [
            "",
            " ",
            "a",
            "a = b",
            "1 = 1",
            "a = NULL",
            "a <= 1",
            "a == 1",
            "a BETWEEN 1 AND b = 2",
            "CASE WHEN a AND b = 1 AND c THEN d END",
            "NOT a = 1",
            "lower(a) = 'x'",
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
            "x[1 AND a = 1 AND 2]",
            "a = 1 OR b > 2",
            "a > 1 OR b = 2 AND c = 3",
            "(a = 1 OR b > 2) AND c > 3",
            "NOT (a = 1)",
            "(a = 1) IS NOT TRUE",
            "(a, b) = (1, 2)",
            "f(a = 1)",
            "[a = 1]",
            "a NOT IN (1, 2)",
            "a IN ()",
            "a IN (1, NULL)",
            "a IN (1, b)",
            "a IN (1, 2,)",
            "a IN (SELECT id FROM t WHERE x = 1)",
            "a IN [1, 2]",
            "a = ANY(SELECT id FROM t)",
            "a = ANY(b)",
            "a = ALL($1)",
            "1 = ANY($1)",
            "a <> ANY($1)",
            "$1 @> tags",
            "tags <@ $1",
            "tags @> other",
            "tags && ARRAY[1]",
            "tags @> ARRAY[1, b]",
            "tags @> ARRAY(SELECT 1)",
            "a BETWEEN 1 AND 2",
            "a BETWEEN 1 AND 2 OR b = 1",
            "CASE WHEN a = 1 THEN b END OR a = 1",
        ] {
            assert!(!is_indexed(sql), "{sql}");
        }
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let deep = "(".repeat(1_000_000);
        assert!(!is_indexed(&deep));
        assert!(is_indexed(&format!("{deep}{} AND a = 1", ")".repeat(1_000_000))));
        let nested = |depth| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(is_indexed(&nested(MAX_DEPTH)) && !is_indexed(&nested(MAX_DEPTH + 1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_is_accepted(sql in any::<String>()) {
            is_indexed(&sql);
        }

        #[test]
        fn any_text_of_special_tokens_is_accepted(pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "'", "\"", "''", "$", "$1", "$a$", "(", ")", "[", "]", "--", "/*", "*/", "\\", "E'", "\0",
                "\r\n", "\u{85}", "\u{200f}", "é", "🦀", ".", "::", ":", "=", "-", "a", "AND", " OR ", " ", "1e",
            ]),
            0..20,
        )) {
            is_indexed(&pieces.concat());
        }

        #[test]
        fn a_filter_with_a_final_alternative_without_an_index_has_none(sql in "[a-c1'\"$=() ANDOR.]{0,20}") {
            let with_or = format!("x = 1 AND {sql} OR x > 1");
            prop_assert!(!is_indexed(&with_or), "{with_or}");
        }
    }
}
