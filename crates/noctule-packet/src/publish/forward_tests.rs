//! Tests, see below.
