//! Bodies of uploads, piece by piece: which bytes are sent, and which are held back.

use futures_util::TryStreamExt;
use oci_spec::image::Digest;

use super::*;
use crate::fake::Blobs;

/// Returns the body of a whole blob, at most `rate` bytes per second, with an early end.
fn body(
    (blobs, blob): (&Blobs, &Blob),
    progress: &Arc<Progress>,
    early_end: Option<(Stop, u64)>,
    rate: Option<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let limiter = Arc::new(Limiter::new(Arc::default(), None, rate));
    let file = open(blobs, blob).unwrap();
    let body = Body {
        pieces: pieces(file, blob.size, true, early_end.is_some(), &limiter),
        hasher: Some(Sha256::new()),
        early_end,
        sent: 0,
        remaining: blob.size,
        blob: blob.clone(),
        limiter,
        progress: Arc::clone(progress),
        ended: false,
    };
    body.into_stream()
}

async fn collect(bytes: &[u8], digest: &Digest) -> (io::Result<Vec<Bytes>>, Option<Error>) {
    let blobs = Blobs::new();
    blobs.put_as(digest, bytes);
    let blob = Blob {
        digest: digest.clone(),
        size: bytes.len() as u64,
    };
    let progress = Arc::new(Progress::default());
    let pieces = body((&blobs, &blob), &progress, None, None)
        .try_collect()
        .await;
    let fault = progress.take_fault();
    (pieces, fault)
}

#[tokio::test]
async fn an_undamaged_file_is_sent_in_pieces() {
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
async fn the_last_piece_of_a_damaged_file_is_held_back() {
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
        let mut stream = Box::pin(body((&blobs, &blob), &progress, None, None));
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
            fault.to_string().contains("has different content"),
            "{fault}"
        );
    }
}

#[test]
fn a_file_of_the_wrong_size_is_found_before_a_byte_is_sent() {
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
        format!("the source of {digest} has different content: 12 bytes instead of 13")
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
async fn a_stopped_stream_ends_after_its_minimum_length() {
    for (min_length, expected) in [(0, 1), (1, 1), (PIECE as u64 + 1, 2)] {
        let blobs = Blobs::new();
        let blob = blobs.blob(&[7; 4 * PIECE]);
        let progress = Arc::new(Progress::default());
        let stop = Stop::default();
        let early_end = Some((stop.clone(), min_length));
        let mut stream = Box::pin(body((&blobs, &blob), &progress, early_end, None));
        stream.next().await.unwrap().unwrap();
        stop.request();
        let mut pieces = 1;
        while let Some(piece) = stream.next().await {
            piece.unwrap();
            pieces += 1;
        }
        assert_eq!(pieces, expected, "at least {min_length}");
        assert!(progress.take_fault().is_none());
    }
}

#[tokio::test]
async fn a_stopped_stream_does_not_wait_for_its_rate() {
    let blobs = Blobs::new();
    let blob = blobs.blob(&[7; 8000]);
    let progress = Arc::new(Progress::default());
    let stop = Stop::default();
    // A byte a second, in pieces that take a quarter of an hour each.
    let early_end = Some((stop.clone(), 0));
    let mut stream = Box::pin(body((&blobs, &blob), &progress, early_end, Some(1)));
    stream.next().await.unwrap().unwrap();
    let (rest, ()) = futures_util::future::join(stream.next(), async { stop.request() }).await;
    assert!(rest.is_none());
}
