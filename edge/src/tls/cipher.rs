//! AES-128-GCM records: of TLS 1.3 (RFC 8446 §5.2, §5.3), and of TLS 1.2 with the explicit half of the nonce (RFC 5288 §3).

use aes_gcm::{Aes128Gcm, KeyInit, aead::AeadInOut};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    crypto::cipher::{
        AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter,
        Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm, Tls13AeadAlgorithm,
        UnsupportedOperationError, make_tls12_aad, make_tls13_aad,
    },
};

/// AES-128-GCM for both versions.
#[derive(Clone, Copy, Debug)]
pub struct Aes128GcmRecords;

/// Bytes of a key.
const KEY: usize = 16;
/// Bytes of a tag.
const TAG: usize = 16;
/// Bytes of a nonce.
const NONCE: usize = 12;
/// Bytes of the nonce that a record of TLS 1.2 does not carry.
const SALT: usize = 4;
/// Bytes of the nonce that a record of TLS 1.2 carries.
const EXPLICIT: usize = 8;
/// The most bytes of plaintext in one record (RFC 5246 §6.2.1).
const MAX_PLAINTEXT: usize = 0x4000;

impl Tls13AeadAlgorithm for Aes128GcmRecords {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Records13 { gcm: Gcm::new(&key), iv })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Records13 { gcm: Gcm::new(&key), iv })
    }

    fn key_len(&self) -> usize {
        KEY
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv })
    }
}

impl Tls12AeadAlgorithm for Aes128GcmRecords {
    fn encrypter(&self, key: AeadKey, salt: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Records12 { gcm: Gcm::new(&key), iv: Iv::from(joined(salt, explicit)) })
    }

    fn decrypter(&self, key: AeadKey, salt: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Records12 { gcm: Gcm::new(&key), iv: Iv::from(joined(salt, &[])) })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape { enc_key_len: KEY, fixed_iv_len: SALT, explicit_nonce_len: EXPLICIT }
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        salt: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(ConnectionTrafficSecrets::Aes128Gcm { key, iv: Iv::from(joined(salt, explicit)) })
    }
}

/// A key that is ready; nothing for one of a wrong length, which the two shapes above rule out.
struct Gcm(Option<Aes128Gcm>);

impl Gcm {
    fn new(key: &AeadKey) -> Self {
        Self(Aes128Gcm::new_from_slice(key.as_ref()).ok())
    }

    /// Encrypts in place and gives the tag.
    fn seal(&self, nonce: [u8; NONCE], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Error> {
        let gcm = self.0.as_ref().ok_or(Error::EncryptError)?;
        gcm.encrypt_inout_detached(&nonce.into(), aad, text.into()).map(Into::into).map_err(|_| Error::EncryptError)
    }

    /// Decrypts in place what stands before the tag, and gives its length.
    fn open(&self, nonce: [u8; NONCE], aad: &[u8], sealed: &mut [u8]) -> Result<usize, Error> {
        let gcm = self.0.as_ref().ok_or(Error::DecryptError)?;
        let (text, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Error::DecryptError)?;
        let length = text.len();
        gcm.decrypt_inout_detached(&nonce.into(), aad, text.into(), &(*tag).into()).map_err(|_| Error::DecryptError)?;
        Ok(length)
    }
}

struct Records13 {
    gcm: Gcm,
    iv: Iv,
}

impl MessageEncrypter for Records13 {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, number: u64) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let tag = self.gcm.seal(Nonce::new(&self.iv, number).0, &make_tls13_aad(length), payload.as_mut())?;
        payload.extend_from_slice(&tag);
        // All records say that they are TLS 1.2 (RFC 8446 §5.1).
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        length.saturating_add(1).saturating_add(TAG)
    }
}

impl MessageDecrypter for Records13 {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let aad = make_tls13_aad(message.payload.len());
        let length = self.gcm.open(Nonce::new(&self.iv, number).0, &aad, &mut message.payload)?;
        message.payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}

struct Records12 {
    gcm: Gcm,
    iv: Iv,
}

impl MessageEncrypter for Records12 {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, number: u64) -> Result<OutboundOpaqueMessage, Error> {
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(message.payload.len()));
        let nonce = Nonce::new(&self.iv, number).0;
        let aad = make_tls12_aad(number, message.typ, message.version, message.payload.len());
        payload.extend_from_slice(nonce.split_at_checked(SALT).map_or(&[][..], |(_, explicit)| explicit));
        payload.extend_from_chunks(&message.payload);
        let (_, text) = payload.as_mut().split_first_chunk_mut::<EXPLICIT>().ok_or(Error::EncryptError)?;
        let tag = self.gcm.seal(nonce, &aad, text)?;
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(message.typ, message.version, payload))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        length.saturating_add(EXPLICIT).saturating_add(TAG)
    }
}

impl MessageDecrypter for Records12 {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let (explicit, sealed) = message.payload.split_first_chunk_mut::<EXPLICIT>().ok_or(Error::DecryptError)?;
        let plain = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let salt = self.iv.as_ref().get(..SALT).unwrap_or_default();
        let aad = make_tls12_aad(number, message.typ, message.version, plain);
        let length = self.gcm.open(joined(salt, explicit), &aad, sealed)?;
        if length > MAX_PLAINTEXT {
            return Err(Error::PeerSentOversizedRecord);
        }
        // The plaintext moves to the front, where the explicit nonce was.
        let end = EXPLICIT.saturating_add(length);
        message.payload.copy_within(EXPLICIT..end, 0);
        message.payload.truncate(length);
        Ok(message.into_plain_message())
    }
}

/// A nonce of its two halves.
fn joined(salt: &[u8], explicit: &[u8]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce.iter_mut().zip(salt.iter().chain(explicit)).for_each(|(to, from)| *to = *from);
    nonce
}
