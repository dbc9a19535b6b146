//! A copy of the state, and its hash.

use std::collections::BTreeMap;

use e2e::{sort_names, write_string, write_value};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ledger::Hash;

/// Every so many patches a mirror hashes all of its document and not only what was touched.
const WHOLE_EVERY: u64 = 32;

/// A copy of the state, with the canonical text of each member, so that a patch costs what it touches.
#[derive(Default)]
pub struct Mirror {
    pub version: u64,
    document: Value,
    texts: BTreeMap<String, String>,
    pub patches: u64,
}

impl Mirror {
    pub fn replace(&mut self, version: u64, document: Value) {
        self.version = version;
        self.document = document;
        self.write_all();
        self.agree();
    }

    pub fn apply(&mut self, from: u64, to: u64, patch: &Value) {
        assert_eq!(
            from, self.version,
            "a patch that does not begin where the mirror is"
        );
        assert!(to > from, "a patch that leads nowhere");
        let operations: json_patch::Patch = serde_json::from_value(patch.clone()).expect("an RFC 6902 patch");
        json_patch::patch(&mut self.document, &operations).expect("the patch applies");
        self.version = to;
        self.patches += 1;
        if self.patches.is_multiple_of(WHOLE_EVERY) {
            self.write_all();
        } else {
            for operation in patch.as_array().expect("operations") {
                for place in ["path", "from"] {
                    if let Some(path) = operation.get(place).and_then(Value::as_str) {
                        let member = path.split('/').nth(1).expect("a member");
                        self.write(&member.replace("~1", "/").replace("~0", "~"));
                    }
                }
            }
        }
        self.agree();
    }

    fn agree(&self) {
        assert_eq!(
            self.document["version"].as_u64(),
            Some(self.version),
            "the document disagrees with its version"
        );
    }

    fn write_all(&mut self) {
        self.texts.clear();
        let names: Vec<String> = self
            .document
            .as_object()
            .expect("a document")
            .keys()
            .cloned()
            .collect();
        for name in names {
            self.write(&name);
        }
    }

    fn write(&mut self, member: &str) {
        match self.document.get(member) {
            Some(value) => {
                let text = self.texts.entry(member.to_owned()).or_default();
                text.clear();
                write_string(text, member);
                text.push(':');
                write_value(text, value);
            }
            None => {
                self.texts.remove(member);
            }
        }
    }

    pub fn hash(&self) -> Hash {
        let mut names: Vec<&String> = self.texts.keys().collect();
        sort_names(&mut names);
        let mut hasher = Sha256::new();
        hasher.update(b"{");
        for (at, name) in names.into_iter().enumerate() {
            if at > 0 {
                hasher.update(b",");
            }
            hasher.update(&self.texts[name]);
        }
        hasher.update(b"}");
        hasher.finalize().into()
    }
}
