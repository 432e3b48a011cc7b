//! Finding agents by words: an inverted index in memory, ranked by BM25.
//!
//! Names, skills and descriptions are cut into words, and words to their stems (Snowball's, for English), with case and
//! diacritics folded. Agents that hold any word of the query are found; a word in a name counts more than one in a skill, and
//! that more than one in a description. A query is only ever words: there is no language to leave.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::manifest::Manifest;

/// Most words of a query that are looked for; the rest is dropped.
pub const MAX_WORDS: usize = 32;

/// Most characters of a word; longer ones are dropped.
pub const MAX_WORD: usize = 100;

/// Most characters of a query that are looked at.
const MAX_QUERY: usize = 16 << 10;

/// What a word counts in a name, a skill and a description.
const WEIGHTS: [f64; 3] = [10.0, 5.0, 1.0];

/// BM25's usual parameters: how soon more of the same word counts less, and how much long texts count less.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// An index of agents, each under a number of the caller's.
#[derive(Default)]
pub struct Index {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// For each stem, the agents that hold it, with the sum of its weights.
    holders: HashMap<String, BTreeMap<u64, f64>>,
    agents: HashMap<u64, Agent>,
    /// Words of all agents.
    words: u64,
}

struct Agent {
    stems: Vec<String>,
    words: u32,
}

impl Index {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an agent in, in place of what was there under this number.
    pub fn put(&self, id: u64, name: &str, description: &str, skills: &[String]) {
        let mut weights: HashMap<String, f64> = HashMap::new();
        let mut words: u32 = 0;
        let skills = skills.join("\n");
        for (text, weight) in [name, &skills, description].into_iter().zip(WEIGHTS) {
            for stem in stems(text) {
                *weights.entry(stem).or_default() += weight;
                words = words.saturating_add(1);
            }
        }
        let mut inner = self.inner();
        inner.remove(id);
        inner.words = inner.words.saturating_add(words.into());
        let stems = weights.keys().cloned().collect();
        inner.agents.insert(id, Agent { stems, words });
        for (stem, weight) in weights {
            inner.holders.entry(stem).or_default().insert(id, weight);
        }
    }

    /// Puts an agent in as its manifest describes it, or takes it out if it is private: what nobody may find takes no places.
    pub(crate) fn put_manifest(&self, id: u64, manifest: &Manifest) {
        if manifest.private {
            self.remove(id);
        } else {
            let name = manifest.name.as_str();
            self.put(id, name, &manifest.description, &manifest.skills);
        }
    }

    /// Takes an agent out, if it is there.
    pub fn remove(&self, id: u64) {
        self.inner().remove(id);
    }

    /// The agents that hold any word of `query`, best first, `limit` at most, each with its score: finite, above 0, larger is
    /// better, comparable within one answer only. A query without words finds nothing.
    pub fn find(&self, query: &str, limit: usize) -> Vec<(u64, f64)> {
        let words = looked_for(query);
        let mut found: Vec<(u64, f64)> = self.inner().scores(&words).into_iter().collect();
        found.sort_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then(a.cmp(b)));
        found.truncate(limit);
        found
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, id: u64) {
        let Some(agent) = self.agents.remove(&id) else {
            return;
        };
        self.words = self.words.saturating_sub(agent.words.into());
        for stem in agent.stems {
            if let Some(holders) = self.holders.get_mut(&stem) {
                holders.remove(&id);
                if holders.is_empty() {
                    self.holders.remove(&stem);
                }
            }
        }
    }

    fn scores(&self, words: &[String]) -> HashMap<u64, f64> {
        let mut scores: HashMap<u64, f64> = HashMap::new();
        #[expect(
            clippy::cast_precision_loss,
            reason = "numbers of agents and of their words are small"
        )]
        let (agents, all_words) = (self.agents.len() as f64, self.words as f64);
        let average = (all_words / agents.max(1.0)).max(1.0);
        for holders in words.iter().filter_map(|word| self.holders.get(word)) {
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let holding = holders.len() as f64;
            // Above 0 however many hold it.
            let rarity = ((agents - holding + 0.5) / (holding + 0.5)).ln_1p();
            for (id, weight) in holders {
                let words = self.agents.get(id).map_or(0, |agent| agent.words);
                let length = 1.0 - B + B * f64::from(words) / average;
                let score = rarity * weight * (K1 + 1.0) / (weight + K1 * length);
                *scores.entry(*id).or_default() += score;
            }
        }
        scores
    }
}

/// The stems of a query, each once, as many as are looked for.
fn looked_for(query: &str) -> Vec<String> {
    let query: String = query.chars().take(MAX_QUERY).collect();
    let mut seen = HashSet::new();
    stems(&query)
        .filter(|stem| seen.insert(stem.clone()))
        .take(MAX_WORDS)
        .collect()
}

/// The stems of a text's words, in their order.
fn stems(text: &str) -> impl Iterator<Item = String> {
    let stemmer = Stemmer::create(Algorithm::English);
    let folded: String = text
        .nfd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let words: Vec<String> = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.chars().nth(MAX_WORD).is_none())
        .map(|word| stemmer.stem(word).into_owned())
        .collect();
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_words_is_none() {
        for query in ["", " ", "\"", "***", "-", "()", "\0", "…", "\u{301}"] {
            assert_eq!(looked_for(query), [""; 0], "{query:?}");
        }
    }

    #[test]
    fn a_word_is_looked_for_once() {
        assert_eq!(looked_for("Rain rain RAINS"), ["rain"]);
    }

    #[test]
    fn words_are_bounded_in_number_and_length() {
        let many: Vec<String> = (0..1000).map(|n| format!("word{n}")).collect();
        assert_eq!(looked_for(&many.join(" ")).len(), MAX_WORDS);
        assert!(looked_for(&"é".repeat(MAX_WORD + 1)).is_empty());
        assert_eq!(looked_for(&"é".repeat(MAX_WORD)).len(), 1);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let index = Index::new();
        index.put(1, "weather", "Rain and sun.", &[]);
        index.put(1, "weather", "Snow.", &["umbrella".to_owned()]);
        index.remove(1);
        let inner = index.inner();
        assert!(inner.holders.is_empty() && inner.agents.is_empty());
        assert_eq!(inner.words, 0);
    }
}
