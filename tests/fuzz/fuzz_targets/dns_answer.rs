//! Bytes of strangers as a resolver's answer.
#![no_main]
use edge::acme::{
    caa::{Issuance, RecordSet},
    dns::{Answer, Question, RecordType},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(name) = "a.test".parse() else { return };
    for kind in [RecordType::A, RecordType::Txt, RecordType::Caa] {
        let Ok(asked) = Question::below(&["_acme-challenge"], &name, kind) else { return };
        let Ok(Answer::Records(records)) = asked.parse_answer(0, data) else { continue };
        let Some(set) = RecordSet::new(asked.name(), records) else { continue };
        for wildcard in [false, true] {
            let issuance = Issuance { issuers: &[], wildcard, account_url: "https://ca.test/1", method: "dns-01" };
            let _ = set.permit(&issuance);
        }
    }
});
