//! The status of certificates without a platform: paths and requests of strangers, headers, and every pair of a stored response and
//! an event.

mod cases;
mod config;
mod crls;
mod exchange;
mod issuers;
mod metrics;
mod never_good;
mod renewal_slots;
mod renewals;
mod responses;
