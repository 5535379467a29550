//! A push that gets a signal: it ends within seconds, and the next push resumes there. This holds
//! for `registry:2` too, which discards an upload session when one of its requests is cut off.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::bundles;
use support::faulty::{Fault, FaultyRegistry, Kind, Quirks, Rule, When};
use support::tap::Tap;
use support::{Sandbox, TestRegistry};

use super::{AGAIN, start};
use crate::AIRLOCK;

/// The exit code of a push that a signal stopped.
const INTERRUPTED: i32 = 130;

/// The longest time that a push may take to stop. It is much longer than a stop takes, and much
/// shorter than the rest of the push.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The size of the large blob, in bytes. With the rate in the test, it takes eight seconds.
const SIZE: usize = 160_000_000;

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_that_sigint_stops_resumes_where_it_was_in_registry_2() {
    stops_gracefully(libc::SIGINT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_that_sigterm_stops_resumes_where_it_was_in_registry_2() {
    stops_gracefully(libc::SIGTERM).await;
}

async fn stops_gracefully(signal: i32) {
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
        assert!(
            push.try_wait().unwrap().is_none(),
            "the push ended before the signal"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let process = i32::try_from(push.id()).unwrap();
    // SAFETY: a signal to a process that was started here and not waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
    let code = wait_for_end(&mut push).await;
    assert_eq!(code, Some(INTERRUPTED));
    let stopped_at = tap.sent();
    assert!(
        stopped_at < total - AGAIN,
        "the push sent all {stopped_at} bytes"
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
async fn a_registry_that_never_answers_an_upload_is_named_and_does_not_prevent_a_stop() {
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
    assert_eq!(wait_for_end(&mut push).await, Some(INTERRUPTED));
    assert_eq!(registry.tags(), []);
}

async fn wait_for_end(process: &mut Child) -> Option<i32> {
    let asked = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        if asked.elapsed() > STOP_LIMIT {
            process.kill().unwrap();
            panic!("the push has not stopped within {} s", STOP_LIMIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
