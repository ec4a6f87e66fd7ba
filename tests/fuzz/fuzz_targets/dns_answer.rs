//! Bytes of strangers as a resolver's answer.
#![no_main]
use edge::acme::dns::Question;
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(
    "a.test".parse().map(|name| Question::challenge(&name).map(|asked| asked.parse_answer(0, data)))
));
