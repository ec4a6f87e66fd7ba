//! Bytes of strangers as a probe and as its outcome: what travels to and from a perspective.
#![no_main]
use edge::acme::probe::{Probe, ProbeOutcome};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(probe) = serde_json::from_slice::<Probe>(data) {
        let text = serde_json::to_vec(&probe).expect("it can be written");
        assert_eq!(serde_json::from_slice::<Probe>(&text).ok(), Some(probe));
    }
    if let Ok(outcome) = serde_json::from_slice::<ProbeOutcome>(data) {
        let text = serde_json::to_vec(&outcome).expect("it can be written");
        assert_eq!(serde_json::from_slice::<ProbeOutcome>(&text).ok(), Some(outcome));
    }
});
