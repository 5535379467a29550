//! A token server that a registry trusts, as public registries have one.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::SigningKey as _;
use serde_json::{Value, json};
use servers::{Asked, Certificates, Server};

use crate::registries::{PASSWORD, USER};

/// The issuer of the tokens.
pub(crate) const ISSUER: &str = "tokens of a test";

/// The audience of the tokens.
pub(crate) const SERVICE: &str = "registry";

/// Starts a server that gives [`USER`] a token for each scope, signed with the key of
/// `certificates`.
pub(crate) async fn start(certificates: Certificates) -> Server {
    let login = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let login = format!("Basic {login}");
    Server::start(move |asked| {
        if asked.header("authorization") != login {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let token = token(&certificates, &access(asked));
        json!({ "token": token, "expires_in": 300 })
            .to_string()
            .into_response()
    })
    .await
}

/// Returns the access that a request asks for, as the claim `access` of a token.
fn access(asked: &Asked) -> Vec<Value> {
    let scopes = asked.parameter("scope").unwrap_or_default();
    let of_scope = |scope: &str| {
        let (name, actions) = scope.rsplit_once(':')?;
        let (kind, name) = name.split_once(':')?;
        let actions: Vec<&str> = actions.split(',').collect();
        Some(json!({ "type": kind, "name": name, "actions": actions }))
    };
    scopes.split(' ').filter_map(of_scope).collect()
}

/// Returns a JWT, signed with ES256, that contains the certificate of its key.
fn token(certificates: &Certificates, access: &[Value]) -> String {
    let certificate = BASE64_STANDARD.encode(certificates.leaf.der());
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] });
    let claims = json!({
        "iss": ISSUER, "sub": USER, "aud": SERVICE, "jti": "1", "nbf": 0, "iat": 0,
        // In the year 2100.
        "exp": 4_102_444_800_u64,
        "access": access,
    });
    let [header, claims] = [header, claims].map(|part| encode(part.to_string().as_bytes()));
    let signed = format!("{header}.{claims}");
    let signature = certificates.key.sign(signed.as_bytes());
    let signature = encode(&jose(&signature.expect("a signature")));
    format!("{signed}.{signature}")
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Converts a signature from DER to the form of JOSE: two numbers of 32 bytes each.
fn jose(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut both = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(rest[1].into());
        let number = &number[number.len().saturating_sub(32)..];
        both.extend(std::iter::repeat_n(0, 32 - number.len()));
        both.extend(number);
        rest = after;
    }
    both
}
