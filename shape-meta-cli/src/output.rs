//! Formatting of the output.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal, Write},
};

use comfy_table::{Table, presets};
use serde::Serialize;
use shape_meta_core::Timestamp;

/// Returns a table without rules between the rows: easy to read, and to cut into columns.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table
}

/// Writes one line of JSON. What a terminal would obey is escaped as JSON does, which changes no value.
pub(crate) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    // Such a character is part of a string of the JSON text.
    let text = escape(&text, |c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    });
    writeln!(out, "{text}")
}

/// Returns a text in which a terminal obeys nothing: control characters (also ESC and those of C1), line
/// ends, and characters that change the direction of the text or are invisible are escaped, such as `\u{1b}`.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    escape(text, |c| c.escape_default().to_string())
}

fn escape(text: &str, escaped: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { safe.push_str(&escaped(c)) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings, overrides and isolates of the direction; separators of lines; invisible
            // ones.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Writes a line about the command itself to standard error. A closed standard error is no failure.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "shape-meta: {text}");
}

/// Returns the width to which lines are cut: `COLUMNS`, or that of the terminal. `None` for a file or a pipe.
pub(crate) fn width() -> Option<usize> {
    let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let terminal = io::stdout().is_terminal().then(console::Term::stdout);
        terminal.and_then(|terminal| terminal.size_checked()).map(|(_, columns)| usize::from(columns))
    };
    columns.or_else(terminal).filter(|width| *width > 0)
}

/// Returns the beginning of a line that fits the width.
pub(crate) fn cut(line: &str, width: Option<usize>) -> Cow<'_, str> {
    match width {
        Some(width) => console::truncate_str(line, width, "…"),
        None => Cow::Borrowed(line),
    }
}

/// Returns a number of bytes with a binary unit.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// Returns a duration in its largest whole unit, such as `3h`.
pub(crate) fn age(age: std::time::Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Returns how long ago a time was, such as `3h ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(at.age_at(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_a_terminal_obeys_nothing_that_is_printed() {
        let attacks = [
            "\u{1b}[2J",
            "\r",
            "\n",
            "\u{7f}",
            "\u{9b}31m",
            "\u{202e}",
            "\u{2066}",
            "\u{200f}",
            "\u{61c}",
            "\u{feff}",
        ];
        for attack in attacks {
            let text = safe(attack);
            assert!(text.chars().all(|c| c.is_ascii_graphic()), "{attack:?} is printed as {text:?}");
            let mut out = Vec::new();
            json(&mut out, &attack).expect("writes");
            let line = String::from_utf8(out).expect("UTF-8");
            assert!(line.trim_end().chars().all(|c| c.is_ascii_graphic()), "{attack:?} is JSON {line:?}");
            assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), attack);
        }
        assert_eq!(safe("größe 日本 \u{1f600}"), "größe 日本 \u{1f600}");
    }

    #[test]
    fn lines_are_cut_to_the_width() {
        assert_eq!(cut("abcdef", Some(4)), "abc…");
        assert_eq!(cut("abcdef", None), "abcdef");
    }
}
