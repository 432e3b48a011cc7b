//! Lines over time, as SVG. What a chart shows is said in words too: in its label, which screen readers read, and in the numbers below.

use std::fmt::Write;

use maud::{Markup, html};

const WIDTH: u64 = 600;
const HEIGHT: u64 = 96;

/// A line of the values, oldest first, as high as the highest of them.
pub(crate) fn line(label: &str, values: &[u64], highest: &str) -> Markup {
    let most = values.iter().copied().max().unwrap_or_default().max(1);
    let last = u64::try_from(values.len())
        .unwrap_or(u64::MAX)
        .saturating_sub(1)
        .max(1);
    let mut points = String::new();
    for (place, value) in (0_u64..).zip(values) {
        let x = place.saturating_mul(WIDTH) / last;
        let height = u128::from(*value) * u128::from(HEIGHT) / u128::from(most);
        let y = HEIGHT.saturating_sub(u64::try_from(height).unwrap_or(HEIGHT));
        // Writing to a string cannot fail.
        let _ = write!(points, "{x},{y} ");
    }
    html! {
        figure {
            figcaption { (label) ", at most " (highest) }
            svg viewBox=(format!("0 -2 {WIDTH} {}", HEIGHT + 4)) preserveAspectRatio="none" role="img"
                aria-label=(format!("{label}, at most {highest}")) {
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
                polyline points=(points.trim_end()) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_is_at_the_top_and_none_is_outside() {
        let svg = line("Runs", &[0, 5, 10], "10").into_string();
        assert!(svg.contains(r#"points="0,96 300,48 600,0""#), "{svg}");
        assert!(svg.contains(r#"aria-label="Runs, at most 10""#), "{svg}");
        for values in [&[][..], &[0], &[0, 0], &[u64::MAX, u64::MAX - 1]] {
            let svg = line("x", values, "y").into_string();
            assert!(!svg.contains("NaN") && !svg.contains(",-"), "{svg}");
        }
    }
}
