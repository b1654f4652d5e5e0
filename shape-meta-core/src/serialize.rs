//! The forms of the feature `serde`: words and numbers as the command line tool has them in JSON.
//!
//! | type | form |
//! |---|---|
//! | `Handle`, `Key`, `DefinitionHash` | their text; an invalid one is refused |
//! | `SnapshotState` | `"pending"`, `"started"` or `"complete"` |
//! | `Seq`, `Timestamp` | a number; microseconds since the Unix epoch |
//! | `Metadata` | `created_seq`, `hash`, `state`, and `last_read` unless it was never read |
//! | `Counts` | `total`, `indexed` |
//! | `Health` | `state` (its name), `ready`, `live`, `text`, `error` (`kind`, `message`), `failures`, `degraded_seconds`, `last_error` (also `ago_seconds`), `durability_window_seconds`, `drain_rate`; null if it does not apply |

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Unexpected},
    ser::SerializeStruct,
};

use crate::{
    Counts, DefinitionHash, Degradation, Error, Handle, Health, HealthState, Key, LastError, Metadata, Seq,
    SnapshotState, Timestamp,
};

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).map_err(D::Error::custom)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for DefinitionHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DefinitionHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        let invalid = || D::Error::invalid_value(Unexpected::Str(&text), &"16 hexadecimal digits");
        number.map(Self::new).ok_or_else(invalid)
    }
}

impl Serialize for Seq {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_micros())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_micros)
    }
}

/// The names of the states, in their order.
const STATES: [(&str, SnapshotState); 3] = [
    ("pending", SnapshotState::Pending),
    ("started", SnapshotState::Started),
    ("complete", SnapshotState::Complete),
];

impl Serialize for SnapshotState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SnapshotState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = STATES.iter().find(|(name, _)| *name == text).map(|(_, state)| *state);
        found.ok_or_else(|| D::Error::unknown_variant(&text, &["pending", "started", "complete"]))
    }
}

/// The fields of [`Metadata`], as they are named in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetadataFields {
    created_seq: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    hash: DefinitionHash,
    state: SnapshotState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_read: Option<Timestamp>,
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { created: created_seq, created_at, hash, state, last_read } = *self;
        MetadataFields { created_seq, created_at, hash, state, last_read }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let MetadataFields { created_seq: created, created_at, hash, state, last_read } =
            MetadataFields::deserialize(deserializer)?;
        Ok(Self { created, created_at, hash, state, last_read })
    }
}

/// The fields of [`Counts`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountsFields {
    total: u64,
    indexed: u64,
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { total, indexed } = *self;
        CountsFields { total, indexed }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let CountsFields { total, indexed } = CountsFields::deserialize(deserializer)?;
        if indexed > total {
            return Err(D::Error::custom(format_args!("{indexed} indexed shapes, of {total}")));
        }
        Ok(Self { total, indexed })
    }
}

/// A failure: its kind and its text.
#[derive(Serialize)]
struct ErrorFields {
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ago_seconds: Option<f64>,
}

impl ErrorFields {
    fn of(error: &Error) -> Self {
        Self { kind: error.kind().name(), message: error.to_string(), ago_seconds: None }
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (error, failures, since) = match &self.state {
            HealthState::Degraded { why: Degradation::Failing { error, failures }, since } => {
                (Some(error), Some(*failures), Some(*since))
            }
            HealthState::Degraded { why: Degradation::Lagging, since } => (None, None, Some(*since)),
            HealthState::Fenced { error } | HealthState::Stopped { error } => (Some(error), None, None),
            HealthState::Ready | HealthState::Closing | HealthState::Closed => (None, None, None),
        };
        let last_error = self.last_error.as_ref().map(|LastError { error, ago }| ErrorFields {
            ago_seconds: Some(ago.as_secs_f64()),
            ..ErrorFields::of(error)
        });
        let mut fields = serializer.serialize_struct("Health", 10)?;
        fields.serialize_field("state", self.state.name())?;
        fields.serialize_field("ready", &self.is_ready())?;
        fields.serialize_field("live", &self.is_live())?;
        fields.serialize_field("text", &self.to_string())?;
        fields.serialize_field("error", &error.map(ErrorFields::of))?;
        fields.serialize_field("failures", &failures)?;
        fields.serialize_field("degraded_seconds", &since.map(|since| since.as_secs_f64()))?;
        fields.serialize_field("last_error", &last_error)?;
        fields.serialize_field("durability_window_seconds", &self.durability_window.as_secs_f64())?;
        fields.serialize_field("drain_rate", &self.drain_rate)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, time::Duration};

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::ErrorKind;

