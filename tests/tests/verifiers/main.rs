//! Software that checks whether certificates are revoked, unmodified: what it makes of a good certificate and of a revoked one.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod gnutls;
mod go;
mod java;
mod lints;
mod nginx;
mod openssl;
mod world;
