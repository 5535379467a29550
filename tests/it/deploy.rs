//! Tests of `deploy`.
