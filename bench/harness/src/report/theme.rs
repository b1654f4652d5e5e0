//! Colours for light and dark.
//!
//! Charts are drawn in the light colours, and a style sheet maps each to its dark colour: a style rule has
//! precedence over an attribute. So one drawing serves both, also as a separate file in a document.

use plotters::style::RGBColor;

/// A colour in the light and in the dark theme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    light: (u8, u8, u8),
    dark: &'static str,
}

impl Ink {
    pub(super) fn color(self) -> RGBColor {
        RGBColor(self.light.0, self.light.1, self.light.2)
    }

    fn hex(self) -> String {
        let (red, green, blue) = self.light;
        format!("#{red:02X}{green:02X}{blue:02X}")
    }
}

pub(super) const PAPER: Ink = Ink { light: (255, 255, 255), dark: "#0d1117" };
pub(super) const TEXT: Ink = Ink { light: (31, 35, 40), dark: "#e6edf3" };
pub(super) const FAINT: Ink = Ink { light: (101, 109, 118), dark: "#9198a1" };
pub(super) const GRID: Ink = Ink { light: (222, 226, 230), dark: "#272d35" };

/// Colours of lines, which can be distinguished without red or green.
const LINES: [Ink; 11] = [
    Ink { light: (9, 105, 218), dark: "#58a6ff" },
    Ink { light: (207, 70, 20), dark: "#ff8a5c" },
    Ink { light: (18, 133, 106), dark: "#2fc79f" },
    Ink { light: (158, 106, 3), dark: "#d9a520" },
    Ink { light: (130, 80, 223), dark: "#bc9cff" },
    Ink { light: (191, 57, 137), dark: "#f778ba" },
    Ink { light: (20, 120, 150), dark: "#4fc6e0" },
    Ink { light: (105, 125, 20), dark: "#a5c23a" },
    Ink { light: (164, 14, 38), dark: "#ff7b72" },
    Ink { light: (90, 95, 180), dark: "#9aa5f5" },
    Ink { light: (125, 85, 60), dark: "#cfa283" },
];

/// The colour of limits.
pub(super) const LIMIT: Ink = Ink { light: (110, 119, 129), dark: "#8b949e" };

/// Returns the colour of the candidate with this index.
pub(super) fn line(at: usize) -> Ink {
    LINES[at % LINES.len()]
}

/// Returns a style sheet that adapts every chart to the theme.
pub(super) fn style() -> String {
    let all = [PAPER, TEXT, FAINT, GRID, LIMIT].into_iter().chain(LINES);
    let rules: String = all
        .map(|ink| {
            let (light, dark) = (ink.hex(), ink.dark);
            format!("svg [fill=\"{light}\"]{{fill:{dark}}}svg [stroke=\"{light}\"]{{stroke:{dark}}}")
        })
        .collect();
    format!("svg text{{font-family:system-ui,sans-serif}}@media(prefers-color-scheme:dark){{{rules}}}")
}

/// Returns the chart as a file of its own.
pub(super) fn standalone(svg: &str) -> String {
    match svg.find('>') {
        Some(end) => format!("{}<style>{}</style>{}", &svg[..=end], style(), &svg[end + 1..]),
        None => svg.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_unique() {
        let all: Vec<_> = [PAPER, TEXT, FAINT, GRID, LIMIT].into_iter().chain(LINES).map(Ink::hex).collect();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), different.len(), "a light colour must have one dark colour");
    }

    #[test]
    fn a_standalone_chart_contains_its_style() {
        assert!(standalone("<svg a=\"b\">\n</svg>").starts_with("<svg a=\"b\"><style>svg text"));
    }
}
