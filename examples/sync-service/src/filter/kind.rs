/// How the values of a column are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Numeric,
    Float4,
    Float8,
    Text,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    /// Only `IS NULL` is evaluated.
    Other,
}

impl Kind {
    /// Returns the kind of a type of `pg_catalog`, by its name.
    pub(crate) fn of_type(name: &str, has_deterministic_collation: bool) -> Self {
        match name {
            "bool" => Self::Bool,
            "int2" | "int4" | "int8" => Self::Int,
            "numeric" => Self::Numeric,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "text" | "varchar" if has_deterministic_collation => Self::Text,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            _ => Self::Other,
        }
    }

    /// Whether `<` and `>` are evaluated. Not for texts, because their order depends on the collation.
    pub(crate) fn is_ordered(self) -> bool {
        !matches!(self, Self::Text | Self::Other)
    }
}
