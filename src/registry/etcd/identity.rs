use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::registry::OpenError;

/// Which registry a data directory belongs to: what tells a store that was made anew, where every
/// token is gone, from one that never had any.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Where it is remembered.
    file: PathBuf,
    /// The store as it is called now, for messages.
    url: String,
    known: Option<Known>,
}

/// The file in the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The id that the head of a registry has from its first moment on.
    registry: String,
    /// Where it was met for the first time; for people.
    store: String,
}

impl Identity {
    /// Reads what this data directory remembers, if anything.
    pub(super) fn read(data_dir: &Path, url: &str) -> Result<Self, OpenError> {
        let file = data_dir.join("store.json");
        let known = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        match known {
            Ok(known) => Ok(Self { file, url: url.to_owned(), known }),
            Err(source) => Err(OpenError::StoreForgotten { file, source }),
        }
    }

    /// Whether no registry was met yet.
    pub(super) fn is_open(&self) -> bool {
        self.known.is_none()
    }

    /// Refuses every registry but the one that was met first; `None` is an empty store.
    pub(super) fn check(&self, found: Option<&str>) -> Result<(), OpenError> {
        match &self.known {
            Some(known) if found != Some(known.registry.as_str()) => {
                Err(OpenError::StoreReplaced {
                    url: self.url.clone(),
                    expected: known.registry.clone(),
                    met: known.store.clone(),
                    found: found.map_or_else(|| "none".to_owned(), |id| format!("registry {id}")),
                    file: self.file.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Keeps the first registry that is met.
    pub(super) fn meet(&mut self, registry: &str) -> Result<(), OpenError> {
        if self.known.is_some() {
            return Ok(());
        }
        let known = Known { registry: registry.to_owned(), store: self.url.clone() };
        let text = serde_json::to_string_pretty(&known).expect("two texts are JSON");
        durable::replace(&self.file, format!("{text}\n").as_bytes(), 0o600)
            .map_err(|source| OpenError::StoreForgotten { file: self.file.clone(), source })?;
        self.known = Some(known);
        Ok(())
    }
}
