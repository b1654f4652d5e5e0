//! The `where` clause of a shape: parsed once, printed as SQL for snapshots, and evaluated for changes.
//!
//! Snapshots are filtered by PostgreSQL and changes by [`Filter::matches`], so both must agree for every row.
//! What is not certain to agree is refused when the shape is created.

mod evaluate;
mod kind;
mod like;
mod parse;
mod sql;
mod value;

pub(crate) use kind::Kind;
pub(crate) use parse::{identifiers, parse};
pub(crate) use sql::quoted;

use value::Value;

/// A condition over the columns of one table. Columns are positions in the table description.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    Constant(bool),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    IsNull(usize),
    Compare(usize, Comparison, Literal),
    In(usize, Vec<Literal>),
    Like(usize, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A constant, with its text in the form that PostgreSQL prints. `None` is `NULL`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Literal(Option<(String, Value)>);

/// The reason why a `where` clause or a list of columns is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidFilter(pub(crate) String);

impl std::fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidFilter {}
