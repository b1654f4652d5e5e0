use std::{cell::Cell, collections::BTreeMap};

use sqlparser::{
    ast::{BinaryOperator, Expr, Ident, InTarget, UnaryOperator, Value as Constant},
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::Token,
};

use super::{
    Comparison, Filter, InvalidFilter, Kind, Literal, like,
    value::{Numeric, Value},
};

/// The deepest nesting of a `where` clause in parentheses.
const MAX_DEPTH: usize = 64;
/// The most conditions of a `where` clause. Chains of `AND` and `OR` are nested without parentheses.
const MAX_CONDITIONS: usize = 500;
/// The longest `where` clause.
const MAX_BYTES: usize = 32 * 1024;

type Result<T> = std::result::Result<T, InvalidFilter>;

/// Parses a `where` clause over the columns of a table. `params` are the values of `$1`, `$2`, by number.
///
/// # Errors
///
/// If it is not SQL, names an unknown column, or has a part that is not certain to be evaluated as PostgreSQL
/// does.
pub(crate) fn parse(
    sql: &str,
    params: &BTreeMap<String, String>,
    columns: &[(&str, Kind)],
) -> Result<Filter> {
    let mut parser = parser(sql)?;
    let expression = parser.parse_expr().map_err(|error| InvalidFilter(error.to_string()))?;
    end(&mut parser, "the where clause")?;
    Scope { params, columns, conditions: Cell::new(0) }.condition(&expression)
}

/// Parses a list of column names, separated by commas, as in SQL: a name without quotes is lower case.
///
/// # Errors
///
/// If it is not such a list.
pub(crate) fn identifiers(list: &str) -> Result<Vec<String>> {
    let mut parser = parser(list)?;
    let names = parser
        .parse_comma_separated(|parser| parser.parse_identifier())
        .map_err(|error| InvalidFilter(error.to_string()))?;
    end(&mut parser, "the list of columns")?;
    Ok(names.iter().map(folded).collect())
}

fn parser(sql: &str) -> Result<Parser<'static>> {
    if sql.len() > MAX_BYTES {
        return Err(InvalidFilter(format!("{} bytes are too long; the limit is {MAX_BYTES}", sql.len())));
    }
    Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(sql)
        .map_err(|error| InvalidFilter(error.to_string()))
}

fn end(parser: &mut Parser<'_>, what: &str) -> Result<()> {
    match parser.peek_token().token {
        Token::EOF => Ok(()),
        rest => Err(InvalidFilter(format!("{what} goes on after its end, with {rest}"))),
    }
}

fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

struct Scope<'a> {
    params: &'a BTreeMap<String, String>,
    columns: &'a [(&'a str, Kind)],
    conditions: Cell<usize>,
}

/// A constant as it is written.
enum Written {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
}

