//! What the journal says of CRLs: the last one of each part, and the parts that certificates point to.

use std::collections::HashMap;

use shared::{
    pointers::{CrlShard, IssuerId},
    timestamp::Timestamp,
};

use super::book::Part;
use crate::journal::JournaledCrl;

/// Constant in size: it grows with the parts, not with the certificates.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    numbers: HashMap<Part, u64>,
    /// How many parts an issuer's certificates point to, and until when the last of those lives.
    divisions: HashMap<(IssuerId, u8), Timestamp>,
}

impl Trail {
    /// A CRL was signed.
    pub(crate) fn signed(&mut self, crl: &JournaledCrl) {
        let number = self.numbers.entry((crl.issuer, crl.shard)).or_default();
        *number = crl.number.max(*number);
    }

    /// A certificate that lives until then points to this part.
    pub(crate) fn points(&mut self, issuer: IssuerId, shard: CrlShard, not_after: Timestamp) {
        let until = self.divisions.entry((issuer, shard.of())).or_insert(not_after);
        *until = not_after.max(*until);
    }

    /// The number of the last CRL of a part; zero when there was none.
    pub(super) fn number(&self, part: Part) -> u64 {
        self.numbers.get(&part).copied().unwrap_or(0)
    }

    /// How many parts the certificates of an issuer point to that live at this time or later.
    pub(super) fn divisions(&self, issuer: IssuerId, at: Timestamp) -> impl Iterator<Item = u8> {
        let alive = self.divisions.iter().filter(move |((of, _), until)| *of == issuer && **until >= at);
        alive.map(|((_, division), _)| *division)
    }
}
