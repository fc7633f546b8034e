//! JSON objects with exact keys: duplicates and other letter cases of known keys are refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::Malformed;

/// A JSON value without floats: no message has any use for one. Text without escapes, which is most of it and may be long,
/// stays where it came in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Option<u64>),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// A JSON object whose keys are distinct.
pub(crate) type Object<'a> = BTreeMap<Cow<'a, str>, Json<'a>>;

/// Parses one JSON object that is all of `bytes`.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Object<'_>, Malformed> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(object)) => Ok(object),
        _ => Err(Malformed::Value),
    }
}

/// The members of an object that a message knows.
pub(crate) struct Members<'a> {
    object: &'a Object<'a>,
}

impl<'a> Members<'a> {
    /// Refuses a key that equals one of `known` but for its letter case.
    pub(crate) fn new(object: &'a Object<'a>, known: &[&str]) -> Result<Self, Malformed> {
        let disguised = |key: &Cow<'_, str>| {
            known
                .iter()
                .any(|known| key != known && key.eq_ignore_ascii_case(known))
        };
        if object.keys().any(disguised) {
            return Err(Malformed::Value);
        }
        Ok(Self { object })
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<&'a Object<'a>>, Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Object(object)) => Ok(Some(object)),
            Some(_) => Err(Malformed::Value),
        }
    }

    pub(crate) fn text(&self, key: &str, limit: usize) -> Result<Option<&'a str>, Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value.text(limit).map(Some),
        }
    }

    /// Bytes in standard padded base64, at most `limit` of them.
    pub(crate) fn bytes(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value.bytes(limit).map(Some),
        }
    }

    /// A SHA-256 in base64.
    pub(crate) fn sha256(&self, key: &str) -> Result<Option<[u8; 32]>, Malformed> {
        let digest = self.bytes(key, 32)?.map(<[u8; 32]>::try_from);
        digest.transpose().map_err(|_short| Malformed::Value)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u32>, Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Number(Some(number))) => u32::try_from(*number)
                .map(Some)
                .map_err(|_big| Malformed::Value),
            Some(_) => Err(Malformed::Value),
        }
    }

    pub(crate) fn large_number(&self, key: &str) -> Result<Option<u64>, Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Number(Some(number))) => Ok(Some(*number)),
            Some(_) => Err(Malformed::Value),
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Malformed::Value),
        }
    }

    /// A list of at most `limit` values; an absent one is empty.
    pub(crate) fn list(&self, key: &str, limit: usize) -> Result<&'a [Json<'a>], Malformed> {
        match self.object.get(key) {
            None | Some(Json::Null) => Ok(&[]),
            Some(Json::List(list)) if list.len() <= limit => Ok(list),
            Some(Json::List(_)) => Err(Malformed::TooLong),
            Some(_) => Err(Malformed::Value),
        }
    }
}

impl Json<'_> {
    pub(crate) fn text(&self, limit: usize) -> Result<&str, Malformed> {
        match self {
            Self::Text(text) if text.len() <= limit => Ok(text),
            Self::Text(_) => Err(Malformed::TooLong),
            _ => Err(Malformed::Value),
        }
    }

    pub(crate) fn bytes(&self, limit: usize) -> Result<Vec<u8>, Malformed> {
        let text = self.text(limit.div_ceil(3) * 4)?;
        let bytes = STANDARD.decode(text).map_err(|_bad| Malformed::Value)?;
        if bytes.len() > limit {
            return Err(Malformed::TooLong);
        }
        Ok(bytes)
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(Some(value)))
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(None))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(None))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = sequence.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Object::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(Json::Object(object))
    }
}

