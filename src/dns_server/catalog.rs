use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use hickory_proto::rr::{Name, Record, RecordType};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::answers::Answers;
use super::clusters::{Clusters, PublishError, Published};
use super::files::{Changes, FileError, Warning, ZoneFiles};
use super::forward::{Forwarder, LoopError, Upstreams};
use super::local::{HOSTS_TTL, LocalFiles, LocalSources};
use super::metrics::{Counters, ZoneCount};
use super::transfer::{Journal, Transfers};
use crate::local::Names;
use crate::zone::{Key, Rcode, Response, Zone};

/// Everything that is served: the zones of the files, the one of the clusters, and local names.
#[derive(Debug)]
pub struct Catalog {
    files: Mutex<ZoneFiles>,
    /// Zones and their written answers, exchanged together.
    served: ArcSwap<Answers>,
    clusters: OnceLock<Clusters>,
    counters: Counters,
    local_files: Mutex<Option<LocalFiles>>,
    local: ArcSwap<Names>,
    forwarder: OnceLock<Forwarder>,
    transfers: OnceLock<Transfers>,
    journal: Journal,
    /// Zones that secondaries have not been told of.
    untold: Mutex<Vec<Arc<Zone>>>,
    /// Moves after anything that is served has changed, so that what others said before is not
    /// said about names that are ours since.
    state: AtomicU64,
}

/// Why a name cannot be the domain of the clusters.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    #[error("zone `{0}` comes from a zone file already; choose a name below it")]
    HasFile(Name),
    #[error("the domain of the clusters is `{0}` already")]
    SetBefore(Name),
    #[error("`{0}` is too long or no domain: names of members have to fit below it")]
    Unfit(Name),
}

impl Catalog {
    /// Reads all zone files of a directory; a directory that does not exist holds none.
    ///
    /// One file that makes no zone is enough to fail, and all such files are reported.
    pub fn load(directory: &Path) -> Result<(Self, Vec<Warning>), Vec<FileError>> {
        let mut files = ZoneFiles::new(directory);
        let changes = files.look(false);
        if !changes.errors.is_empty() {
            return Err(changes.errors);
        }
        let counters = Counters::new();
        let served = ArcSwap::from_pointee(Answers::new(files.zones(), None, &counters));
        let catalog = Self {
            files: Mutex::new(files),
            served,
            clusters: OnceLock::new(),
            counters,
            local_files: Mutex::new(None),
            local: ArcSwap::from_pointee(Names::new(HOSTS_TTL)),
            forwarder: OnceLock::new(),
            transfers: OnceLock::new(),
            journal: Journal::default(),
            untold: Mutex::new(Vec::new()),
            state: AtomicU64::new(0),
        };
        Ok((catalog, changes.warnings))
    }

    /// What the service counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a question that a zone has answered.
    pub(super) fn count(&self, zone: &Zone) {
        let apex = Key::of(zone.origin());
        match self.clusters.get().filter(|clusters| *clusters.apex() == apex) {
            Some(clusters) => clusters.count(),
            None => drop(self.served.load().count(&apex).map(ZoneCount::add)),
        }
    }

    /// The zones of the files, as they are now.
    pub fn zones(&self) -> Vec<Arc<Zone>> {
        self.served.load().zones().values().cloned().collect()
    }

    /// Opens the zone that clusters are published in. `addresses` are those of this server.
    pub fn set_cluster_domain(
        &self,
        domain: &Name,
        addresses: &[IpAddr],
    ) -> Result<(), DomainError> {
        if self.served.load().zones().contains_key(&Key::of(domain)) {
            return Err(DomainError::HasFile(domain.clone()));
        }
        let clusters = Clusters::new(domain, addresses, &self.counters)
            .ok_or_else(|| DomainError::Unfit(domain.clone()))?;
        let set = self.clusters.set(clusters).map_err(|clusters| {
            DomainError::SetBefore(self.clusters.get().unwrap_or(&clusters).domain().clone())
        });
        self.moved();
        set
    }