impl Scope<'_> {
    fn condition(&self, expression: &Expr) -> Result<Filter> {
        self.conditions.set(self.conditions.get() + 1);
        if self.conditions.get() > MAX_CONDITIONS {
            return Err(InvalidFilter(format!("the where clause has more than {MAX_CONDITIONS} conditions")));
        }
        let inner = |inner| self.condition(inner).map(Box::new);
        Ok(match expression {
            Expr::Nested(nested) => self.condition(nested)?,
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Filter::Not(inner(expr)?),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                Filter::And(inner(left)?, inner(right)?)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => Filter::Or(inner(left)?, inner(right)?),
            Expr::BinaryOp { left, op, right } => self.comparison(left, op, right)?,
            Expr::IsNull(column) => Filter::IsNull(self.column(column)?.0),
            Expr::IsNotNull(column) => not(true, Filter::IsNull(self.column(column)?.0)),
            Expr::In { expr, target: InTarget::List(list), negated, global: false } => {
                let column = self.column(expr)?;
                let literals = list.iter().map(|one| self.literal(column, one)).collect::<Result<_>>()?;
                not(*negated, Filter::In(column.0, literals))
            }
            Expr::Between { expr, negated, low, high } => {
                let column = self.column(expr)?;
                let low = self.compare(column, Comparison::GreaterOrEqual, low)?;
                let high = self.compare(column, Comparison::LessOrEqual, high)?;
                not(*negated, Filter::And(Box::new(low), Box::new(high)))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                let (column, kind) = self.column(expr)?;
                let Written::Text(pattern) = self.constant(pattern)? else {
                    return Err(refused(expression, "the pattern of LIKE has to be a string"));
                };
                if kind != Kind::Text {
                    return Err(refused(expression, "LIKE is evaluated for the types text and varchar only"));
                }
                if like::matches("", &pattern).is_none() {
                    return Err(refused(expression, "the pattern ends with its escape character"));
                }
                not(*negated, Filter::Like(column, pattern))
            }
            Expr::Value(value) => match &value.value {
                Constant::Boolean(constant) => Filter::Constant(*constant),
                _ => return Err(refused(expression, "it is not a condition")),
            },
            Expr::Identifier(_) => match self.column(expression)? {
                (column, Kind::Bool) => {
                    let constant = Literal(Some(("true".to_owned(), Value::Bool(true))));
                    Filter::Compare(column, Comparison::Equal, constant)
                }
                _ => return Err(refused(expression, "the column is not of the type bool")),
            },
            _ => return Err(refused(expression, SUPPORTED)),
        })
    }

    fn comparison(&self, left: &Expr, operator: &BinaryOperator, right: &Expr) -> Result<Filter> {
        let comparison = match operator {
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            other => {
                return Err(InvalidFilter(format!("the operator {other} is not evaluated: {SUPPORTED}")));
            }
        };
        match self.column(left) {
            Ok(column) => self.compare(column, comparison, right),
            Err(_) if is_constant(left) => self.compare(self.column(right)?, comparison.flipped(), left),
            Err(error) => Err(error),
        }
    }

    fn compare(&self, column: (usize, Kind), comparison: Comparison, constant: &Expr) -> Result<Filter> {
        let is_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if is_order && !column.1.is_ordered() {
            return Err(refused(
                constant,
                "the order of texts depends on their collation, and is not evaluated",
            ));
        }
        Ok(Filter::Compare(column.0, comparison, self.literal(column, constant)?))
    }

    fn column(&self, expression: &Expr) -> Result<(usize, Kind)> {
        let Expr::Identifier(name) = expression else {
            return Err(refused(expression, "one side of a comparison has to be the name of a column"));
        };
        let name = folded(name);
        let found = self.columns.iter().position(|(column, _)| *column == name);
        let at = found.ok_or_else(|| InvalidFilter(format!("the table has no column {name:?}")))?;
        Ok((at, self.columns[at].1))
    }

    fn literal(&self, (_, kind): (usize, Kind), expression: &Expr) -> Result<Literal> {
        let written = self.constant(expression)?;
        if matches!(written, Written::Null) {
            return Ok(Literal(None));
        }
        let text = canonical(kind, written).ok_or_else(|| {
            refused(
                expression,
                &format!("it is not a constant that is compared with a column of the kind {kind:?}"),
            )
        })?;
        let value = Value::parse(kind, &text)
            .ok_or_else(|| refused(expression, &format!("it is not a value of the kind {kind:?}")))?;
        Ok(Literal(Some((text, value))))
    }

    fn constant(&self, expression: &Expr) -> Result<Written> {
        Ok(match expression {
            Expr::Nested(nested) => self.constant(nested)?,
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.constant(expr)? {
                Written::Number(digits) if !digits.starts_with('-') => Written::Number(format!("-{digits}")),
                _ => return Err(refused(expression, "it is not a number")),
            },
            Expr::Value(value) => match &value.value {
                Constant::Null => Written::Null,
                Constant::Boolean(constant) => Written::Bool(*constant),
                Constant::Number(digits, _) => Written::Number(digits.to_string()),
                Constant::SingleQuotedString(text) => Written::Text(text.clone()),
                Constant::Placeholder(name) => {
                    let value = name.strip_prefix('$').and_then(|number| self.params.get(number));
                    Written::Text(value.ok_or_else(|| InvalidFilter(format!("{name} has no value")))?.clone())
                }
                _ => return Err(refused(expression, "this form of a constant is not evaluated")),
            },
            _ => return Err(refused(expression, SUPPORTED)),
        })
    }
}

const SUPPORTED: &str = "supported are comparisons of a column with a constant, IN, BETWEEN, LIKE, IS NULL, AND, OR \
                         and NOT";

fn refused(expression: &Expr, why: &str) -> InvalidFilter {
    InvalidFilter(format!("`{expression}` is refused: {why}"))
}

fn not(negated: bool, filter: Filter) -> Filter {
    if negated { Filter::Not(Box::new(filter)) } else { filter }
}

fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => is_constant(inner),
        Expr::Value(_) => true,
        _ => false,
    }
}

/// Returns the text that PostgreSQL prints for this constant as a value of a column. `None` if the constant
/// is not a value of this kind, or has a form that is not certain to be read in the same way.
fn canonical(kind: Kind, written: Written) -> Option<String> {
    let (text, is_number) = match written {
        Written::Null => return None,
        Written::Bool(value) => return (kind == Kind::Bool).then(|| value.to_string()),
        Written::Number(digits) => (digits, true),
        Written::Text(text) => (text, false),
    };
    Some(match kind {
        Kind::Int => text.parse::<i64>().ok()?.to_string(),
        Kind::Numeric => match Value::parse(kind, &text)? {
            Value::Numeric(Numeric::Finite { .. }) => text,
            _ => return None,
        },
        // A number without quotes is compared in double precision, which differs.
        Kind::Float4 if is_number => return None,
        Kind::Float4 | Kind::Float8 => {
            text.parse::<f64>().ok().filter(|value| value.is_finite()).map(|_| text)?
        }
        _ if is_number => return None,
        Kind::Bool => match text.as_str() {
            "t" | "true" => "true".to_owned(),
            "f" | "false" => "false".to_owned(),
            _ => return None,
        },
        Kind::Text => text,
        Kind::Uuid => text.to_ascii_lowercase(),
        Kind::Date => is_shaped(&text, b"dddd-dd-dd").then_some(text)?,
        Kind::Timestamp => timestamp(&text)?,
        Kind::TimestampTz => {
            let local = text.strip_suffix("+00").or_else(|| text.strip_suffix('Z'))?;
            format!("{}+00", timestamp(local)?)
        }
        Kind::Other => return None,
    })
}

