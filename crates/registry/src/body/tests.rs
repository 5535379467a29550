//! Bodies of uploads, piece by piece: what leaves and what is kept back.

use futures_util::TryStreamExt;
use oci_spec::image::Digest;

use super::*;
use crate::fake::Blobs;

fn free() -> Arc<Limiter> {
    Arc::new(Limiter::new(Arc::default(), None, None))
}

/// Returns what the body of a whole blob is made of.
fn whole(blobs: &Blobs, blob: &Blob, progress: &Arc<Progress>) -> Body {
    Body {
        file: open(blobs, blob).unwrap(),
        blob: blob.clone(),
        range: 0..blob.size,
        hasher: Some(Sha256::new()),
        early: None,
        limiter: free(),
        progress: Arc::clone(progress),
    }
}

async fn collect(bytes: &[u8], digest: &Digest) -> (io::Result<Vec<Bytes>>, Option<Error>) {
    let blobs = Blobs::new();
    blobs.put_as(digest, bytes);
    let blob = Blob {
        digest: digest.clone(),
        size: bytes.len() as u64,
    };
    let progress = Arc::new(Progress::default());
    let pieces = body(whole(&blobs, &blob, &progress)).try_collect().await;
    let fault = progress.take_fault();
    (pieces, fault)
}

#[tokio::test]
async fn a_file_that_is_its_digest_goes_through_in_pieces() {
    for size in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let digest = sha256(&bytes).parse().unwrap();
        let (pieces, fault) = collect(&bytes, &digest).await;
        let pieces = pieces.unwrap();
        assert!(fault.is_none());
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(pieces.concat(), bytes);
    }
}

#[tokio::test]
async fn the_last_piece_of_a_wrong_file_is_kept_back() {
    for size in [0, 5, PIECE + 5] {
        let bytes = vec![7; size];
        let digest: Digest = sha256(b"something else").parse().unwrap();
        let blobs = Blobs::new();
        blobs.put_as(&digest, &bytes);
        let blob = Blob {
            digest: digest.clone(),
            size: size as u64,
        };
        let progress = Arc::new(Progress::default());
        let mut stream = Box::pin(body(whole(&blobs, &blob, &progress)));
        let mut sent = 0;
        let error = loop {
            match stream.next().await.unwrap() {
                Ok(piece) => sent += piece.len(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(sent < size.max(1), "{sent} of {size}");
        assert!(stream.next().await.is_none());
        let fault = progress.take_fault().unwrap();
        assert!(
            fault.to_string().contains("holds something else"),
            "{fault}"
        );
    }
}

#[test]
fn a_file_of_another_length_is_found_before_anything_is_sent() {
    let blobs = Blobs::new();
    let digest = blobs.put(b"twelve bytes");
    let error = open(
        &blobs,
        &Blob {
            digest: digest.clone(),
            size: 13,
        },
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the source of {digest} holds something else: 12 bytes instead of 13")
    );
    let missing: Digest = sha256(b"missing").parse().unwrap();
    let error = open(
        &blobs,
        &Blob {
            digest: missing,
            size: 13,
        },
    )
    .unwrap_err();
    assert!(matches!(error, Error::Source { .. }));
}

#[tokio::test]
async fn an_open_body_ends_in_good_order_where_it_is_and_not_below_the_least() {
    for (least, expected) in [(0, 1), (1, 1), (PIECE as u64 + 1, 2)] {
        let blobs = Blobs::new();
        let blob = blobs.blob(&[7; 4 * PIECE]);
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let mut stream = Box::pin(body(Body {
            early: Some((stop.clone(), least)),
            ..whole(&blobs, &blob, &progress)
        }));
        stream.next().await.unwrap().unwrap();
        stop.request();
        let mut pieces = 1;
        while let Some(piece) = stream.next().await {
            piece.unwrap();
            pieces += 1;
        }
        assert_eq!(pieces, expected, "at least {least}");
        assert!(progress.take_fault().is_none());
    }
}

#[tokio::test]
async fn an_open_body_does_not_wait_for_its_rate_once_the_end_is_asked_for() {
    let blobs = Blobs::new();
    let blob = blobs.blob(&[7; 8000]);
    let progress = Arc::new(Progress::default());
    let stop = Stop::default();
    let mut stream = Box::pin(body(Body {
        early: Some((stop.clone(), 0)),
        // A byte a second, in pieces that take a quarter of an hour each.
        limiter: Arc::new(Limiter::new(Arc::default(), None, Some(1))),
        ..whole(&blobs, &blob, &progress)
    }));
    stream.next().await.unwrap().unwrap();
    let (rest, ()) = futures_util::future::join(stream.next(), async { stop.request() }).await;
    assert!(rest.is_none());
}