    /// Makes the names of a cluster to come exist: they answer "no such data" for a short time,
    /// not "no such name" or a refusal.
    pub fn expect(&self, label: &str) -> Result<(), PublishError> {
        self.clusters()?.expect(label)
    }

    /// Publishes a complete cluster under `label`, in one step; what was there before goes.
    pub fn publish(&self, label: &str, published: Published) -> Result<(), PublishError> {
        self.clusters()?.publish(label, published)
    }

    /// Takes the records of a cluster away; without such a cluster nothing happens.
    pub fn unpublish(&self, label: &str) {
        if let Some(clusters) = self.clusters.get() {
            clusters.unpublish(label);
        }
    }

    /// The zone with the longest apex that `name` is within.
    pub fn find(&self, name: &Name) -> Option<Arc<Zone>> {
        let key = Key::of(name);
        let served = self.served.load();
        let zones = served.zones();
        let file = key.prefixes().filter_map(|prefix| zones.get(prefix)).last();
        let file = file.or_else(|| zones.get(&[][..]));
        let clusters = self.clusters.get().filter(|clusters| key.is_within(clusters.apex()));
        match (file, clusters) {
            (Some(zone), Some(clusters))
                if zone.origin().iter().count() > clusters.domain().iter().count() =>
            {
                Some(Arc::clone(zone))
            }
            (_, Some(clusters)) => Some(clusters.zone(&key)),
            (file, None) => file.cloned(),
        }
    }

    /// Writes the answer to a question of the usual shape, as far as it is compiled.
    pub(super) fn answer(&self, response: &mut Response<'_>) -> Option<Rcode> {
        let question = response.question;
        let served = self.served.load();
        let zone = served.find(question);
        if let Some(clusters) = self.clusters.get() {
            // Published addresses lead back to names, whatever zone the reverse name is in.
            if question.kind() == u16::from(RecordType::PTR) {
                return None;
            }
            let file_depth = zone.map_or(0, |zone| zone.compiled.depth());
            if clusters.depth_over(question).is_some_and(|depth| depth >= file_depth) {
                return clusters.answer(response);
            }
        }
        let zone = zone?;
        let code = zone.compiled.answer(response)?;
        zone.asked.add();
        Some(code)
    }

    /// Writes what upstream servers answered before, if the question is none about names that are known here. The
    /// client is one for whom others are asked.
    pub(super) fn answer_from_cache(&self, response: &mut Response<'_>) -> Option<Rcode> {
        let question = response.question;
        // A cluster that was published since may have the address; that does not move the state.
        let reverse = question.kind() == u16::from(RecordType::PTR);
        if !question.recursion_desired() || reverse && self.clusters.get().is_some() {
            return None;
        }
        self.forwarder()?.packet_cache().answer(self.state(), response)
    }

    /// Two equal states mean that nothing changed between, but for published clusters.
    pub(super) fn state(&self) -> u64 {
        self.state.load(Ordering::Acquire)
    }

    fn moved(&self) {
        self.state.fetch_add(1, Ordering::AcqRel);
    }

    /// The names that published clusters give to the address in a reverse name.
    pub fn reverse(&self, name: &Name, kind: RecordType) -> Vec<Record> {
        match self.clusters.get() {
            Some(clusters) if matches!(kind, RecordType::PTR | RecordType::ANY) => {
                clusters.reverse(name)
            }
            _ => Vec::new(),
        }
    }

    /// Takes local names into service and follows their files; logs what is wrong in them.
    pub fn set_local(&self, sources: LocalSources) {
        self.local.store(Arc::new(sources.names.clone()));
        let mut files = LocalFiles::new(sources);
        files.refresh(false, &self.local);
        *self.local_files.lock() = Some(files);
        self.moved();
    }

    /// Asks these servers about names that are not known here. Only the first call counts; local
    /// names have to be there before, because domains may have servers of their own.
    pub fn set_upstreams(&self, upstreams: Upstreams) -> Result<(), LoopError> {
        let mut upstreams = upstreams;
        upstreams.of_domains = self.local().server_lists().cloned().collect();
        let forwarder = Forwarder::new(upstreams)?;
        self.forwarder.get_or_init(|| forwarder);
        Ok(())
    }

