//! The floor of the benchmarks: a worker that does nothing but what the platform makes everybody pay. By path, it answers at once,
//! calls an object that answers at once, or calls an object that writes one row first. All answers are empty.
//!
//! Built and run as the edge is, but without its guard in JavaScript: that is a cost of the edge's own. Empty on native builds.

#[cfg(target_arch = "wasm32")]
mod floor;
