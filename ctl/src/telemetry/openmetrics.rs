//! Reading what a host serves at `/metrics`: the part of OpenMetrics' text format that it writes. Anything else is refused, so that no
//! sample is lost in silence.

/// Families and samples at the most: a host has some dozens, and some hundreds.
const FAMILIES: usize = 1_024;
const SAMPLES: usize = 65_536;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// Without the `_total` of its samples, where it is a counter.
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// What comes after the name of the family: `_total`, `_bucket`, `_sum`, `_count`, or nothing.
    pub(super) suffix: &'static str,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// Reads a whole scrape.
///
/// # Errors
/// The number of the first line that is not understood, and what is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Family>, String> {
    let mut families = Vec::new();
    let mut help = None;
    let mut samples = 0;
    let mut lines = (1_usize..).zip(text.lines());
    for (number, line) in &mut lines {
        let at = |what: &str| format!("line {number}: {what}");
        if line == "# EOF" {
            return match lines.next() {
                None => Ok(families),
                Some(_) => Err(at("there is more after the end")),
            };
        }
        if let Some(described) = line.strip_prefix("# HELP ") {
            let (name, text) = described.split_once(' ').unwrap_or((described, ""));
            help = Some((name.to_owned(), unescaped(text)));
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed
                .split_once(' ')
                .ok_or_else(|| at("a type is missing"))?;
            if families.len() == FAMILIES {
                return Err(at("there are too many families"));
            }
            let described = help.take().filter(|(of, _)| of == name);
            families.push(Family {
                name: name.to_owned(),
                help: described.map(|(_, text)| text).unwrap_or_default(),
                kind: kind_of(kind).ok_or_else(|| at("a type that no host writes"))?,
                samples: Vec::new(),
            });
        } else {
            let family = families.last_mut();
            let family = family.ok_or_else(|| at("a sample of no family"))?;
            samples += 1;
            if samples > SAMPLES {
                return Err(at("there are too many samples"));
            }
            let sample = sample(line, family).ok_or_else(|| at("this is no sample"))?;
            family.samples.push(sample);
        }
    }
    Err("the end is missing".to_owned())
}

fn kind_of(text: &str) -> Option<Kind> {
    match text {
        "counter" => Some(Kind::Counter),
        "gauge" => Some(Kind::Gauge),
        "histogram" => Some(Kind::Histogram),
        _ => None,
    }
}

/// `NAME VALUE`, or `NAME{LABEL="…",…} VALUE`.
fn sample(line: &str, family: &Family) -> Option<Sample> {
    let rest = line.strip_prefix(family.name.as_str())?;
    let suffixes: &[&'static str] = match family.kind {
        Kind::Counter => &["_total"],
        Kind::Gauge => &[""],
        Kind::Histogram => &["_bucket", "_sum", "_count"],
    };
    let (suffix, rest) = suffixes
        .iter()
        .find_map(|suffix| Some((*suffix, rest.strip_prefix(suffix)?)))?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = value.strip_prefix(' ')?;
    Some(Sample {
        suffix,
        labels,
        value: number(value)?,
    })
}

/// The labels, and what comes after them.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        return Some((labels, after));
    }
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(is_plain) {
            return None;
        }
        let end = end_of_value(after)?;
        let (value, after) = after.split_at_checked(end)?;
        labels.push((name.to_owned(), unescaped(value)));
        let after = after.strip_prefix('"')?;
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some((labels, after.strip_prefix('}')?)),
        }
    }
}

/// Where the first quote is that is not escaped.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (other, false) => plain.push(other),
        }
    }
    plain
}

