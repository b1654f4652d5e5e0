use std::cmp::Ordering;

use super::{Comparison, Filter, Kind, Literal, like, value::Value};

impl Filter {
    /// Returns whether a row is in the shape: the condition is true, and neither false nor `NULL`. `None` if
    /// a value cannot be read, so that the result is not known.
    pub(crate) fn matches(&self, row: &[Option<&str>], kinds: &[Kind]) -> Option<bool> {
        Some(self.evaluate(&Row { values: row, kinds })? == Some(true))
    }

    /// The inner `None` is SQL's `NULL`.
    fn evaluate(&self, row: &Row<'_>) -> Option<Option<bool>> {
        Some(match self {
            Self::Constant(constant) => Some(*constant),
            Self::Not(inner) => inner.evaluate(row)?.map(|value| !value),
            Self::And(left, right) => match (left.evaluate(row)?, right.evaluate(row)?) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.evaluate(row)?, right.evaluate(row)?) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::IsNull(column) => Some(row.text(*column)?.is_none()),
            Self::Compare(column, comparison, literal) => {
                row.compare(*column, literal)?.map(|order| comparison.holds(order))
            }
            Self::In(column, literals) => {
                let mut found = Some(false);
                for literal in literals {
                    match row.compare(*column, literal)? {
                        Some(Ordering::Equal) => return Some(Some(true)),
                        Some(_) => {}
                        None => found = None,
                    }
                }
                found
            }
            Self::Like(column, pattern) => match row.text(*column)? {
                Some(text) => Some(like::matches(text, pattern)?),
                None => None,
            },
        })
    }
}

struct Row<'a> {
    values: &'a [Option<&'a str>],
    kinds: &'a [Kind],
}

impl<'a> Row<'a> {
    fn text(&self, column: usize) -> Option<Option<&'a str>> {
        self.values.get(column).copied()
    }

    /// The inner `None` is SQL's `NULL`.
    fn compare(&self, column: usize, literal: &Literal) -> Option<Option<Ordering>> {
        let (Some(text), Some((_, constant))) = (self.text(column)?, &literal.0) else { return Some(None) };
        let value = Value::parse(*self.kinds.get(column)?, text)?;
        Some(Some(value.compare(constant)?))
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
