//! Validation on the real stack: every way to prove a name, against right, wrong and hostile targets.
#![cfg(feature = "stack")]

mod scopes;
