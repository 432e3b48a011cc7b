//! JSON from outside, within bounds: how deep it nests, how many values it has, and no key twice in one object at any depth, because two
//! readers that keep different ones of two read two different requests, and a payment is checked as one thing and settled as another.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

const DUPLICATE: &str = "an object has the same key twice";
const TOO_DEEP: &str = "it nests too deep";
const TOO_MANY: &str = "it has too many values";

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How deep arrays and objects may nest.
    pub deepest: u8,
    /// How many values there may be in one text: in memory each takes many times what it takes in the text.
    pub most: u32,
}

impl Bounds {
    /// Reads one JSON value and nothing behind it. The error is for people and holds nothing of the text.
    pub fn parse(self, text: &[u8]) -> Result<Value, &'static str> {
        let left = Cell::new(self.most);
        let strict = Strict {
            deeper: self.deepest,
            left: &left,
        };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        strict
            .deserialize(&mut deserializer)
            .and_then(|value| deserializer.end().map(|()| value))
            .map_err(|error| {
                // The text of an error of its own is one of these; the others may quote the input.
                let text = error.to_string();
                let mut known = [DUPLICATE, TOO_DEEP, TOO_MANY].into_iter();
                let known = known.find(|known| text.starts_with(known));
                known.unwrap_or("it is not JSON")
            })
    }

    /// Reads one JSON object.
    pub fn object(self, text: &[u8]) -> Result<Map<String, Value>, &'static str> {
        match self.parse(text)? {
            Value::Object(members) => Ok(members),
            _ => Err("it is no JSON object"),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    deeper: u8,
    left: &'a Cell<u32>,
}

impl Strict<'_> {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let deeper = self.deeper.checked_sub(1);
        let deeper = deeper.ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(Self { deeper, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| D::Error::custom(TOO_MANY))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(inside)?;
            if members.insert(key, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        deepest: 24,
        most: 1000,
    };

    fn parse(text: &[u8]) -> Result<Value, &'static str> {
        BOUNDS.parse(text)
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"c":{}}}"#;
        let read: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse(text.as_bytes()), Ok(read));
        assert_eq!(BOUNDS.object(b"[]"), Err("it is no JSON object"));
    }

    #[test]
    fn it_refuses_what_is_beyond_its_bounds() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            assert_eq!(parse(text.as_bytes()), Err(DUPLICATE), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(BOUNDS.deepest.into()).as_bytes()).is_ok());
        let deeper = nested(usize::from(BOUNDS.deepest) + 1);
        assert_eq!(parse(deeper.as_bytes()), Err(TOO_DEEP));
        assert!(parse("[".repeat(1 << 20).as_bytes()).is_err());
        let many = |items: u32| format!("[{}0]", "0,".repeat(items as usize - 1));
        assert!(parse(many(BOUNDS.most - 1).as_bytes()).is_ok());
        assert_eq!(parse(many(BOUNDS.most).as_bytes()), Err(TOO_MANY));
    }

    #[test]
    fn it_refuses_what_is_not_one_value() {
        for text in ["{} {}", "", "{", "1,", "NaN", "1e999", "\u{feff}{}"] {
            assert_eq!(parse(text.as_bytes()), Err("it is not JSON"), "{text}");
        }
        assert!(parse(b"\xff").is_err());
    }

    /// What is read is what any reader of JSON reads, and within the bounds (`make fuzz`).
    #[test]
    fn strict_json() {
        bolero::check!(name = "strict_json").for_each(|text: &[u8]| {
            if let Ok(read) = parse(text) {
                assert_eq!(serde_json::from_slice::<Value>(text).unwrap(), read);
                // The last bits of a number are the reader's.
                assert!(parse(read.to_string().as_bytes()).is_ok());
            }
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn anything_like_json_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-e\\\\ .+-]{0,80}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(parse(&serde_json::to_vec(&value).unwrap()), Ok(value));
            }
        }
    }
}
