use super::{Comparison, Filter, Literal};

/// Returns a name as a quoted identifier of SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a text as a string constant of SQL, with `standard_conforming_strings` on.
fn constant(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Filter {
    /// Returns the condition as SQL, over columns with these names. Every constant is a string, which
    /// PostgreSQL reads as a value of the column's type.
    pub(crate) fn to_sql(&self, columns: &[&str]) -> String {
        let column = |at: &usize| quoted(columns.get(*at).copied().unwrap_or_default());
        match self {
            Self::Constant(constant) => constant.to_string(),
            Self::And(left, right) => format!("({} AND {})", left.to_sql(columns), right.to_sql(columns)),
            Self::Or(left, right) => format!("({} OR {})", left.to_sql(columns), right.to_sql(columns)),
            Self::Not(inner) => format!("(NOT {})", inner.to_sql(columns)),
            Self::IsNull(at) => format!("({} IS NULL)", column(at)),
            Self::Compare(at, comparison, literal) => {
                format!("({} {} {})", column(at), comparison.to_sql(), literal.to_sql())
            }
            Self::In(at, literals) => {
                let list: Vec<_> = literals.iter().map(Literal::to_sql).collect();
                format!("({} IN ({}))", column(at), list.join(", "))
            }
            Self::Like(at, pattern) => format!("({} LIKE {})", column(at), constant(pattern)),
        }
    }
}

impl Literal {
    fn to_sql(&self) -> String {
        self.0.as_ref().map_or("NULL".to_owned(), |(text, _)| constant(text))
    }
}

impl Comparison {
    fn to_sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}
