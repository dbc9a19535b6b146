//! Names that cross module borders, each a type of its own, so that a device can never be passed where a slice is meant.

use std::fmt;
use std::str::FromStr;

use autobench_core::state::{FORBIDDEN_KEYS, HOST_MEMBERS};

/// Longest name, in characters. Names stand in paths of the state, in file names and in every log line.
pub const LONGEST_NAME: usize = 64;

/// Why a text is not the name it should be. `rule` says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {rule}")]
pub struct NameError {
    /// What the name would have been for.
    pub what: &'static str,
    /// The text as it was written.
    pub text: String,
    /// What a good one looks like.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Checks a text against the rule of this kind of name.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if $check(&text) {
                    Ok(Self(text))
                } else {
                    Err(NameError { what: $what, text, rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// Id of a device: the key below `[devices]`.
    DeviceId,
    "device id",
    "use lower-case letters, digits and dashes, beginning with a letter, at most 64 characters",
    is_dashed
);

name!(
    /// Name of a port within its device: the key below `[devices.<id>.ports]`.
    PortName,
    "port name",
    "use lower-case letters, digits and dashes, beginning with a letter, at most 64 characters",
    is_dashed
);

name!(
    /// Stem of a plugin's file in the plugin folder.
    PluginName,
    "plugin name",
    "write the file's name in the plugin folder without `.wasm`: lower-case letters, digits, dashes and underscores",
    is_file_stem
);

name!(
    /// Name of a slice: one driver's top-level member of the state.
    SliceName,
    "slice name",
    "use camel case, for example `powerMeter`, and none of the host's own members",
    is_slice
);

impl DeviceId {
    /// The slice that a device has when nothing else is written: its id in camel case, `front-panel` to `frontPanel`.
    pub fn default_slice(&self) -> Result<SliceName, NameError> {
        let mut camel = String::with_capacity(self.0.len());
        let mut after_dash = false;
        for character in self.0.chars() {
            if character == '-' {
                after_dash = true;
            } else if after_dash {
                camel.push(character.to_ascii_uppercase());
                after_dash = false;
            } else {
                camel.push(character);
            }
        }
        SliceName::new(camel)
    }
}

fn is_dashed(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text
            .chars()
            .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-')
}

fn is_file_stem(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .chars()
            .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-' || one == '_')
}

fn is_slice(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|one| one.is_ascii_alphanumeric())
        && !HOST_MEMBERS.contains(&text)
        && !FORBIDDEN_KEYS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_are_lower_case_with_dashes() {
        for good in ["meter", "front-panel", "a", "atx2", "a-1"] {
            assert!(DeviceId::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Meter",
            "2nd",
            "front_panel",
            "a--b",
            "a-",
            "-a",
            "a b",
            "ä",
            "a/b",
            "a.b",
        ] {
            assert!(DeviceId::new(bad).is_err(), "{bad}");
        }
        assert!(DeviceId::new("a".repeat(64)).is_ok());
        assert!(DeviceId::new("a".repeat(65)).is_err());
    }

    #[test]
    fn a_slice_is_camel_case_and_never_a_member_of_the_host() {
        for good in ["powerMeter", "meter", "ps2Keyboard", "jobs", "pno", "streams"] {
            assert!(SliceName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "PowerMeter",
            "power-meter",
            "power_meter",
            "1a",
            "__proto__",
            "constructor",
            "prototype",
        ] {
            assert!(SliceName::new(bad).is_err(), "{bad}");
        }
        for member in HOST_MEMBERS {
            assert!(SliceName::new(member).is_err(), "{member}");
        }
        assert_eq!(
            HOST_MEMBERS,
            [
                "version",
                "meta",
                "message",
                "layout",
                "config",
                "serverConfig",
                "plugins",
                "devices",
                "logs",
                "alarms"
            ]
        );
    }

    #[test]
    fn a_device_without_a_slice_gets_its_id_in_camel_case() {
        let slice = |id: &str| {
            DeviceId::new(id)
                .unwrap()
                .default_slice()
                .map(|slice| slice.to_string())
        };
        assert_eq!(slice("front-panel").unwrap(), "frontPanel");
        assert_eq!(slice("ps2-keyboard").unwrap(), "ps2Keyboard");
        assert_eq!(slice("meter").unwrap(), "meter");
        assert_eq!(slice("rack-2").unwrap(), "rack2");
        assert!(slice("logs").is_err());
    }

    #[test]
    fn a_plugin_name_cannot_leave_the_plugin_folder() {
        for bad in ["../x", "a/b", "a.wasm", ".", "", "a\0b", "-a"] {
            assert!(PluginName::new(bad).is_err(), "{bad:?}");
        }
        assert!(PluginName::new("power-meter").is_ok());
        assert!(PluginName::new("power_meter").is_ok());
    }
}
