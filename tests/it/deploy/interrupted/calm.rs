//! A push that is asked to stop: it ends by itself in seconds, and the next one resumes there, with
//! distribution 2 as well, which forgets a session of which a request was cut.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::bundles;
use support::faulty::{Fault, FaultyRegistry, Kind, Quirks, Rule, When};
use support::tap::Tap;
use support::{Sandbox, TestRegistry};

use super::{AGAIN, start};
use crate::AIRLOCK;

/// The exit code of a push that was asked to stop.
const INTERRUPTED: i32 = 130;

/// How long a stop may take. It is much more than it takes, and much less than the rest of the
/// push.
const SOON: Duration = Duration::from_secs(20);

/// The size of the one large blob, in bytes: at the rate below it takes eight seconds.
const SIZE: usize = 160_000_000;

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_that_sigint_stops_resumes_where_it_was_in_registry_2() {
    stops_calmly(libc::SIGINT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_that_sigterm_stops_resumes_where_it_was_in_registry_2() {
    stops_calmly(libc::SIGTERM).await;
}

async fn stops_calmly(signal: i32) {
    let registry = TestRegistry::plain().await;
    let tap = Tap::before(&registry.address).await;
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(&tap.address, None, &sandbox, "");
    let recipe = bundles::of(vec![bundles::image(
        "large",
        "v1",
        &["linux/amd64"],
        &[("large", SIZE)],
    )]);
    bundles::make_locked(&sandbox, &recipe);
    let total = SIZE as u64;

    let mut push = start(&sandbox, "push lab --max-rate 20MB");
    while tap.sent() < total / 3 {
        assert!(push.try_wait().unwrap().is_none(), "it ended too soon");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let process = i32::try_from(push.id()).unwrap();
    // SAFETY: a signal to a process that was started here and not waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
    let code = ends_soon(&mut push).await;
    assert_eq!(code, Some(INTERRUPTED));
    let stopped_at = tap.sent();
    assert!(
        stopped_at < total - AGAIN,
        "it sent all of it: {stopped_at}"
    );

    sandbox.run("push lab").success();
    let (sent, rest) = (tap.sent() - stopped_at, total - stopped_at);
    assert!(
        sent <= rest + AGAIN,
        "{sent} bytes were sent where {rest} were missing"
    );
    sandbox.run("verify lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_a_blob_and_never_answers_is_named_and_keeps_no_push_from_ending() {
    let silent = Rule::new(
        &[Kind::EndUpload],
        Fault::Stall { after: u64::MAX },
        When::Always,
    );
    let registry = FaultyRegistry::start(Quirks::default(), &[silent], 1).await;
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(&registry.address, None, &sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    let mut command = sandbox.command("push lab");
    let mut push = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(push.stderr.take().unwrap());
    let expected = format!(
        "registry {} has not answered for 10 s; still waiting",
        registry.address
    );
    let mut lines = stderr.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(&expected)));
    let process = i32::try_from(push.id()).unwrap();
    // SAFETY: a signal to a process that was started here and not waited for.
    assert_eq!(unsafe { libc::kill(process, libc::SIGTERM) }, 0);
    assert_eq!(ends_soon(&mut push).await, Some(INTERRUPTED));
    assert_eq!(registry.tags(), []);
}

async fn ends_soon(process: &mut Child) -> Option<i32> {
    let asked = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        if asked.elapsed() > SOON {
            process.kill().unwrap();
            panic!("it has not stopped in {} s", SOON.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
