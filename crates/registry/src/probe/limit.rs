//! Finds the body limit: sends zeros, twice as many each time, in uploads that are cancelled.

use std::time::Duration;

use bytes::Bytes;
use oci_spec::image::Digest;
use tokio::time::Instant;

use super::finding::{Aspect, Fault};
use super::send::ProbeRun;
use crate::Error;
use crate::digest::sha256;

/// What is tried first, in bytes.
const FIRST: usize = 64 * 1024;

/// When a request took so long, no larger one is tried.
const LONG: Duration = Duration::from_secs(3);

/// Below this many bytes a second, a release of some gigabytes takes hours.
const SLOW: f64 = 1_000_000.0;

/// Doubles what one request carries until it is refused, takes too long, or is as much as is
/// wanted.
///
/// Where parts are taken, it is a part of an upload that is cancelled; elsewhere a whole upload
/// with a digest that is not its own, which every registry refuses when it has read it all.
pub(super) async fn limit(run: &mut ProbeRun<'_>, chunks: bool) {
    let most = run.probe.most_in_a_request.max(1);
    let zeros = Bytes::from(vec![0; most]);
    let mut size = FIRST.min(most);
    let mut passed = 0;
    loop {
        let began = Instant::now();
        let outcome = once(run, chunks, zeros.slice(..size)).await;
        let took = began.elapsed();
        run.leftovers.cancel(run.registry).await;
        match outcome {
            Ok(()) => passed = size,
            Err(Error::TooLarge { .. }) => return limited(run, chunks, passed, size),
            // What a proxy does that answers before it has read everything.
            Err(Error::ConnectionLost { .. }) if passed > 0 => {
                return limited(run, chunks, passed, size);
            }
            Err(Error::TimedOut { after, .. }) => {
                let shown = shown(size);
                let text = format!("{shown} were not taken within {} s", after.as_secs());
                return run.findings.warn(Aspect::BodyLimit, Fault::Slow, text);
            }
            Err(error) => {
                let text = format!("{}: {}", shown(size), requests::chain(&error));
                return run
                    .findings
                    .warn(Aspect::BodyLimit, Fault::of(&error), text);
            }
        }
        let rate = size as f64 / took.as_secs_f64().max(0.001);
        if took > LONG && rate < SLOW {
            let text = format!(
                "{} took {:.1} s, {:.0} kB a second",
                shown(size),
                took.as_secs_f64(),
                rate / 1000.0
            );
            return run.findings.warn(Aspect::BodyLimit, Fault::Slow, text);
        }
        if size == most || took > LONG {
            let text = format!("requests of up to {} work, the largest tried", shown(size));
            return run.findings.fine(Aspect::BodyLimit, text);
        }
        size = (size * 2).min(most);
    }
}

async fn once(run: &mut ProbeRun<'_>, chunks: bool, zeros: Bytes) -> Result<(), Error> {
    let session = run.open().await?;
    if chunks {
        return run.part(session.url, 0, zeros).await.map(drop);
    }
    let other: Digest = sha256(run.probe.tag.as_bytes())
        .parse()
        .unwrap_or_else(|_| unreachable!("a digest that was just written"));
    match run.finish(session.url, &other, zeros).await {
        Err(Error::Rejected { answer, .. }) if answer.code.as_deref() == Some("DIGEST_INVALID") => {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Tells a limit that was found, and whether a release gets along with it.
fn limited(run: &mut ProbeRun<'_>, chunks: bool, passed: usize, refused: usize) {
    let aspect = Aspect::BodyLimit;
    run.profile.largest_request = (passed > 0).then_some(passed as u64);
    let text = match passed {
        0 => format!("one request may not carry {}", shown(refused)),
        _ => format!(
            "one request may carry {}, and not {}",
            shown(passed),
            shown(refused)
        ),
    };
    let largest = run.probe.largest_blob;
    if largest.is_some_and(|largest| largest <= passed as u64) {
        let text = format!("{text}; the largest blob of the release is smaller");
        run.findings.fine(aspect, text);
    } else if chunks {
        let text = format!("{text}; larger blobs go in parts");
        run.findings.warn(aspect, Fault::BodyLimit, text);
    } else {
        let text = format!("{text}, and parts are refused, so that larger blobs cannot be sent");
        run.findings.wrong(aspect, Fault::BodyLimit, text);
    }
}

/// Returns a number of bytes as people read it; the sizes that are tried are powers of two.
fn shown(bytes: usize) -> String {
    bytesize::ByteSize(bytes as u64).display().iec().to_string()
}
