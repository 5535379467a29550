//! Translates events of the crates below into events of the steps.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{Event, Reporter, Step};
use crate::{Context, Workspace};

/// Reports the reading or the download of a bundle.
pub(crate) struct BundleObserver<'a> {
    reporter: &'a dyn Reporter,
    workspace: &'a Workspace,
    step: Step,
    reported: AtomicU64,
}

impl<'a> BundleObserver<'a> {
    pub(crate) fn new(context: &'a Context<'_>, step: Step) -> Self {
        Self {
            reporter: context.reporter,
            workspace: context.workspace,
            step,
            reported: AtomicU64::new(0),
        }
    }

    /// Reports bytes beyond the maximum so far: progress never goes backwards, but a restarted
    /// download does.
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
            bundle::Event::ArchiveStarted { archive, .. } => self.reporter.report(Event::Item {
                step: self.step,
                item: archive,
            }),
            bundle::Event::Retrying { reason, wait, .. } => self.reporter.report(Event::Retried {
                step: self.step,
                why: format!("{reason}; again in {:.1} s", wait.as_secs_f32()),
            }),
            bundle::Event::UnknownFileRenamed { path } => {
                self.reporter.report(Event::Warning(format!(
                    "an unfinished download of unknown origin was renamed to {}",
                    self.workspace.shown(path)
                )))
            }
            bundle::Event::ArchiveFinished { .. } | bundle::Event::DownloadStarted { .. } => {}
        }
    }
}

/// Reports retried requests of a fetch.
pub(crate) struct FetchObserver<'a>(pub(crate) &'a dyn Reporter);

impl registry::Observer for FetchObserver<'_> {
    fn event(&self, event: registry::Event<'_>) {
        if let registry::Event::Retrying { error, pause, .. } = event {
            self.0.report(Event::Retried {
                step: Step::Fetch,
                why: format!("{error}; again in {:.1} s", pause.as_secs_f32()),
            });
        }
    }
}

/// Reports a push. Bytes of a blob that are sent again count once.
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

    /// Records that the registry has `bytes` of a blob, and reports the new ones as sent or spared.
    fn reached(&self, digest: &oci_spec::image::Digest, bytes: u64, were_sent: bool) {
        let step = Step::Push;
        let mut reached = self
            .reached
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = reached.entry(digest.to_string()).or_insert(0);
        if bytes > *before {
            let advanced = bytes - *before;
            *before = bytes;
            self.reporter.report(match were_sent {
                true => Event::Advanced {
                    step,
                    bytes: advanced,
                },
                false => Event::Skipped {
                    step,
                    bytes: advanced,
                },
            });
        }
    }
}

impl registry::Observer for PushObserver<'_> {
    fn event(&self, event: registry::Event<'_>) {
        match event {
            registry::Event::BlobPresent { digest, size, .. }
            | registry::Event::BlobMounted { digest, size, .. } => {
                self.reached(digest, size, false);
            }
            registry::Event::BlobResumed { digest, held, .. } => self.reached(digest, held, false),
            registry::Event::BlobUploaded { digest, size, .. }
            | registry::Event::ManifestPut { digest, size, .. } => self.reached(digest, size, true),
            registry::Event::BlobProgress { digest, sent, .. } => self.reached(digest, sent, true),
            registry::Event::Retrying { error, pause, .. } => {
                self.reporter.report(Event::Retried {
                    step: Step::Push,
                    why: format!("{error}; again in {:.1} s", pause.as_secs_f32()),
                })
            }
            // Artifacts are pushed concurrently; the one that started last is shown.
            registry::Event::BlobStarted { repository, .. } => self.reporter.report(Event::Item {
                step: Step::Push,
                item: repository,
            }),
            registry::Event::Tagged {
                repository, tag, ..
            } => self.reporter.report(Event::Item {
                step: Step::Push,
                item: &format!("{repository}:{tag}"),
            }),
            registry::Event::ArtifactPresent { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use registry::Observer as _;

    use super::*;

    #[derive(Default)]
    struct Sums {
        sent: AtomicU64,
        spared: AtomicU64,
    }

    impl Reporter for Sums {
        fn report(&self, event: Event<'_>) {
            match event {
                Event::Advanced { bytes, .. } => self.sent.fetch_add(bytes, Ordering::Relaxed),
                Event::Skipped { bytes, .. } => self.spared.fetch_add(bytes, Ordering::Relaxed),
                _ => 0,
            };
        }
    }

    #[test]
    fn mounted_and_resumed_bytes_count_as_spared() {
        let sums = Sums::default();
        let observer = PushObserver::new(&sums);
        let digest = |fill: char| {
            let hex = String::from(fill).repeat(64);
            format!("sha256:{hex}").parse().unwrap()
        };
        let (resumed, mounted, present) = (digest('a'), digest('b'), digest('c'));
        let repository = "mke/node";
        let progress = |sent| registry::Event::BlobProgress {
            repository,
            digest: &resumed,
            sent,
            size: 1_000,
        };
        for event in [
            registry::Event::BlobResumed {
                repository,
                digest: &resumed,
                held: 600,
            },
            progress(700),
            // Sent again after a failure.
            progress(650),
            progress(900),
            registry::Event::BlobUploaded {
                repository,
                digest: &resumed,
                size: 1_000,
            },
            registry::Event::BlobMounted {
                repository,
                digest: &mounted,
                size: 50,
            },
            registry::Event::BlobPresent {
                repository,
                digest: &present,
                size: 7,
            },
        ] {
            observer.event(event);
        }
        assert_eq!(sums.sent.load(Ordering::Relaxed), 400);
        assert_eq!(sums.spared.load(Ordering::Relaxed), 657);
    }
}
