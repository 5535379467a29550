//! Reads the registries of many environments, within one deadline. Each name is looked up once,
//! each registry API is checked once, and each tag is requested once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use environment::yaml::Node;
use environment::{CredentialSource, Environment};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Drift, Fix, Registry, Status};
use crate::locked::Locked;
use crate::receipt::Receipt;
use crate::shared_state::{self, Conflict, StateCheck};
use crate::transfer::connect::{self, connect};
use crate::transfer::look::{self, MAX_CONCURRENT_LOOKUPS, Planned, Seen};
use crate::workspace::Output;
use crate::{Context, Credentials, Error, chain, rehearse};

/// Time limit for all registries together.
const DEADLINE: Duration = Duration::from_secs(20);

/// Maximum number of projects that are read concurrently from one registry.
const CONCURRENT_PROJECTS: usize = 4;

/// Maximum number of concurrent name lookups: resolvers drop requests that come in hundreds.
const CONCURRENT_LOOKUPS: usize = 16;

/// Time after which a lookup lets the next one start.
const LOOKUP_TURN: Duration = Duration::from_millis(20);

/// The question about the state of an environment's registry, and its answer.
pub(super) struct Question {
    environment: Environment,
    lock: Arc<bundle::Lock>,
    /// Sets whose artifacts are in the lock, with the SHA-256 of their own locks.
    sets: BTreeMap<String, String>,
    output: Output,
    /// `None` if the receipt cannot be read: then nothing is compared with it.
    receipt: Option<Option<Receipt>>,
    answer: OnceLock<Result<Answer, Drift>>,
}

struct Answer {
    /// The state of each tag of the lock.
    seen: Arc<Vec<Seen>>,
    state_check: StateCheck,
}

/// Key of a question: environments with equal keys share the requests.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct QuestionKey<'a> {
    project: &'a str,
    release: &'a str,
    sets: &'a BTreeMap<String, String>,
    /// Whether nodes pull images and charts with credentials.
    secrets: (bool, bool),
    /// Names of the push and pull credentials.
    credentials: [Option<&'a str>; 2],
}

impl Question {
    pub(super) fn new(
        environment: Environment,
        locked: Locked,
        output: Output,
        receipt: Option<Option<Receipt>>,
    ) -> Self {
        Self {
            environment: for_registry(environment),
            lock: locked.lock,
            sets: locked.sets,
            output,
            receipt,
            answer: OnceLock::new(),
        }
    }

    /// Returns the key of the registry: address, CA and, for a rehearsal, the environment's name,
    /// because each rehearsal has a registry of its own.
    fn registry(&self) -> (&str, Option<&str>, Option<&str>) {
        let Environment {
            name,
            registry,
            rehearsal,
            ..
        } = &self.environment;
        let ca = registry.ca.as_ref().map(|ca| ca.pem.as_str());
        (&registry.address, ca, rehearsal.then_some(name))
    }

    fn key(&self) -> QuestionKey<'_> {
        let registry = &self.environment.registry;
        let secrets = mke::PullSecrets::of(&self.environment);
        let [push, pull] = [&registry.push_credentials, &registry.pull_credentials];
        QuestionKey {
            project: &registry.project,
            release: &self.lock.release,
            sets: &self.sets,
            secrets: (secrets.images, secrets.charts),
            credentials: [push, pull].map(|source| {
                let CredentialSource::Environment(name) = source.as_ref()?;
                Some(name.as_str())
            }),
        }
    }

    fn fail(&self, why: &Error) {
        let fix = match why {
            Error::Rehearse(_) => Fix::FreeAddress,
            _ => Fix::Preflight,
        };
        // Fails if there is an answer already, which is kept.
        let _ = self.answer.set(Err(Drift {
            what: chain(why),
            fix,
        }));
    }
}

/// Removes the parts of an environment that requests to its registry do not need, such as machines:
/// all environments are in memory until their registries have answered.
fn for_registry(mut environment: Environment) -> Environment {
    let registries = environment.config.get("registries").cloned();
    environment.config = Node::mapping(registries.map(|node| ("registries", node)));
    environment.merged = Node::mapping::<String>([]);
    environment.inventory = Vec::new();
    environment.files = Vec::new();
    environment.accept = Vec::new();
    environment.defaults = None;
    environment
}

/// Reads the registries, and adds the answers to the states of the environments.
pub(super) async fn ask(
    context: &Context<'_>,
    all: &mut [Status],
    questions: Vec<Option<Question>>,
) {
    let mut registries: BTreeMap<_, Vec<&Question>> = BTreeMap::new();
    for question in questions.iter().flatten() {
        registries
            .entry(question.registry())
            .or_default()
            .push(question);
    }
    let lookups = &Semaphore::new(CONCURRENT_LOOKUPS);
    let asking = futures_util::stream::iter(registries.into_values())
        .for_each_concurrent(None, |questions| one_registry(context, lookups, questions));
    // Answers before the deadline are used.
    let _ = timeout_at(Instant::now() + DEADLINE, asking).await;
    for (status, question) in all.iter_mut().zip(questions) {
        if let Some(question) = question {
            question.add_answer(status);
        }
    }
}

async fn one_registry(context: &Context<'_>, lookups: &Semaphore, questions: Vec<&Question>) {
    let Some(first) = questions.first() else {
        return;
    };
    let _registry = match connect_once(context, lookups, &first.environment).await {
        Ok(registry) => registry,
        Err(error) => return questions.iter().for_each(|question| question.fail(&error)),
    };
    let mut projects: BTreeMap<QuestionKey<'_>, Vec<&Question>> = BTreeMap::new();
    for question in questions {
        projects.entry(question.key()).or_default().push(question);
    }
    futures_util::stream::iter(projects.into_values())
        .for_each_concurrent(CONCURRENT_PROJECTS, |questions| {
            one_project(context, questions)
        })
        .await;
}