    #[track_caller]
    fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, json: &str) {
        assert_eq!(serde_json::to_string(&value).expect("it has a form"), json);
        assert_eq!(serde_json::from_str::<T>(json).expect("it is read back"), value);
    }

    #[test]
    fn values_are_read_back_from_their_documented_form() {
        round_trip(
            Handle::new("54334872-1768476874000000").expect("valid"),
            r#""54334872-1768476874000000""#,
        );
        round_trip(Key::new([7; 32]), &format!("\"{}\"", "07".repeat(32)));
        round_trip(DefinitionHash::new(7), r#""0000000000000007""#);
        round_trip(DefinitionHash::new(u64::MAX), r#""ffffffffffffffff""#);
        round_trip(Seq::new(u64::MAX), "18446744073709551615");
        round_trip(Timestamp::from_micros(3), "3");
        for (name, state) in STATES {
            round_trip(state, &format!("\"{name}\""));
        }
        let mut metadata = Metadata {
            created: Seq::new(3),
            created_at: None,
            hash: DefinitionHash::new(7),
            state: SnapshotState::Started,
            last_read: None,
        };
        round_trip(metadata, r#"{"created_seq":3,"hash":"0000000000000007","state":"started"}"#);
        metadata.created_at = Some(Timestamp::from_micros(8));
        metadata.last_read = Some(Timestamp::from_micros(9));
        round_trip(
            metadata,
            r#"{"created_seq":3,"created_at":8,"hash":"0000000000000007","state":"started","last_read":9}"#,
        );
        round_trip(Counts { total: 5, indexed: 2 }, r#"{"total":5,"indexed":2}"#);
    }

    #[test]
    fn c4_an_invalid_form_is_refused() {
        for text in [r#""""#, r#""a\nb""#, "1"] {
            assert!(serde_json::from_str::<Handle>(text).is_err(), "{text}");
        }
        for text in [r#""7""#, r#""+000000000000007""#, r#""00000000000000000""#, r#""000000000000000g""#] {
            assert!(serde_json::from_str::<DefinitionHash>(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Key>(r#""07""#).is_err());
        assert!(serde_json::from_str::<SnapshotState>(r#""done""#).is_err());
        assert!(serde_json::from_str::<Counts>(r#"{"total":1,"indexed":2}"#).is_err());
        assert!(serde_json::from_str::<Metadata>(r#"{"created_seq":3}"#).is_err());
    }

    #[test]
    fn health_has_what_a_probe_shows() {
        let error = Error::new(ErrorKind::StorageFull, "the disk is full");
        let why = Degradation::Failing { error: error.clone(), failures: 2 };
        let mut health = Health::new(HealthState::Degraded { why, since: Duration::from_secs(5) });
        health.last_error = Some(LastError { error, ago: Duration::from_secs(1) });
        let expected = concat!(
            r#"{"state":"degraded","ready":true,"live":true,"#,
            r#""text":"degraded for 5.0s: the disk is full (2 attempts failed)","#,
            r#""error":{"kind":"storage_full","message":"the disk is full"},"failures":2,"degraded_seconds":5.0,"#,
            r#""last_error":{"kind":"storage_full","message":"the disk is full","ago_seconds":1.0},"#,
            r#""durability_window_seconds":0.0,"drain_rate":0.0}"#,
        );
        assert_eq!(serde_json::to_string(&health).expect("it has a form"), expected);
        let ready = serde_json::to_value(Health::new(HealthState::Ready)).expect("it has a form");
        assert_eq!(ready["state"], "ready");
        for absent in ["error", "failures", "degraded_seconds", "last_error"] {
            assert!(ready[absent].is_null(), "{absent}: {ready}");
        }
    }
}
