//! Search: what is found, in which order, and that a query is only ever words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;
use std::thread;

use hypervisor_agents::Index;
use proptest::prelude::*;

/// An index of agents `(name, description, skills)`, numbered from 0.
fn index(agents: &[(&str, &str, &[&str])]) -> Index {
    let index = Index::new();
    for (id, (name, description, skills)) in (0..).zip(agents) {
        put(&index, id, name, description, skills);
    }
    index
}

fn put(index: &Index, id: u64, name: &str, description: &str, skills: &[&str]) {
    let skills: Vec<String> = skills.iter().map(|skill| (*skill).to_owned()).collect();
    index.put(id, name, description, &skills);
}

/// The numbers of what is found, best first.
fn find(index: &Index, query: &str) -> Vec<u64> {
    let found = index.find(query, 10);
    assert!(found.is_sorted_by(|a, b| a.1 >= b.1), "{found:?}");
    for (_, score) in &found {
        assert!(*score > 0.0 && score.is_finite(), "{found:?}");
    }
    found.into_iter().map(|(id, _)| id).collect()
}

/// Other agents, so that words are neither in all nor in half of them.
const OTHERS: [(&str, &str, &[&str]); 4] = [
    ("echo", "Says what it is told.", &["echo"]),
    ("arxiv", "Finds papers of physicists.", &["papers"]),
    ("hello", "Greets by name.", &["greeting"]),
    ("clock", "Tells the time.", &["time"]),
];

fn with_others(agents: &[(&str, &str, &[&str])]) -> Index {
    let others = (0..).zip(OTHERS).map(|(id, other)| (1000 + id, other));
    let index = index(agents);
    for (id, (name, description, skills)) in others {
        put(&index, id, name, description, skills);
    }
    index
}

#[test]
fn a_name_comes_before_a_skill_and_a_skill_before_a_description() {
    let index = with_others(&[
        ("one", "About the weather.", &["other"]),
        ("two", "About something.", &["weather"]),
        ("weather", "About something.", &["other"]),
    ]);
    assert_eq!(find(&index, "weather"), [2, 1, 0]);
}

#[test]
fn all_words_come_before_one() {
    let index = with_others(&[
        ("one", "Forecasts of rain for sailors.", &[]),
        ("two", "Forecasts of prices for traders.", &[]),
        ("three", "Songs about rain for children.", &[]),
    ]);
    let found = find(&index, "forecasts of rain");
    assert_eq!(found[0], 0);
    assert!(found.contains(&1) && found.contains(&2));
}

#[test]
fn any_word_is_enough() {
    let index = with_others(&[("weather", "Rain and sun.", &[])]);
    assert_eq!(find(&index, "will there be weather tomorrow"), [0]);
}

#[test]
fn words_are_found_by_their_stems() {
    let index = with_others(&[("weather", "Forecasting rain for travelling people.", &[])]);
    for query in [
        "forecast",
        "forecasts",
        "forecasted",
        "rains",
        "travels",
        "traveled",
    ] {
        assert_eq!(find(&index, query), [0], "{query}");
    }
}

#[test]
fn case_and_diacritics_do_not_matter() {
    let index = with_others(&[
        ("cafe", "Findet ein Café in München.", &["Größe"]),
        ("погода", "Прогноз погоды.", &[]),
        ("tenki", "天気 を 教える", &[]),
    ]);
    for query in ["CAFÉ", "café", "cafe\u{301}", "munchen", "MÜNCHEN", "größe"] {
        assert_eq!(find(&index, query), [0], "{query}");
    }
    assert_eq!(find(&index, "ПРОГНОЗ"), [1]);
    assert_eq!(find(&index, "天気"), [2]);
}

#[test]
fn letters_with_marks_apart_are_found() {
    let index = with_others(&[("one", "A cafe\u{301} nearby.", &[])]);
    assert_eq!(find(&index, "café"), [0]);
    assert_eq!(find(&index, "cafe"), [0]);
}

#[test]
fn hyphens_part_words() {
    let index = with_others(&[("weather-bot", "Something.", &["real-time"])]);
    for query in ["weather", "bot", "weather-bot", "bot_weather", "time-real"] {
        assert_eq!(find(&index, query)[0], 0, "{query}");
    }
}

#[test]
fn a_query_without_words_finds_nothing() {
    let index = with_others(&[("weather", "Rain.", &[])]);
    for query in [
        "", "   ", "\"", "\"\"", "*", "()", "-", "\0", "\u{301}", "…", "🌧",
    ] {
        assert_eq!(find(&index, query), [0; 0], "{query:?}");
    }
}

#[test]
fn operators_and_syntax_are_words_like_others() {
    let index = with_others(&[("weather", "Rain near the sea and not the hills.", &[])]);
    for query in [
        "rain AND nothing",
        "rain NOT sea",
        "NOT rain",
        "NEAR(rain xyzzy, 1)",
        "NEAR rain",
        "rain*",
        "^rain",
        "\"rain",
        "rain\"",
        "\"rain\" OR \"",
        "rain\" OR name : \"x",
        "description : rain",
        "- description : rain",
        "{name description} : rain",
        "rain + xyzzy",
        "rain ) OR (",
        "rain'; DROP TABLE agents; --",
        "rain\0sea",
        "rain -- ",
        "rain\u{201d}",
        "?1 rain",
        "rain || 'x'",
    ] {
        assert!(find(&index, query).contains(&0), "{query:?}");
    }
}

