//! Numbers as people read them.

pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(crate) fn micros(micros: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", micros / unit, micros % unit / (unit / 10));
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", tenths(1_000)),
        _ => format!("{} s", tenths(1_000_000)),
    }
}

pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// The first characters of a digest.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

/// What a bound is of.
pub(crate) fn bound(name: &str) -> &str {
    match name {
        "slots" => "Executions",
        "queue" => "Waiting for a slot",
        "bytes" => "Bytes of requests and answers",
        "errands" => "Errands of owners",
        "turns" => "Waiting for a plugin",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let spans = [5, 61, 7_300, 200_000].map(span);
        assert_eq!(spans, ["5 s", "1 min", "2 h 1 min", "2 days"]);
        let times = [7, 1_550, 2_500_000].map(micros);
        assert_eq!(times, ["7 µs", "1.5 ms", "2.5 s"]);
        let sizes = [7, 2_048, 3 << 20, 5 << 30].map(bytes);
        assert_eq!(sizes, ["7 B", "2 KiB", "3 MiB", "5 GiB"]);
        assert_eq!(short("ä".repeat(20).as_str()).chars().count(), 16);
    }
}
