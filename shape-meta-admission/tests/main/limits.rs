//! Limits from JSON: parsing is strict, and each error names the key.

use shape_meta_admission::{AdmissionLimits, LimitsProblem};

#[test]
fn valid_limits_are_parsed() {
    for (text, initial, existing) in [
        (r#"{"initial":300,"existing":10000}"#, 300, 10_000),
        (" { \"existing\" : 1 ,\n\"initial\" : 0 } ", 0, 1),
        (r#"{"\u0069nitial":4294967295,"existing":4294967295}"#, u32::MAX, u32::MAX),
    ] {
        assert_eq!(AdmissionLimits::from_json(text), Ok(AdmissionLimits { initial, existing }), "{text}");
        assert_eq!(text.parse(), Ok(AdmissionLimits { initial, existing }));
    }
}

#[test]
fn texts_of_invalid_limits() {
    let long = format!(r#"{{"{}":1}}"#, "é".repeat(1000));
    let many = format!(r#"{{"initial":{},"existing":1}}"#, "9".repeat(1000));
    let deep = "[".repeat(100_000);
    let bad = [
        // Empty.
        "",
        // Not JSON.
        "initial=300",
        r#"{"initial":300,"existing":10000"#,
        r#"{"initial":300,"existing":10000} and"#,
        r#"{"initial":300,"existing":010}"#,
        r#"{"initial":+1,"existing":1}"#,
        // Not an object.
        "300",
        "null",
        "[300,10000]",
        r#""300""#,
        // Keys.
        "{}",
        r#"{"initial":300}"#,
        r#"{"existing":300}"#,
        r#"{"initial":300,"existing":10000,"other":1}"#,
        r#"{"Initial":300,"existing":10000}"#,
        r#"{"ini\u0007tial":300,"existing":10000}"#,
        r#"{"initial":300,"existing":10000,"initial":300}"#,
        r#"{"existing":1,"exist\u0069ng":2}"#,
        &long,
        // Values.
        r#"{"initial":-1,"existing":10000}"#,
        r#"{"initial":300,"existing":-0}"#,
        r#"{"initial":-1.5,"existing":1}"#,
        r#"{"initial":300.0,"existing":10000}"#,
        r#"{"initial":300,"existing":1e4}"#,
        r#"{"initial":1e999,"existing":1}"#,
        r#"{"initial":4294967296,"existing":1}"#,
        r#"{"initial":18446744073709551616,"existing":1}"#,
        &many,
        r#"{"initial":"300","existing":1}"#,
        r#"{"initial":null,"existing":1}"#,
        r#"{"initial":true,"existing":1}"#,
        r#"{"initial":{},"existing":1}"#,
        r#"{"initial":1,"existing":[1]}"#,
    ];
    let texts = bad.map(|text| {
        let error = AdmissionLimits::from_json(text).expect_err(text).to_string();
        let text: String = text.chars().take(60).collect();
        format!("{text}\n    {error}")
    });
    insta::assert_snapshot!(texts.join("\n"));
    // Deep nesting must not overflow the stack. Too long for the snapshot.
    let deep = AdmissionLimits::from_json(&deep).expect_err("not closed");
    assert!(matches!(deep.problem(), LimitsProblem::Syntax { .. }), "{deep}");
}

#[test]
fn problems_can_be_distinguished_without_the_text() {
    let problem = |text| AdmissionLimits::from_json(text).expect_err("bad").problem().clone();
    assert_eq!(problem(" \t\n"), LimitsProblem::Empty);
    assert_eq!(problem(r#"{"a":1}"#), LimitsProblem::UnknownKey { key: "a".into() });
    assert_eq!(problem(r#"{"initial":1}"#), LimitsProblem::MissingKey { key: "existing" });
    let negative = LimitsProblem::Negative { key: "initial", value: "-3".into() };
    assert_eq!(problem(r#"{"initial":-3}"#), negative);
}