#[test]
fn prefixes_and_columns_can_not_be_asked_for() {
    let index = with_others(&[("weather", "Rain.", &["sun"])]);
    assert_eq!(find(&index, "weath*"), [0; 0]);
    assert_eq!(find(&index, "name:sun"), find(&index, "name sun"));
}

#[test]
fn a_megabyte_of_text_is_cut_short() {
    let index = with_others(&[("weather", "Rain.", &[])]);
    assert_eq!(find(&index, &"a".repeat(1 << 20)), [0; 0]);
    assert_eq!(find(&index, &"\"".repeat(1 << 20)), [0; 0]);
    assert_eq!(find(&index, &"rain ".repeat(1 << 18)), [0]);
    let words: String = (0..100_000).map(|n| format!("w{n} ")).collect();
    assert_eq!(find(&index, &words), [0; 0]);
    assert_eq!(find(&index, &format!("rain {words}")), [0]);
}

#[test]
fn what_was_removed_is_not_found() {
    let index = with_others(&[("weather", "Rain.", &[]), ("rain", "Water.", &[])]);
    index.remove(0);
    assert_eq!(find(&index, "rain"), [1]);
    index.remove(0);
    index.remove(1);
    assert_eq!(find(&index, "rain"), [0; 0]);
}

#[test]
fn what_was_put_again_is_found_as_it_is_now() {
    let index = with_others(&[("weather", "Rain.", &["umbrella"])]);
    put(&index, 0, "weather", "Snow.", &[]);
    assert_eq!(find(&index, "rain umbrella"), [0; 0]);
    assert_eq!(find(&index, "snow"), [0]);
    assert_eq!(find(&index, "weather"), [0]);
}

#[test]
fn one_agent_alone_is_found_with_a_score() {
    let index = index(&[("weather", "Rain.", &[])]);
    assert_eq!(find(&index, "weather"), [0]);
}

#[test]
fn an_empty_index_finds_nothing() {
    assert_eq!(find(&index(&[]), "weather"), [0; 0]);
}

#[test]
fn no_more_is_found_than_asked_for() {
    let index = Index::new();
    for id in 0..50 {
        put(&index, id, "weather", "Rain.", &[]);
    }
    assert_eq!(index.find("rain", 0).len(), 0);
    assert_eq!(index.find("rain", 7).len(), 7);
    assert_eq!(index.find("rain", usize::MAX).len(), 50);
}

#[test]
fn equal_agents_come_in_the_order_of_their_numbers() {
    let index = Index::new();
    for id in [5, 3, 9, 1] {
        put(&index, id, "weather", "Rain.", &[]);
    }
    assert_eq!(find(&index, "rain"), [1, 3, 5, 9]);
}

#[test]
fn every_number_is_one() {
    let index = Index::new();
    let numbers = [0, 1, i64::MAX as u64, 1 << 63, u64::MAX];
    for id in numbers {
        put(&index, id, "weather", "Rain.", &[]);
    }
    let mut found = find(&index, "rain");
    found.sort_unstable();
    assert_eq!(found, numbers);
    index.remove(u64::MAX);
    assert_eq!(find(&index, "rain").len(), 4);
}

#[test]
fn text_that_looks_like_a_query_can_be_put() {
    let index = with_others(&[]);
    put(
        &index,
        7,
        "a\0b",
        "\"'); DROP TABLE agents; -- NEAR(",
        &["OR", "*"],
    );
    assert_eq!(find(&index, "drop"), [7]);
    assert_eq!(find(&index, "near"), [7]);
}

#[test]
fn threads_share_an_index() {
    let index = Arc::new(Index::new());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let index = Arc::clone(&index);
            thread::spawn(move || {
                for id in 0..50 {
                    put(&index, thread * 50 + id, "weather", "Rain.", &[]);
                    index.find("rain", 10);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(index.find("rain", 1000).len(), 200);
}

proptest! {
    #[test]
    fn any_query_is_answered(query in "\\PC*|[ -~\0\n]{0,80}|(NEAR|AND|OR|NOT|name|[\"*:(){}^+, -]|rain){0,20}") {
        let index = with_others(&[("weather", "Rain near the sea.", &["sun"])]);
        find(&index, &query);
    }

    #[test]
    fn an_agent_is_found_by_any_word_of_its_own(
        name in "[a-z]{3,10}",
        words in prop::collection::vec("[a-zäöüßéñ0-9]{1,12}", 1..6),
        which: prop::sample::Index,
    ) {
        let index = with_others(&[]);
        let description = words.join(", ");
        put(&index, 7, &name, &description, &[]);
        prop_assert!(find(&index, which.get(&words).as_str()).contains(&7));
        prop_assert!(find(&index, &name.to_uppercase()).contains(&7));
    }
}