/// A number in decimal, or `+Inf`; a host has no other.
fn number(text: &str) -> Option<f64> {
    let is_decimal = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E');
    if text == "+Inf" {
        return Some(f64::INFINITY);
    }
    text.bytes()
        .all(is_decimal)
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCRAPE: &str = "\
# HELP requests Requests, by how they ended.
# TYPE requests counter
requests_total{kind=\"a\",outcome=\"a \\\"b\\\" \\\\\"} 3
requests_total{kind=\"b\",outcome=\"\"} 0
# HELP ready Whether.
# TYPE ready gauge
ready 1
# HELP step_seconds Times.
# TYPE step_seconds histogram
step_seconds_sum{step=\"run\"} 0.5
step_seconds_count{step=\"run\"} 2
step_seconds_bucket{le=\"0.1\",step=\"run\"} 1
step_seconds_bucket{le=\"+Inf\",step=\"run\"} 2
# EOF
";

    #[test]
    fn families_have_their_samples_with_labels_and_values() {
        let families = read(SCRAPE).unwrap();
        let names: Vec<(&str, Kind, usize)> = families
            .iter()
            .map(|it| (it.name.as_str(), it.kind, it.samples.len()))
            .collect();
        assert_eq!(
            names,
            [
                ("requests", Kind::Counter, 2),
                ("ready", Kind::Gauge, 1),
                ("step_seconds", Kind::Histogram, 4)
            ]
        );
        assert_eq!(families[0].help, "Requests, by how they ended.");
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            families[0].samples[0],
            Sample {
                suffix: "_total",
                labels: vec![label("kind", "a"), label("outcome", "a \"b\" \\")],
                value: 3.0,
            }
        );
        let bucket = &families[2].samples[2];
        assert_eq!((bucket.suffix, bucket.value), ("_bucket", 1.0));
        assert_eq!(bucket.labels[0], label("le", "0.1"));
    }

    #[test]
    fn what_no_host_writes_is_refused_with_its_line() {
        for (text, line) in [
            ("", "the end is missing"),
            ("# TYPE a gauge\na 1\n", "the end is missing"),
            ("a 1\n# EOF\n", "line 1"),
            ("# TYPE a summary\n# EOF\n", "line 1"),
            ("# TYPE a\n# EOF\n", "line 1"),
            ("# TYPE a counter\na 1\n# EOF\n", "line 2"),
            ("# TYPE a gauge\nb 1\n# EOF\n", "line 2"),
            ("# TYPE a gauge\na NaN\n# EOF\n", "line 2"),
            ("# TYPE a gauge\na 1 1700000000\n# EOF\n", "line 2"),
            ("# TYPE a gauge\na{b=\"c} 1\n# EOF\n", "line 2"),
            ("# TYPE a gauge\na{b=\"c\"x} 1\n# EOF\n", "line 2"),
            ("# TYPE a gauge\na{=\"c\"} 1\n# EOF\n", "line 2"),
            ("# TYPE a gauge\na 1\n# EOF\nmore\n", "line 3"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(line), "{text:?}: {error}");
        }
    }

    #[test]
    fn there_are_not_more_families_than_a_host_can_have() {
        let many: String = (0..=FAMILIES)
            .map(|n| format!("# TYPE a{n} gauge\n"))
            .collect();
        assert!(read(&many).unwrap_err().contains("too many families"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_read_or_refused(text in "\\PC*") {
            let _ = read(&text);
        }

        #[test]
        fn a_scrape_with_a_part_cut_out_is_read_or_refused(from in 0..SCRAPE.len(), to in 0..SCRAPE.len()) {
            let (from, to) = (from.min(to), from.max(to));
            let _ = read(&format!("{}{}", &SCRAPE[..from], &SCRAPE[to..]));
        }

        #[test]
        fn label_values_are_read_as_they_were_escaped(value in "[^\n]*", count in 0_u32..) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("# TYPE a counter\na_total{{b=\"{escaped}\"}} {count}\n# EOF\n");
            let families = read(&text).unwrap();
            let sample = &families[0].samples[0];
            prop_assert_eq!(&sample.labels[0].1, &value);
            prop_assert!((sample.value - f64::from(count)).abs() < 0.5);
        }
    }
}
