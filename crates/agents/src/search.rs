//! Finding agents by words: SQLite's FTS5 over an index in memory.
//!
//! Names, skills and descriptions are cut into words, and words to their stems (Porter's, for English), with case and
//! diacritics folded. Agents that hold any word of the query are found and ranked by BM25; a word in a name counts more than one
//! in a skill, and that more than one in a description.
//!
//! A query never reaches FTS5's own language: it becomes an expression of quoted words only. SQL texts are constant, and
//! values are bound.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use crate::error::SearchError;

/// Most words of a query that are looked for; the rest is dropped.
pub const MAX_WORDS: usize = 32;

/// Most characters of a word; longer ones are dropped.
pub const MAX_WORD: usize = 100;

/// Most characters of a query that are looked at.
const MAX_QUERY: usize = 16 << 10;

/// No text of the agents is kept beside the index itself.
const CREATE: &str = "CREATE VIRTUAL TABLE agents USING fts5(
    name, skills, description,
    content = '', contentless_delete = 1,
    tokenize = 'porter unicode61 remove_diacritics 2'
)";

const PUT: &str =
    "INSERT OR REPLACE INTO agents (rowid, name, skills, description) VALUES (?1, ?2, ?3, ?4)";

const REMOVE: &str = "DELETE FROM agents WHERE rowid = ?1";

/// `bm25` is below 0, and lower is better.
const FIND: &str = "SELECT rowid, -bm25(agents, 10.0, 5.0, 1.0) AS score
    FROM agents WHERE agents MATCH ?1 ORDER BY score DESC, rowid LIMIT ?2";

/// An index of agents, each under a number of the caller's.
pub struct Index {
    connection: Mutex<Connection>,
}

impl Index {
    /// An empty index.
    ///
    /// # Errors
    /// [`SearchError`] when SQLite has no memory.
    pub fn new() -> Result<Self, SearchError> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(CREATE)?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Puts an agent in, in place of what was there under this number.
    ///
    /// # Errors
    /// [`SearchError`] when SQLite has no memory.
    pub fn put(
        &self,
        id: u64,
        name: &str,
        description: &str,
        skills: &[String],
    ) -> Result<(), SearchError> {
        // A line break parts words, as every character does that is neither letter nor digit.
        let skills = skills.join("\n");
        let connection = self.connection();
        let mut statement = connection.prepare(PUT)?;
        statement.execute(params![id.cast_signed(), name, skills, description])?;
        Ok(())
    }

    /// Takes an agent out. What is not there is no error.
    ///
    /// # Errors
    /// [`SearchError`] when SQLite has no memory.
    pub fn remove(&self, id: u64) -> Result<(), SearchError> {
        let connection = self.connection();
        let mut statement = connection.prepare(REMOVE)?;
        statement.execute(params![id.cast_signed()])?;
        Ok(())
    }

    /// The agents that hold any word of `query`, best first, `limit` at most, each with its score: finite, above 0, larger is
    /// better, comparable within one answer only. A query without words finds nothing.
    ///
    /// # Errors
    /// [`SearchError`] when SQLite has no memory.
    pub fn find(&self, query: &str, limit: usize) -> Result<Vec<(u64, f64)>, SearchError> {
        let Some(expression) = expression(query) else {
            return Ok(Vec::new());
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let connection = self.connection();
        let mut statement = connection.prepare(FIND)?;
        let found = statement.query_map(params![expression, limit], |row| {
            let (id, score): (i64, f64) = (row.get(0)?, row.get(1)?);
            // So it is by the formula; what rounding makes of it is held to it.
            let is_above_zero = score > 0.0;
            let score = if is_above_zero {
                score
            } else {
                f64::MIN_POSITIVE
            };
            Ok((id.cast_unsigned(), score.min(f64::MAX)))
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // SQLite finishes or undoes each statement by itself, so a panic elsewhere leaves nothing half done.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of a query, each quoted, joined by `OR`; none when it has no word.
///
/// A word has letters, digits and combining marks, never a quote: the language has no other way out of a quoted string.
fn expression(query: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let query: String = query.chars().take(MAX_QUERY).collect();
    let words: Vec<String> = query
        .split(|c: char| !is_of_word(c))
        .filter(|word| !word.is_empty() && word.chars().count() <= MAX_WORD)
        .filter(|word| seen.insert(word.to_lowercase()))
        .take(MAX_WORDS)
        .map(|word| format!("\"{word}\""))
        .collect();
    (!words.is_empty()).then(|| words.join(" OR "))
}

fn is_of_word(c: char) -> bool {
    // The marks that the tokenizer takes for a part of the letter before them; a letter may be written with one apart.
    c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_quoted_words_joined_by_or() {
        assert_eq!(
            expression("weather-bot, OR \"rain\"*").unwrap(),
            "\"weather\" OR \"bot\" OR \"OR\" OR \"rain\""
        );
    }

    #[test]
    fn a_query_without_words_is_none() {
        for query in ["", " ", "\"", "***", "-", "()", "\0", "…"] {
            assert_eq!(expression(query), None, "{query:?}");
        }
    }

    #[test]
    fn a_word_is_looked_for_once() {
        assert_eq!(expression("Rain rain RAIN").unwrap(), "\"Rain\"");
    }

    #[test]
    fn words_are_bounded_in_number_and_length() {
        let many: Vec<String> = (0..1000).map(|n| format!("word{n}")).collect();
        let many = expression(&many.join(" ")).unwrap();
        assert_eq!(many.matches(" OR ").count(), MAX_WORDS - 1);
        assert_eq!(expression(&"a".repeat(MAX_WORD + 1)), None);
        assert!(expression(&"a".repeat(MAX_WORD)).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_query_leaves_its_quotes(query in "\\PC*|[ -~\0]*") {
            if let Some(expression) = expression(&query) {
                for word in expression.split(" OR ") {
                    let inside = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).unwrap();
                    proptest::prop_assert!(!inside.is_empty() && inside.chars().all(is_of_word));
                }
            }
        }
    }
}
