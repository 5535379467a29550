//! Tests of `push`.
