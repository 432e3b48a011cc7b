//! A list of agents, read one after the other: what is not wanted takes no memory, however long the list is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::agents::Listed;

/// Takes agents out of `{"agents": […]}`.
pub struct List<'a, F> {
    /// Where they go.
    pub found: &'a mut Vec<Listed>,
    /// How many are taken.
    pub most: usize,
    /// Which.
    pub wants: F,
}

impl<'de, F: FnMut(&Listed) -> bool> DeserializeSeed<'de> for List<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&Listed) -> bool> Visitor<'de> for List<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of agents")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        let mut is_there = false;
        while let Some(key) = access.next_key::<String>()? {
            if key == "agents" && !is_there {
                access.next_value_seed(Items(&mut self))?;
                is_there = true;
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        match is_there {
            true => Ok(()),
            false => Err(A::Error::missing_field("agents")),
        }
    }
}

struct Items<'b, 'a, F>(&'b mut List<'a, F>);

impl<'de, F: FnMut(&Listed) -> bool> DeserializeSeed<'de> for Items<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&Listed) -> bool> Visitor<'de> for Items<'_, '_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("agents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let list = self.0;
        while list.found.len() < list.most {
            let Some(agent) = access.next_element::<Map<String, Value>>()? else {
                return Ok(());
            };
            let agent = Listed::read(&agent);
            list.found.extend(agent.filter(|agent| (list.wants)(agent)));
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(text: &str, most: usize) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(text);
        let list = List {
            found: &mut found,
            most,
            wants: |agent: &Listed| agent.address != "b.operator",
        };
        list.deserialize(&mut reader).ok()?;
        Some(found.into_iter().map(|agent| agent.address).collect())
    }

    #[test]
    fn the_first_that_are_wanted_are_taken() {
        let agent = |name: &str| format!(r#"{{"address":"{name}.operator","imports":[1]}}"#);
        let all = ["a", "b", "c", "d"].map(agent).join(",");
        let text = format!(r#"{{"more":[],"agents":[{all}]}}"#);
        assert_eq!(names(&text, 2).unwrap(), ["a.operator", "c.operator"]);
        assert_eq!(names(&text, 9).unwrap().len(), 3);
        assert!(names(&text, 0).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_list_is_none() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"agents":{}}"#,
            r#"{"agents":[1]}"#,
            r#"{"agents":[{}"#,
        ] {
            assert_eq!(names(text, 2), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\{\"agents\":[\\[\\]{}\",:0-9a]{0,20}") {
            let _ = names(&text, 2);
        }
    }
}
