//! The vendor's checksum file. Its format is documented only by the command `sha256sum -c`, so it
//! is parsed leniently: a line must have a valid hash, and its file name is only reported.

use camino::{Utf8Path, Utf8PathBuf};
use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::digest;
use crate::http::{self, HttpClient, RequestError, Retry};
use crate::name::base_name;

/// Maximum size of a checksum file in bytes.
const LARGEST: usize = 64 << 10;

/// An entry of a checksum file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// File name in the entry, without folders. Callers warn if it is not the requested name.
    pub named_file: Option<String>,
}

/// Reason why no checksum was found.
#[derive(Debug, thiserror::Error)]
pub enum ChecksumError {
    /// The checksum file cannot be downloaded.
    #[error(transparent)]
    Request(RequestError),
    /// The checksum file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Path of the file.
        path: Utf8PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The server returned an HTML page.
    #[error("{url} is an HTML page, not a checksum file")]
    Html {
        /// URL of the request.
        url: String,
    },
    /// The file is too large for a checksum file.
    #[error("{url} has more than 64 KiB, so it is not a checksum file")]
    TooLarge {
        /// URL of the request.
        url: String,
    },
    /// The file contains no SHA-256.
    #[error("{url} contains no SHA-256")]
    None {
        /// URL of the request.
        url: String,
    },
    /// The file contains several checksums, but none for the requested file.
    #[error("{url} contains {count} checksums, but none for `{file}`")]
    NotListed {
        /// URL of the request.
        url: String,
        /// Number of checksums.
        count: usize,
        /// Requested file name.
        file: String,
    },
}

/// Downloads the checksum file at `url` and returns its entry for `file_name`. The only entry of a
/// file is returned whatever its name is.
///
/// # Errors
/// [`ChecksumError`] if the file cannot be downloaded after a few attempts, or has no such entry.
pub async fn checksum(
    url: &str,
    file_name: &str,
    client: &HttpClient,
) -> Result<Checksum, ChecksumError> {
    let parsed = http::parse(url).map_err(ChecksumError::Request)?;
    let retry = Retry::default();
    let mut failures = 0;
    loop {
        let error = match fetch(&parsed, client).await {
            Ok(text) => return parse(&text, file_name, &requests::shown(&parsed)),
            Err(ChecksumError::Request(error)) => error,
            Err(error) => return Err(error),
        };
        failures += 1;
        match retry.wait_for_first_answer(failures, &error) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(ChecksumError::Request(error)),
        }
    }
}

/// Reads the checksum file at `path` and returns its entry for the first of `file_names` that it
/// lists.
///
/// # Errors
/// [`ChecksumError`] if the file cannot be read, or has no such entry.
pub fn checksum_in_file(path: &Utf8Path, file_names: &[&str]) -> Result<Checksum, ChecksumError> {
    let bytes = files::read(path).map_err(|source| ChecksumError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() > LARGEST {
        return Err(ChecksumError::TooLarge {
            url: path.to_string(),
        });
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut outcome = parse(&text, "", path.as_str());
    for name in file_names {
        outcome = parse(&text, name, path.as_str());
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn fetch(url: &Url, client: &HttpClient) -> Result<String, ChecksumError> {
    let failed = |error| ChecksumError::Request(client.failed(url, error));
    let request = client.get(url.clone()).map_err(ChecksumError::Request)?;
    let sent = client.send(url, request).await;
    let mut response = sent.map_err(ChecksumError::Request)?;
    if !response.status().is_success() {
        return Err(ChecksumError::Request(RequestError::status(url, &response)));
    }
    let is_html = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        text.extend_from_slice(&piece);
        if text.len() > LARGEST {
            return Err(ChecksumError::TooLarge {
                url: requests::shown(url),
            });
        }
    }
    if is_html || text.trim_ascii_start().first() == Some(&b'<') {
        return Err(ChecksumError::Html {
            url: requests::shown(url),
        });
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn parse(text: &str, file_name: &str, url: &str) -> Result<Checksum, ChecksumError> {
    let mut found: Vec<Checksum> = text.lines().filter_map(parse_line).collect();
    let named = found
        .iter()
        .position(|checksum| checksum.named_file.as_deref() == Some(file_name));
    match (named, found.len()) {
        (Some(place), _) => Ok(found.swap_remove(place)),
        (None, 0) => Err(ChecksumError::None {
            url: url.to_owned(),
        }),
        (None, 1) => Ok(found.swap_remove(0)),
        (None, count) => Err(ChecksumError::NotListed {
            url: url.to_owned(),
            count,
            file: file_name.to_owned(),
        }),
    }
}

/// Parses a line in GNU format (`<hex>  <name>`, `<hex> *<name>`, or without a name) or BSD format
/// (`SHA256 (<name>) = <hex>`).
fn parse_line(line: &str) -> Option<Checksum> {
    // GNU marks a line whose name is escaped with a backslash.
    let line = line.trim_start_matches(['\u{feff}', '\\']).trim();
    let (hex, name) = match line.strip_prefix("SHA256 (") {
        Some(rest) => {
            let (name, hex) = rest.rsplit_once(") = ")?;
            (hex, name)
        }
        None => line.split_once(char::is_whitespace).unwrap_or((line, "")),
    };
    let sha256 = hex.to_ascii_lowercase();
    digest::from_hex(&sha256)?;
    let name = base_name(name.trim_start().trim_start_matches('*'));
    Some(Checksum {
        sha256,
        named_file: (!name.is_empty()).then(|| name.to_owned()),
    })
}

#[cfg(test)]
mod tests;
