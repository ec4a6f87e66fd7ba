//! What an isolate remembers of documents for seconds: so long a revocation can stay unseen there, and no longer.

use std::collections::BTreeMap;

use shared::timestamp::Timestamp;

use super::document::Document;

/// The most bytes of documents; the keys and what surrounds them are not counted.
const MOST_BYTES: usize = 4 << 20;
/// The most documents.
const MOST: usize = 4096;

/// Documents by what names them.
#[derive(Debug)]
pub struct DocumentMemory<K> {
    kept: BTreeMap<K, (Timestamp, Document)>,
    bytes: usize,
}

impl<K> Default for DocumentMemory<K> {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), bytes: 0 }
    }
}

impl<K: Ord> DocumentMemory<K> {
    /// One that is remembered and good.
    #[must_use]
    pub fn find(&self, key: &K, now: Timestamp) -> Option<&Document> {
        let (until, document) = self.kept.get(key)?;
        (now < *until && document.is_good(now)).then_some(document)
    }

    /// Remembers this for so many seconds. When there is no room, all others are forgotten.
    pub fn keep(&mut self, key: K, document: Document, now: Timestamp, seconds: u64) {
        let size = document.body.0.len();
        if seconds == 0 || size > MOST_BYTES {
            return;
        }
        self.forget(&key);
        if self.kept.len() >= MOST || self.bytes.saturating_add(size) > MOST_BYTES {
            self.kept.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(size);
        self.kept.insert(key, (now.plus(seconds), document));
    }

    /// Forgets it.
    pub fn forget(&mut self, key: &K) {
        if let Some((_, document)) = self.kept.remove(key) {
            self.bytes = self.bytes.saturating_sub(document.body.0.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::base64url::Base64Url;

    use super::*;
    use crate::status::document::Kind;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn document(bytes: usize) -> Document {
        Document { kind: Kind::Ocsp, body: Base64Url(vec![0; bytes]), this_update: at(0), next_update: at(100) }
    }

    #[test]
    fn it_remembers_for_its_seconds_and_never_what_has_expired() {
        let mut memory = DocumentMemory::default();
        memory.keep(1, document(1), at(10), 5);
        assert!(memory.find(&1, at(14)).is_some() && memory.find(&1, at(15)).is_none());
        memory.keep(1, document(1), at(98), 5);
        assert!(memory.find(&1, at(99)).is_some() && memory.find(&1, at(100)).is_none());
        memory.keep(2, document(1), at(10), 0);
        assert!(memory.find(&2, at(10)).is_none());
    }

    #[test]
    fn bytes_and_documents_are_bounded() {
        let mut memory = DocumentMemory::default();
        for key in 0..10_000 {
            memory.keep(key, document(1), at(0), 50);
            assert!(memory.kept.len() <= MOST);
        }
        for key in 0..10 {
            memory.keep(key, document(MOST_BYTES / 2), at(0), 50);
            memory.keep(key, document(MOST_BYTES / 2), at(0), 50);
            let sum: usize = memory.kept.values().map(|(_, document)| document.body.0.len()).sum();
            assert!(memory.bytes == sum && sum <= MOST_BYTES, "{sum}");
        }
        memory.keep(1, document(MOST_BYTES + 1), at(0), 50);
        assert!(memory.find(&1, at(0)).is_none_or(|document| document.body.0.len() <= MOST_BYTES));
    }
}