/// Checks that the registry's name resolves and the registry responds. Returns the embedded
/// registry of a rehearsal, which ends when it is dropped.
async fn connect_once(
    context: &Context<'_>,
    lookups: &Semaphore,
    environment: &Environment,
) -> Result<Option<registry::embedded::Embedded>, Error> {
    let served = rehearse::serve_for_reading(context.workspace, environment).await?;
    let endpoint = connect::endpoint(context, environment)?;
    let resolved = in_turn(lookups, endpoint.look_up()).await;
    resolved.map_err(|source| look::unusable(environment, source))?;
    let registry = connect(context, environment, Credentials::Anonymous)?;
    look::require_reachable(context, &registry, environment).await?;
    Ok(served)
}

/// Waits for a permit, then for `future`. The permit is released if the future takes long.
async fn in_turn<T>(permits: &Semaphore, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let permit = permits.acquire().await;
    match timeout(LOOKUP_TURN, &mut future).await {
        Ok(done) => done,
        Err(_) => {
            drop(permit);
            future.await
        }
    }
}

/// Reads each tag of a lock once, as a node, and the shared state of each environment.
async fn one_project(context: &Context<'_>, questions: Vec<&Question>) {
    let Some(first) = questions.first() else {
        return;
    };
    let tags = look::tags_of(&first.lock);
    let seen = match look::look_as_node(context, &first.environment, &tags).await {
        Ok(seen) => Arc::new(seen),
        Err(error) => return questions.iter().for_each(|question| question.fail(&error)),
    };
    futures_util::stream::iter(questions)
        .for_each_concurrent(MAX_CONCURRENT_LOOKUPS, |question| {
            let seen = Arc::clone(&seen);
            async move {
                let receipt = question.receipt.as_ref().and_then(Option::as_ref);
                let (environment, output) = (&question.environment, &question.output);
                let state_check = shared_state::read(context, environment, output, receipt).await;
                let _ = question.answer.set(Ok(Answer { seen, state_check }));
            }
        })
        .await;
}

impl Question {
    /// Adds the answer to the state of the environment.
    fn add_answer(self, status: &mut Status) {
        let Self {
            environment,
            lock,
            receipt,
            answer,
            ..
        } = self;
        let artifacts = lock.artifacts.len();
        let registry = status.registry.insert(Registry {
            url: environment.registry.image_url(),
            artifacts,
            served: None,
        });
        let answer = answer.into_inner().unwrap_or_else(|| {
            let (address, seconds) = (&environment.registry.address, DEADLINE.as_secs());
            Err(Drift {
                what: format!("registry {address} did not respond within {seconds} s"),
                fix: Fix::Preflight,
            })
        });
        let Answer { seen, state_check } = match answer {
            Ok(answer) => answer,
            Err(drift) => return status.drift.push(drift),
        };
        let count = |wanted: Planned| {
            let artifacts = lock.artifacts.iter().zip(seen.iter());
            artifacts
                .filter(|(artifact, seen)| match wanted {
                    // The registry refuses nodes, so the content of the tag is unknown.
                    Planned::Unconfirmed => !seen.is_open,
                    wanted => seen.is_open && seen.planned(&artifact.digest) == wanted,
                })
                .count()
        };
        registry.served = Some(count(Planned::Confirmed));
        status.shared = state_check.state().cloned();
        if let Some(conflict) = state_check.conflict().filter(|_| receipt.is_some()) {
            let fix = match conflict {
                Conflict::Invalid { .. } => Fix::Plan,
                Conflict::InUse { .. } => Fix::Wait,
                _ => Fix::Pull,
            };
            status.add(conflict.to_string(), fix);
        }
        for (kind, what) in [
            (Planned::Missing, "the registry lacks"),
            (
                Planned::Different,
                "the registry has different content under the tags of",
            ),
        ] {
            let count = count(kind);
            if count > 0 {
                let all = environment::count(artifacts, "artifact");
                status.add(format!("{what} {count} of {all}"), Fix::Push);
            }
        }
        // No number: some registries also refuse requests for artifacts that they do not have.
        if count(Planned::Unconfirmed) > 0 {
            let secrets = mke::PullSecrets::of(&environment);
            let how = match secrets.images || secrets.charts {
                true => "",
                false => " without credentials",
            };
            status.add(
                format!("nodes may not pull: the registry refuses them{how}"),
                Fix::Preflight,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Runs 320 lookups. Returns the maximum number of concurrent ones, and the time of all.
    async fn looked_up(each: Duration) -> (usize, Duration) {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let turns = Semaphore::new(CONCURRENT_LOOKUPS);
        let began = Instant::now();
        let lookup = |_| async {
            let now = running.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(each).await;
            running.fetch_sub(1, Ordering::Relaxed);
        };
        futures_util::stream::iter(0..320)
            .for_each_concurrent(None, |number| in_turn(&turns, lookup(number)))
            .await;
        (most.into_inner(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_gets_few_questions_concurrently_and_a_silent_one_costs_its_time_limit_once()
    {
        let (most, took) = looked_up(Duration::from_millis(5)).await;
        assert_eq!(most, CONCURRENT_LOOKUPS);
        assert!(took < Duration::from_millis(200), "{took:?}");
        let (_, took) = looked_up(Duration::from_secs(2)).await;
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    }
}