    /// Whether local names know domains with servers of their own.
    pub fn needs_upstreams(&self) -> bool {
        self.local().server_lists().next().is_some()
    }

    /// Lets other servers have whole zones. Only the first call counts.
    pub fn set_transfers(&self, transfers: Transfers) {
        let mut untold = self.untold.lock();
        // They may have missed what changed while this server was down.
        untold.extend(self.zones());
        self.transfers.get_or_init(|| transfers);
    }

    pub(super) fn transfers(&self) -> Option<&Transfers> {
        self.transfers.get()
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The zone of a file with this apex. That of the clusters is none: its serial begins anew with
    /// the process, so that a secondary would keep what is old.
    pub(super) fn zone_of_file(&self, apex: &Name) -> Option<Arc<Zone>> {
        let apex = Key::of(apex);
        let hidden = self.clusters.get().is_some_and(|clusters| *clusters.apex() == apex);
        self.served.load().zones().get(&apex).filter(|_| !hidden).cloned()
    }

    /// The zones that are new since the last call.
    pub(super) fn take_untold(&self) -> Vec<Arc<Zone>> {
        std::mem::take(&mut *self.untold.lock())
    }

    /// Notes what changed, for secondaries that want only that.
    fn note_changes(&self, changes: &Changes) {
        if self.transfers.get().is_none() {
            return;
        }
        changes.removed.iter().for_each(|zone| self.journal.forget(zone));
        let served = self.served.load();
        for zone in &changes.loaded {
            if let Some(old) = served.zones().get(&Key::of(zone.origin())) {
                self.journal.note(old, zone);
            }
        }
        let mut untold = self.untold.lock();
        untold.extend(changes.loaded.iter().cloned());
    }

    pub(super) fn forwarder(&self) -> Option<&Forwarder> {
        self.forwarder.get()
    }

    /// The local names, as they are now.
    pub(super) fn local(&self) -> Arc<Names> {
        self.local.load_full()
    }

    /// Looks for changed files and exchanges what is served of them; logs what it did.
    ///
    /// Reads files, so keep it off the threads that answer.
    pub fn refresh(&self) {
        let (served, names) = (self.served.load_full(), self.local());
        self.refresh_zones();
        let mut local = self.local_files.lock();
        if let Some(files) = local.as_mut() {
            files.refresh(true, &self.local);
        }
        drop(local);
        let asked = self.forwarder.get().is_some_and(Forwarder::refresh);
        let same =
            Arc::ptr_eq(&served, &self.served.load()) && Arc::ptr_eq(&names, &self.local.load());
        if asked || !same {
            self.moved();
        }
    }

    fn refresh_zones(&self) {
        let mut files = self.files.lock();
        let changes = files.look(true);
        if changes.directory_lost {
            let directory = files.directory().display();
            warn!(dns.zones_dir = %directory, "zones directory is gone, its zones stay in service");
        }
        for warning in &changes.warnings {
            warn!(warning = %warning, "zone is odd");
        }
        for error in &changes.errors {
            warn!(error = %error, "zone file cannot be loaded, what was served stays");
        }
        self.note_changes(&changes);
        if !changes.loaded.is_empty() || !changes.removed.is_empty() {
            let answers = Answers::new(files.zones(), Some(&self.served.load()), &self.counters);
            self.served.store(Arc::new(answers));
        }
        for zone in &changes.loaded {
            if self.clusters.get().is_some_and(|it| *it.apex() == Key::of(zone.origin())) {
                warn!(zone.origin = %zone.origin(), "zone file is not served, clusters are published there");
                continue;
            }
            info!(zone.origin = %zone.origin(), zone.serial = zone.serial(), "zone loaded");
        }
        for zone in &changes.removed {
            info!(zone.origin = %zone.origin(), "zone removed");
        }
    }

    fn clusters(&self) -> Result<&Clusters, PublishError> {
        self.clusters.get().ok_or(PublishError::NoDomain)
    }
}
