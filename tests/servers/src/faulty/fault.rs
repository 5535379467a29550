//! What goes wrong, and when: a fault, the requests that it meets, and how often it does.

use std::collections::BTreeMap;

/// What a request is for, whatever its path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `GET /v2/`
    Ping,
    /// `GET` at the token server.
    Token,
    /// `HEAD` of a manifest by tag or digest.
    HeadManifest,
    /// `GET` of a manifest.
    GetManifest,
    /// `PUT` of a manifest.
    PutManifest,
    /// `HEAD` of a blob.
    HeadBlob,
    /// `GET` of a blob.
    GetBlob,
    /// `POST` that opens an upload.
    OpenUpload,
    /// `POST` that asks for a mount.
    Mount,
    /// `PATCH` with bytes of a blob.
    SendPart,
    /// `PUT` that ends an upload, with bytes or without.
    EndUpload,
    /// `GET` of how far an upload came.
    AskUpload,
    /// `DELETE` of an upload.
    CancelUpload,
    /// `DELETE` of a manifest by tag or digest.
    DeleteManifest,
    /// `DELETE` of a blob.
    DeleteBlob,
    /// Anything else.
    Other,
}

/// Requests that carry bytes of blobs.
pub const UPLOADS: &[Kind] = &[Kind::SendPart, Kind::EndUpload];

/// Something that goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and code, and not carried out.
    Answer {
        /// The status.
        status: u16,
        /// The code of the specification.
        code: &'static str,
    },
    /// It is denied with this status and in these words.
    Denied {
        /// The status.
        status: u16,
        /// The message of the error.
        message: &'static str,
    },
    /// It is sent to another host.
    Redirect {
        /// Where to.
        location: &'static str,
    },
    /// A page for browsers comes in place of the answer.
    Page,
    /// 429, with this `Retry-After` or without one.
    TooManyRequests {
        /// The header, in seconds.
        retry_after: Option<u32>,
    },
    /// The connection breaks after this many bytes of the request's body.
    Reset {
        /// How many bytes are still taken.
        after: u64,
    },
    /// It is carried out, and the connection breaks before the answer.
    LoseAnswer,
    /// Nothing is read any more after this many bytes, and nothing is answered.
    Stall {
        /// How many bytes are still taken.
        after: u64,
    },
    /// The session is gone, as it is behind replicas that do not share theirs.
    LoseSession,
    /// The answer says `Docker-Content-Digest` of something else.
    WrongDigest,
    /// The answer says no `Docker-Content-Digest`.
    NoDigest,
    /// The answer names this place.
    Location {
        /// The header.
        location: &'static str,
    },
    /// A body without an end is the answer.
    Endless,
    /// The answer says no `Location`.
    NoLocation,
    /// The answer's `Range` is off by this much.
    RangeOff {
        /// How much its end is moved, in bytes.
        by: i64,
    },
    /// The body is read at this many bytes a second.
    Slow {
        /// Bytes a second.
        rate: u64,
    },
}

/// How often a fault is met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// By every request.
    Always,
    /// By the first requests, up to this number.
    First(u32),
    /// By each so-many-th request.
    Each(u32),
    /// By a request with this probability. What is drawn depends on the seed, and on what is asked
    /// for the how-many-th time.
    Chance(f64),
}

/// A fault for some requests.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Which requests.
    pub kinds: Vec<Kind>,
    /// What goes wrong.
    pub fault: Fault,
    /// How often.
    pub when: When,
    /// Only requests about repositories with more segments than that.
    pub deeper_than: usize,
}

/// Returns a rule for each of these requests.
pub fn always(kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::Always)
}

/// Returns a rule for the first of these requests, up to this number.
pub fn first(most: u32, kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::First(most))
}

/// Returns a rule for each so-many-th of these requests.
pub fn each(number: u32, kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::Each(number))
}

/// Returns a rule for these requests with this probability.
pub fn chance(chance: f64, kinds: &[Kind], fault: Fault) -> Rule {
    Rule::new(kinds, fault, When::Chance(chance))
}

impl Rule {
    /// Returns a rule for repositories of any depth.
    pub fn new(kinds: &[Kind], fault: Fault, when: When) -> Self {
        Self {
            kinds: kinds.to_vec(),
            fault,
            when,
            deeper_than: 0,
        }
    }
}

/// Rules, and what was played of them.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    seed: u64,
    met: Vec<u32>,
    asked: BTreeMap<String, u64>,
    played: usize,
}

impl Faults {
    pub(super) fn new(rules: &[Rule], seed: u64) -> Self {
        Self {
            rules: rules.to_vec(),
            seed,
            met: vec![0; rules.len()],
            ..Self::default()
        }
    }

    /// Returns what goes wrong with a request about `subject`: the first rule that is met.
    pub(super) fn decide(&mut self, kind: Kind, repository: &str, subject: &str) -> Option<Fault> {
        let depth = repository.split('/').count();
        let key = format!("{kind:?} {repository} {subject}");
        let time = self.asked.entry(key.clone()).or_default();
        *time += 1;
        let time = *time;
        for (number, rule) in self.rules.iter().enumerate() {
            if !rule.kinds.contains(&kind) || depth <= rule.deeper_than {
                continue;
            }
            self.met[number] += 1;
            let met = match rule.when {
                When::Always => true,
                When::First(most) => self.met[number] <= most,
                When::Each(each) => self.met[number].is_multiple_of(each.max(1)),
                When::Chance(chance) => {
                    drawn(self.seed, &format!("{number} {time} {key}")) < chance
                }
            };
            if met {
                self.played += 1;
                return Some(rule.fault);
            }
        }
        None
    }

    pub(super) fn played(&self) -> usize {
        self.played
    }
}

/// Draws a number between 0 and 1 for a text.
fn drawn(seed: u64, text: &str) -> f64 {
    // FNV-1a, and the mixing of SplitMix64 on top, since the former alone leaves neighbours alike.
    let mut state = text
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state >> 11) as f64 / (1_u64 << 53) as f64
}