/// The key of a member.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Key(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Key(value.to_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_strict() {
        for (text, ok) in [
            ("{}", true),
            (r#"{"a":1,"b":[true,null,-1,1.5,"x"]}"#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"x":{"a":1,"a":2}}"#, false),
            ("[]", false),
            ("{} x", false),
            ("", false),
        ] {
            assert_eq!(parse_object(text.as_bytes()).is_ok(), ok, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse_object(format!("{{\"a\":{deep}").as_bytes()).is_err());
    }

    #[test]
    fn known_keys_have_one_spelling() {
        let object = parse_object(br#"{"ek":1}"#).unwrap();
        assert!(Members::new(&object, &["EK"]).is_err());
        assert!(Members::new(&object, &["ek", "AK"]).is_ok());
    }

    /// What is written with escapes is the same key and the same text.
    #[test]
    fn escapes_hide_nothing() {
        let object = parse_object(br#"{"e\u006b":"A\u0041ECAw=="}"#).unwrap();
        assert!(Members::new(&object, &["EK"]).is_err());
        let members = Members::new(&object, &["ek"]).unwrap();
        assert_eq!(members.text("ek", 8), Ok(Some("AAECAw==")));
        assert_eq!(members.text("ek", 7), Err(Malformed::TooLong));
        assert_eq!(members.bytes("ek", 4), Ok(Some(vec![0, 1, 2, 3])));
        assert!(parse_object(br#"{"ek":1,"e\u006b":1}"#).is_err());
    }

    #[test]
    fn base64_is_standard_padded_and_bounded() {
        let object = parse_object(br#"{"a":"AAECAw==","b":"AAECAw","c":"AAECA_=="}"#).unwrap();
        let members = Members::new(&object, &["a"]).unwrap();
        assert_eq!(members.bytes("a", 4), Ok(Some(vec![0, 1, 2, 3])));
        assert_eq!(members.bytes("a", 3), Err(Malformed::TooLong));
        assert_eq!(members.bytes("b", 4), Err(Malformed::Value));
        assert_eq!(members.bytes("c", 4), Err(Malformed::Value));
        assert_eq!(members.bytes("d", 4), Ok(None));
    }

    #[test]
    fn a_member_has_one_type_and_a_limit() {
        let object = parse_object(
            br#"{"null":null,"text":"abc","list":[1,2],"object":{},"number":7,
                "big":4294967296,"negative":-1,"fraction":1.5,"flag":true,"unset":false}"#,
        )
        .unwrap();
        let members = Members::new(&object, &[]).unwrap();
        assert_eq!(members.object("null"), Ok(None));
        assert_eq!(members.object("object"), Ok(Some(&Object::new())));
        assert_eq!(members.text("null", 3), Ok(None));
        assert_eq!(members.text("text", 3), Ok(Some("abc")));
        assert_eq!(members.text("text", 2), Err(Malformed::TooLong));
        assert_eq!(members.bytes("null", 3), Ok(None));
        assert_eq!(members.number("null"), Ok(None));
        assert_eq!(members.number("number"), Ok(Some(7)));
        assert_eq!(members.flag("absent"), Ok(None));
        assert_eq!(members.flag("null"), Ok(None));
        assert_eq!(members.flag("flag"), Ok(Some(true)));
        assert_eq!(members.flag("unset"), Ok(Some(false)));
        assert_eq!(members.list("absent", 2), Ok(&[][..]));
        assert_eq!(members.list("null", 2), Ok(&[][..]));
        assert_eq!(members.list("list", 2).map(<[Json<'_>]>::len), Ok(2));
        assert_eq!(members.list("list", 1), Err(Malformed::TooLong));
        for other in ["text", "list", "number", "flag"] {
            assert_eq!(members.object(other), Err(Malformed::Value), "{other}");
        }
        for other in ["list", "object", "number", "flag"] {
            assert_eq!(members.text(other, 9), Err(Malformed::Value), "{other}");
        }
        for other in ["text", "list", "big", "negative", "fraction", "flag"] {
            assert_eq!(members.number(other), Err(Malformed::Value), "{other}");
        }
        for other in ["text", "list", "object", "number"] {
            assert_eq!(members.flag(other), Err(Malformed::Value), "{other}");
        }
        for other in ["text", "object", "number", "flag"] {
            assert_eq!(members.list(other, 9), Err(Malformed::Value), "{other}");
        }
    }
}
