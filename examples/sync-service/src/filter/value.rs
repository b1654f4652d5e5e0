//! Values of columns and constants, in the order of PostgreSQL.

use std::cmp::Ordering;

use super::Kind;

/// A value that can be compared with others of its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Numeric(Numeric),
    Float(f64),
    Text(String),
    /// The year, and the rest as text, whose bytes are in the order of time.
    Time(i64, String),
}

impl Value {
    /// Returns the value with this text, as PostgreSQL prints it: dates in ISO format, times in UTC.
    pub(crate) fn parse(kind: Kind, text: &str) -> Option<Self> {
        Some(match kind {
            Kind::Bool => match text {
                "t" | "true" => Self::Bool(true),
                "f" | "false" => Self::Bool(false),
                _ => return None,
            },
            Kind::Int => Self::Int(text.parse().ok()?),
            Kind::Numeric => Self::Numeric(Numeric::parse(text)?),
            Kind::Float4 => Self::Float(f64::from(text.parse::<f32>().ok()?)),
            Kind::Float8 => Self::Float(text.parse().ok()?),
            Kind::Text => Self::Text(text.to_owned()),
            Kind::Uuid => Self::Text(is_uuid(text).then(|| text.to_owned())?),
            Kind::Date | Kind::Timestamp | Kind::TimestampTz => time(text)?,
            Kind::Other => return None,
        })
    }

    /// Returns the order of two values of one kind.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Numeric(one), Self::Numeric(other)) => one.cmp(other),
            // PostgreSQL: NaN equals NaN, and is greater than every other value.
            (Self::Float(one), Self::Float(other)) => {
                one.partial_cmp(other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
            }
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Time(year, rest), Self::Time(other_year, other_rest)) => {
                year.cmp(other_year).then_with(|| rest.cmp(other_rest))
            }
            _ => return None,
        })
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// A date or a time: `2026-11-29`, `2026-11-29 10:00:00.5+00`, `0044-03-15 BC`, `infinity`.
fn time(text: &str) -> Option<Value> {
    match text {
        "infinity" => return Some(Value::Time(i64::MAX, String::new())),
        "-infinity" => return Some(Value::Time(i64::MIN, String::new())),
        _ => {}
    }
    let (text, is_before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (year, rest) = text.split_once('-')?;
    let year = year.parse::<i64>().ok().filter(|year| *year > 0)?;
    Some(Value::Time(if is_before_christ { 1 - year } else { year }, rest.to_owned()))
}

/// A decimal number of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Numeric {
    Infinite {
        is_negative: bool,
    },
    /// The digits before the point without leading zeros, and those after it without trailing ones.
    Finite {
        is_negative: bool,
        whole: String,
        fraction: String,
    },
    NotANumber,
}

impl Numeric {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(Self::NotANumber),
            "Infinity" => return Some(Self::Infinite { is_negative: false }),
            "-Infinity" => return Some(Self::Infinite { is_negative: true }),
            _ => {}
        }
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(whole) || !are_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        // There is no negative zero.
        let is_negative = is_negative && !(whole.is_empty() && fraction.is_empty());
        Some(Self::Finite { is_negative, whole: whole.to_owned(), fraction: fraction.to_owned() })
    }

    /// The rank among negative infinity, finite numbers, infinity, and NaN, which is the greatest.
    fn rank(&self) -> u8 {
        match self {
            Self::Infinite { is_negative: true } => 0,
            Self::Finite { .. } => 1,
            Self::Infinite { is_negative: false } => 2,
            Self::NotANumber => 3,
        }
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        let (
            Self::Finite { is_negative, whole, fraction },
            Self::Finite { is_negative: other_is_negative, whole: other_whole, fraction: other_fraction },
        ) = (self, other)
        else {
            return self.rank().cmp(&other.rank());
        };
        let size = (whole.len(), whole, fraction).cmp(&(other_whole.len(), other_whole, other_fraction));
        match (is_negative, other_is_negative) {
            (false, false) => size,
            (true, true) => size.reverse(),
            _ => other_is_negative.cmp(is_negative),
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_order_of_postgresql() {
        let orders: [(Kind, &[&str]); 6] = [
            (Kind::Int, &["-9223372036854775808", "-1", "0", "9223372036854775807"]),
            (
                Kind::Numeric,
                &["-Infinity", "-10.5", "-9", "0.00", "0.5", "0.51", "9", "10", "Infinity", "NaN"],
            ),
            (Kind::Float8, &["-Infinity", "-1.5", "0", "1e-7", "1e+20", "Infinity", "NaN"]),
            (
                Kind::Date,
                &["-infinity", "0044-03-15 BC", "0001-01-01", "2026-11-29", "10000-01-01", "infinity"],
            ),
            (
                Kind::TimestampTz,
                &["2026-11-29 10:00:00+00", "2026-11-29 10:00:00.5+00", "2026-11-29 10:00:01+00"],
            ),
            (Kind::Bool, &["f", "t"]),
        ];
        for (kind, texts) in orders {
            let values: Vec<_> = texts.iter().map(|text| Value::parse(kind, text).expect(text)).collect();
            for (at, one) in values.iter().enumerate() {
                for (other_at, other) in values.iter().enumerate() {
                    assert_eq!(one.compare(other), Some(at.cmp(&other_at)), "{one:?} and {other:?}");
                }
            }
        }
        let numeric = |text| Value::parse(Kind::Numeric, text);
        assert_eq!(numeric("1.50"), numeric("1.5"));
        assert_eq!(numeric("-0.0"), numeric("0"));
    }
}
