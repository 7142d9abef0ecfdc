use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::Zones;
use super::metrics::{Counters, ZoneCount};
use crate::zone::{Apexes, Compiled, Key, Question, Zone};

/// Zones as they are served: each with its answers written beforehand.
#[derive(Debug)]
pub(super) struct Answers {
    zones: Zones,
    compiled: BTreeMap<Key, Arc<Written>>,
    apexes: Apexes<Arc<Written>>,
}

/// The written answers of one zone.
#[derive(Debug)]
pub(super) struct Written {
    zone: Arc<Zone>,
    pub(super) compiled: Compiled,
    pub(super) asked: ZoneCount,
}

impl Answers {
    /// Writes the answers of all zones that `before` has not written already.
    pub(super) fn new(zones: Zones, before: Option<&Self>, counters: &Counters) -> Self {
        let write = |(apex, zone): (&Key, &Arc<Zone>)| {
            let held = before.and_then(|before| before.compiled.get(apex));
            let held = held.filter(|held| Arc::ptr_eq(&held.zone, zone)).cloned();
            let written = held.unwrap_or_else(|| {
                let asked = counters.zone(&zone.origin().to_ascii());
                Arc::new(Written { zone: Arc::clone(zone), compiled: Compiled::of(zone), asked })
            });
            (apex.clone(), written)
        };
        let compiled: BTreeMap<_, _> = zones.iter().map(write).collect();
        let apexes = Apexes::new(compiled.iter().map(|(apex, it)| (apex, Arc::clone(it))));
        Self { zones, compiled, apexes }
    }

    pub(super) fn zones(&self) -> &Zones {
        &self.zones
    }

    /// The counter of the zone with this apex.
    pub(super) fn count(&self, apex: &Key) -> Option<&ZoneCount> {
        self.compiled.get(apex).map(|written| &written.asked)
    }

    /// The zone with the longest apex that a question is within.
    pub(super) fn find(&self, question: &Question) -> Option<&Written> {
        self.apexes.find(question).map(AsRef::as_ref)
    }
}
