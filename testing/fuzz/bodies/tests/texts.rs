//! Definitions and traces.

use shape_meta_fuzz_bodies::{definition, trace};

use crate::mangle::{change, every_byte, tries};

const DEFINITIONS: [&str; 4] = [
    include_str!("../../corpus/definition/plain.json"),
    include_str!("../../corpus/definition/filter.json"),
    include_str!("../../corpus/definition/all.json"),
    include_str!("../../corpus/definition/escapes.json"),
];

const TRACE: &str = include_str!("../../corpus/trace/lines.jsonl");

#[test]
fn the_samples_are_valid() {
    use shape_meta_core::{Definition, Shape, Trace};

    for text in DEFINITIONS {
        Shape::decode(text.as_bytes()).expect("the sample decodes");
    }
    assert!(Trace::new(TRACE.as_bytes()).filter(Result::is_ok).count() > 2);
}

#[test]
fn no_bytes_panic_as_a_definition() {
    for text in DEFINITIONS {
        every_byte(text.as_bytes(), definition);
    }
    let all = DEFINITIONS.map(str::as_bytes);
    let (tries, mut rng) = tries(20_000);
    for _ in 0..tries {
        let text = all[rng.usize(..all.len())];
        definition(&change(&mut rng, text, &all));
    }
}

/// The parser bounds the depth, so that the stack does not overflow.
#[test]
fn no_depth_panics_as_a_definition() {
    for open in ["[", "{\"a\":", "{\"table\":["] {
        definition(open.repeat(100_000).as_bytes());
    }
    let nested = format!("{{\"table\":{}", "[".repeat(100_000));
    definition(nested.as_bytes());
}

#[test]
fn no_bytes_panic_as_a_trace() {
    let all = [TRACE.as_bytes(), DEFINITIONS[1].as_bytes(), b"\n", b"\r\n\n", b"\xff\xfe"];
    let (tries, mut rng) = tries(5_000);
    for _ in 0..tries {
        trace(&change(&mut rng, all[0], &all));
    }
    for at in 0..TRACE.len() {
        trace(&TRACE.as_bytes()[..at]);
    }
}
