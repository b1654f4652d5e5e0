/// Writes a number with about three digits, and with a comma between thousands.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        "?".to_owned()
    } else if value >= 1_000.0 {
        grouped(value.round() as u64)
    } else if value >= 10.0 || value == value.round() {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.1234, 3.0, 9.87, 98.7, 1_234.5, 12_345_678.0, f64::NAN].map(number);
        assert_eq!(numbers, ["0", "0.12", "3", "9.87", "99", "1,235", "12,345,678", "?"]);
    }
}