fn timestamp(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = whole.replacen('T', " ", 1);
    // 24:00 and the 60th second are the next day and the next minute in PostgreSQL.
    let is_usual = is_shaped(&whole, b"dddd-dd-dd dd:dd:dd") && &whole[11..13] < "24" && &whole[17..] < "60";
    is_usual.then(|| if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") })
}

fn is_shaped(text: &str, shape: &[u8]) -> bool {
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape };
    text.len() == shape.len() && text.bytes().zip(shape).all(fits)
}

impl Comparison {
    /// Returns the comparison with both sides exchanged.
    fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [(&str, Kind); 7] = [
        ("id", Kind::Int),
        ("title", Kind::Text),
        ("done", Kind::Bool),
        ("price", Kind::Numeric),
        ("Odd", Kind::Uuid),
        ("at", Kind::TimestampTz),
        ("data", Kind::Other),
    ];

    fn parsed(sql: &str) -> Result<Filter> {
        let params = [("1".to_owned(), "it's".to_owned())].into();
        parse(sql, &params, &COLUMNS)
    }

    #[test]
    fn a_filter_is_printed_and_evaluated() {
        let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
        let kinds: Vec<_> = COLUMNS.iter().map(|(_, kind)| *kind).collect();
        let row = [Some("7"), Some("it's"), Some("f"), None, None, Some("2026-11-29 10:00:00+00"), None];
        let cases = [
            ("id = 7", r#"("id" = '7')"#, true),
            ("7 < ID", r#"("id" > '7')"#, false),
            ("title = $1 and not done", r#"(("title" = 'it''s') AND (NOT ("done" = 'true')))"#, true),
            ("price > -1.5", r#"("price" > '-1.5')"#, false),
            ("not price > 1", r#"(NOT ("price" > '1'))"#, false),
            ("price is null", r#"("price" IS NULL)"#, true),
            (
                "\"Odd\" is not null or id in (1, 7)",
                r#"((NOT ("Odd" IS NULL)) OR ("id" IN ('1', '7')))"#,
                true,
            ),
            ("id not in (1, null)", r#"(NOT ("id" IN ('1', NULL)))"#, false),
            ("id between 1 and 7", r#"(("id" >= '1') AND ("id" <= '7'))"#, true),
            ("title like 'it_s%'", r#"("title" LIKE 'it_s%')"#, true),
            ("title not like '%x'", r#"(NOT ("title" LIKE '%x'))"#, true),
            ("at >= '2026-11-29T10:00:00.0Z'", r#"("at" >= '2026-11-29 10:00:00+00')"#, true),
            ("true", "true", true),
        ];
        for (sql, printed, matches) in cases {
            let filter = parsed(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(filter.to_sql(&names), printed, "{sql}");
            assert_eq!(filter.matches(&row, &kinds), Some(matches), "{sql}");
        }
    }

    #[test]
    fn what_may_differ_from_postgresql_is_refused() {
        for sql in [
            "id + 1 = 2",
            "lower(title) = 'a'",
            "title < 'a'",
            "title ilike 'a'",
            "id = title",
            "nothing = 1",
            "id = 1.5",
            "id = 'x'",
            "title = 5",
            "data = 'x'",
            "id",
            "id = 1; drop table x",
            "id = 1 2",
            "id::text = '1'",
            "title like 'a\\'",
            "at > '2026-11-29'",
            "id in (select 1)",
            "exists (select 1)",
            "id = $2",
            "",
            "id = any($1)",
            "title = E'a'",
            "price = 'NaN'",
            "t.id = 1",
            "done = 'yes'",
            "title similar to 'a'",
            "id = - - 1",
        ] {
            assert!(parsed(sql).is_err(), "{sql} is accepted as {:?}", parsed(sql));
        }
        let deep = format!("{}id = 1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(parsed(&deep).is_err());
    }

    #[test]
    fn lists_of_columns_are_read_as_in_sql() {
        assert_eq!(
            identifiers(r#"id, "Odd,""x",Title"#).ok(),
            Some(vec!["id".into(), "Odd,\"x".into(), "title".into()])
        );
        assert!(identifiers("id,").is_err());
    }
}
