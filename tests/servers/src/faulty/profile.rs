//! Profiles of products: the quirks and faults of registries that users of other clients have
//! reported.
//!
//! A profile simulates the reported problems of a product, and more often than the product has
//! them. Each has its source in a comment: an issue or the source code of another client, or the
//! documentation of the product.

use super::{Fault, Kind, Mounts, Parts, Quirks, Rule, UPLOADS, always, chance, each, quirks};

/// The reported behaviour of a product.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The product's name.
    pub name: &'static str,
    /// The general behaviour.
    pub quirks: Quirks,
    /// The faults of some requests.
    pub rules: Vec<Rule>,
}

/// The usual limit of nginx, `client_max_body_size 1m`.
const NGINX: Option<u64> = Some(1 << 20);

/// Reads and writes of manifests.
const MANIFESTS: &[Kind] = &[Kind::HeadManifest, Kind::PutManifest];

/// Requests that start an upload.
const BEGINNINGS: &[Kind] = &[Kind::OpenUpload, Kind::Mount];

/// Returns all profiles.
pub fn profiles() -> Vec<Profile> {
    let plain = Quirks::default;
    vec![
        // Sessions do not survive a cut request (registry/handlers/blobupload.go of release 2.8).
        of("distribution 2", plain(), vec![]),
        // They do in release 3.
        of("distribution 3", keeping(), vec![]),
        // A body limit before the registry (goharbor/harbor#3270, #22353).
        of(
            "distribution 2 behind nginx",
            quirks!(body_limit: NGINX),
            vec![],
        ),
        of(
            "distribution 3 behind nginx",
            quirks!(..keeping(); body_limit: NGINX),
            vec![],
        ),
        // Replicas that do not share sessions, and S3 that says SlowDown (tuist/tuist#12530,
        // distribution/distribution#769).
        of(
            "distribution with replicas over S3",
            plain(),
            vec![
                chance(0.15, UPLOADS, Fault::LoseSession),
                chance(0.15, UPLOADS, answer(500, "UNKNOWN")),
            ],
        ),
        // Tokens that end during a push (goharbor/harbor#18860), nginx before it (#3270), mounts
        // that only open uploads (#17097).
        of(
            "Harbor",
            quirks!(token_life: Some(7), body_limit: NGINX, mounts: Mounts::Ignored),
            vec![chance(0.1, &[Kind::EndUpload], answer(504, "UNKNOWN"))],
        ),
        // 403 for missing content (RTFACT-13797, from go-containerregistry's source), 404 for a
        // live session (GoogleContainerTools/jib#3399), trouble with parallel requests
        // (openshift/origin#24514).
        of(
            "Artifactory",
            quirks!(unknown: 403, request_limit: Some(4)),
            vec![chance(0.15, UPLOADS, answer(404, "BLOB_UPLOAD_UNKNOWN"))],
        ),
        // Wants manifests to name their media type (containers/buildah#575), and fails where S3
        // does (nexus-blobstore-s3#63).
        of(
            "Nexus",
            quirks!(requires_media_type: true),
            vec![chance(0.15, &[Kind::EndUpload], answer(500, "UNKNOWN"))],
        ),
        // Rejects mounts that it does not like (GoogleContainerTools/jib#703), and limits requests
        // (its documentation).
        of(
            "Quay",
            quirks!(mounts: Mounts::Refused(405)),
            vec![chance(0.1, BEGINNINGS, busy(None))],
        ),
        // Tokens of five minutes (its documentation), a distribution of its own behind a load
        // balancer.
        of(
            "GitLab",
            quirks!(token_life: Some(11), mounts: Mounts::Ignored),
            vec![chance(0.1, UPLOADS, Fault::Reset { after: 60_000 })],
        ),
        // PATCH may say 201 (regclient's source), mounts are opt-in and PutImage is limited to 10 a
        // second (its documentation).
        of(
            "ECR",
            quirks!(parts: Parts::Created, mounts: Mounts::Ignored),
            vec![each(3, MANIFESTS, busy(None))],
        ),
        // 429 on manifests, with an order to wait (its documentation).
        of("ACR", plain(), vec![each(4, MANIFESTS, busy(Some(1)))]),
        // The last part is all that a session holds (oras-project/rust-oci-client#35), and 403 to
        // those who ask too often (canonical/authd#1765).
        of(
            "GHCR",
            quirks!(parts: Parts::LastOnly),
            vec![chance(0.05, &[Kind::OpenUpload], answer(403, "DENIED"))],
        ),
        // No upload in several parts (kitops-ml/kitops#777).
        of(
            "GAR",
            quirks!(parts: Parts::OneOnly),
            vec![chance(0.1, UPLOADS, answer(503, "UNAVAILABLE"))],
        ),
        // `Range` that names the length where the last byte is meant. No product is known for it;
        // the specification's wording is.
        of(
            "a registry that counts from one",
            quirks!(..keeping(); body_limit: NGINX),
            vec![always(
                &[Kind::SendPart, Kind::AskUpload],
                Fault::RangeOff { by: 1 },
            )],
        ),
        // 404 during a part after a pause (regclient/regclient#323), 429 for who asks too often
        // (its documentation).
        of(
            "Docker Hub",
            quirks!(token_life: Some(20)),
            vec![
                chance(0.2, &[Kind::SendPart], answer(404, "BLOB_UPLOAD_UNKNOWN")),
                chance(0.03, BEGINNINGS, busy(Some(1))),
            ],
        ),
        // Connections that end in the middle (google/go-containerregistry#2084), 503 for many
        // concurrent ones (containerd/nerdctl#4428).
        of(
            "a load balancer",
            quirks!(request_limit: Some(6)),
            vec![
                chance(0.15, UPLOADS, Fault::Reset { after: 30_000 }),
                chance(0.1, MANIFESTS, Fault::LoseAnswer),
            ],
        ),
        // "Disable redeploy" refuses an existing manifest with 400 (GoogleContainerTools/jib#3057),
        // also one whose first answer was lost.
        of(
            "Nexus without redeploy",
            quirks!(redeploys: false, requires_media_type: true),
            vec![each(3, &[Kind::PutManifest], Fault::LoseAnswer)],
        ),
        // HEAD of a manifest by digest says 500 (sonatype/nexus-public#1059).
        of(
            "Nexus with a proxy repository",
            quirks!(heads_digests: false),
            vec![always(&[Kind::PutManifest], Fault::NoDigest)],
        ),
        // HEAD of a blob says 200, GET 404, and the manifest is MANIFEST_INVALID
        // (gardener/cc-utils#1752).
        of(
            "Artifactory that lost blobs",
            quirks!(remembers_lost_blobs: true),
            vec![],
        ),
        // 200 to a blob and 202 to a manifest (containerd/containerd#3750).
        of(
            "a registry with statuses of its own",
            quirks!(taken: (200, 202)),
            vec![],
        ),
        // 202 to everything, and no digest.
        of(
            "a registry that is not done yet",
            quirks!(taken: (202, 202)),
            vec![always(
                &[Kind::PutManifest, Kind::EndUpload],
                Fault::NoDigest,
            )],
        ),
        // Nested paths are refused (OCPBUGS-8111, OCPBUGS-11910, the reason for oc-mirror's
        // `--max-nested-paths`).
        of(
            "a registry that is flat",
            plain(),
            vec![Rule {
                deeper_than: 4,
                ..always(
                    &[
                        Kind::HeadManifest,
                        Kind::HeadBlob,
                        Kind::OpenUpload,
                        Kind::Mount,
                    ],
                    answer(401, "UNAUTHORIZED"),
                )
            }],
        ),
    ]
}

fn of(name: &'static str, quirks: Quirks, rules: Vec<Rule>) -> Profile {
    Profile {
        name,
        quirks,
        rules,
    }
}

fn keeping() -> Quirks {
    quirks!(keeps_cut_sessions: true)
}

fn answer(status: u16, code: &'static str) -> Fault {
    Fault::Answer { status, code }
}

fn busy(retry_after: Option<u32>) -> Fault {
    Fault::TooManyRequests { retry_after }
}
