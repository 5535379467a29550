//! Turns what the crates below report into the steps' own events. The only place that knows both sides.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{Event, Reporter, Step};

/// Reports how the reading or the download of a bundle goes.
pub(crate) struct BundleObserver<'a> {
    reporter: &'a dyn Reporter,
    step: Step,
    reported: AtomicU64,
}

impl<'a> BundleObserver<'a> {
    pub(crate) fn new(reporter: &'a dyn Reporter, step: Step) -> Self {
        Self {
            reporter,
            step,
            reported: AtomicU64::new(0),
        }
    }

    /// Reports only what goes beyond everything before: progress never goes backwards, though a download may.
    fn reached(&self, bytes: u64) {
        let before = self.reported.fetch_max(bytes, Ordering::Relaxed);
        if bytes > before {
            self.reporter.report(Event::Advanced {
                step: self.step,
                bytes: bytes - before,
            });
        }
    }
}

impl bundle::Observer for BundleObserver<'_> {
    fn event(&self, event: bundle::Event<'_>) {
        match event {
            bundle::Event::BundleRead { bytes } => self.reached(bytes),
            bundle::Event::Downloaded { bytes, .. } => self.reached(bytes),
            bundle::Event::ArchiveStarted { archive, .. } => self.reporter.report(Event::At {
                step: self.step,
                item: archive,
            }),
            bundle::Event::Retrying { reason, wait, .. } => self.reporter.report(Event::Retried {
                step: self.step,
                why: format!("{reason}; again in {:.1} s", wait.as_secs_f32()),
            }),
            bundle::Event::ArchiveFinished { .. } | bundle::Event::DownloadStarted { .. } => {}
        }
    }
}

/// Reports how a push goes. A blob that is sent again after a failure counts only where it goes further than before.
pub(crate) struct PushObserver<'a> {
    reporter: &'a dyn Reporter,
    reached: Mutex<HashMap<String, u64>>,
}

impl<'a> PushObserver<'a> {
    pub(crate) fn new(reporter: &'a dyn Reporter) -> Self {
        Self {
            reporter,
            reached: Mutex::new(HashMap::new()),
        }
    }

    fn reached(&self, digest: &oci_spec::image::Digest, bytes: u64) {
        let mut reached = self
            .reached
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = reached.entry(digest.to_string()).or_insert(0);
        if bytes > *before {
            let advanced = bytes - *before;
            *before = bytes;
            self.reporter.report(Event::Advanced {
                step: Step::Push,
                bytes: advanced,
            });
        }
    }
}

impl registry::Observer for PushObserver<'_> {
    fn event(&self, event: registry::Event<'_>) {
        match event {
            registry::Event::BlobPresent { digest, size, .. }
            | registry::Event::BlobMounted { digest, size, .. }
            | registry::Event::BlobUploaded { digest, size, .. }
            | registry::Event::ManifestPut { digest, size, .. } => self.reached(digest, size),
            registry::Event::BlobProgress { digest, sent, .. } => self.reached(digest, sent),
            registry::Event::Retrying { error, pause, .. } => {
                self.reporter.report(Event::Retried {
                    step: Step::Push,
                    why: format!("{error}; again in {:.1} s", pause.as_secs_f32()),
                })
            }
            // Artifacts move side by side; the one that something was last begun for is shown.
            registry::Event::BlobStarted { repository, .. } => self.reporter.report(Event::At {
                step: Step::Push,
                item: repository,
            }),
            registry::Event::Tagged {
                repository, tag, ..
            } => self.reporter.report(Event::At {
                step: Step::Push,
                item: &format!("{repository}:{tag}"),
            }),
            registry::Event::ArtifactPresent { .. } => {}
        }
    }
}
