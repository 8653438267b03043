//! What of a certificate is looked at here: the library that verifies it says nothing of its key
//! and its key usage.
//!
//! X.509 (RFC 5280) is DER: each value is a tag, a length and its bytes.

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// The SHA-256 of a public key's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of the whole encoding of a SubjectPublicKeyInfo.
    fn of(key: &[u8]) -> Option<Fingerprint> {
        let hash = TLS13_AES_128_GCM_SHA256.tls13()?.common.hash_provider.hash(key);
        Some(Fingerprint(hash.as_ref().try_into().ok()?))
    }

    /// Reads base64 (RFC 4648), which is one text for one hash: padded, no stray bits.
    pub fn parse(text: &str) -> Option<Fingerprint> {
        let digits = text.strip_suffix('=')?;
        if digits.len() != 43 {
            return None;
        }
        let mut hash = [0; 32];
        let (mut bits, mut held, mut at) = (0_u32, 0, 0);
        for digit in digits.bytes() {
            bits = bits << 6 | value(digit)?;
            held += 6;
            if held >= 8 {
                held -= 8;
                hash[at] = (bits >> held & 0xff) as u8;
                at += 1;
            }
        }
        (bits & 3 == 0).then_some(Fingerprint(hash))
    }
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// id-ce-keyUsage, 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

/// The first bit of a key usage.
const DIGITAL_SIGNATURE: u8 = 0x80;

/// A value at the front of `bytes`: its tag, its content, its whole encoding; what follows stays.
pub(super) fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
    let whole = *bytes;
    let (tag, rest) = whole.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if *first >= 0x80 {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    *bytes = after;
    Some((*tag, content, &whole[..whole.len() - after.len()]))
}

pub(super) fn expect<'a>(bytes: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    next(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, content, _)| content)
}

/// The parts of a certificate that are used.
pub(super) struct Certificate<'a> {
    /// What its subject's name is made of.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "asked of clients only"))]
    subject: &'a [u8],
    key: &'a [u8],
    /// The first byte of its key usage, if it has one.
    usage: Option<u8>,
}

impl<'a> Certificate<'a> {
    /// Finds them in a certificate that was verified, or will be.
    pub fn parse(mut der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut certificate = expect(&mut der, SEQUENCE)?;
        let mut fields = expect(&mut certificate, SEQUENCE)?;
        if fields.first() == Some(&VERSION) {
            next(&mut fields)?;
        }
        // Serial number, signature, issuer, validity.
        for _ in 0..4 {
            next(&mut fields)?;
        }
        let subject = expect(&mut fields, SEQUENCE)?;
        let (_, _, key) = next(&mut fields)?;
        let mut usage = None;
        while let Some((tag, mut content, _)) = next(&mut fields) {
            if tag == EXTENSIONS {
                usage = key_usage(expect(&mut content, SEQUENCE)?);
            }
        }
        Some(Certificate { subject, key, usage })
    }

    /// What its key is known by.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Fingerprint::of(self.key)
    }

    /// The name of its subject, as text.
    #[cfg(feature = "serve")]
    pub fn subject(&self) -> Option<String> {
        super::subject::text(self.subject)
    }

    /// Whether its key may sign, as that of either side of TLS does (RFC 8446, 4.4.2.2).
    pub fn may_sign(&self) -> bool {
        self.usage.is_none_or(|usage| usage & DIGITAL_SIGNATURE != 0)
    }
}

fn key_usage(mut extensions: &[u8]) -> Option<u8> {
    while let Some((_, mut extension, _)) = next(&mut extensions) {
        if expect(&mut extension, OID)? != KEY_USAGE {
            continue;
        }
        // Between them can be whether it is critical.
        while let Some((tag, mut content, _)) = next(&mut extension) {
            if tag == OCTET_STRING {
                // A bit string says first how many bits of its last byte are none.
                return expect(&mut content, BIT_STRING)?.get(1).copied().or(Some(0));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose, PublicKeyData};

    use super::*;

    fn made(usages: &[KeyUsagePurpose]) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.key_usages = usages.to_vec();
        (params.self_signed(&key).unwrap().der().to_vec(), key)
    }

    #[test]
    fn a_key_may_sign_unless_its_usage_says_otherwise() {
        let may = |usages: &[KeyUsagePurpose]| {
            let (der, _) = made(usages);
            Certificate::parse(&der).unwrap().may_sign()
        };
        assert!(may(&[]));
        assert!(may(&[KeyUsagePurpose::DigitalSignature]));
        assert!(may(&[KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature]));
        assert!(!may(&[KeyUsagePurpose::KeyEncipherment]));
        assert!(!may(&[KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign]));
    }

    #[test]
    fn the_key_of_a_certificate_is_found() {
        let (der, key) = made(&[]);
        let found = Certificate::parse(&der).unwrap();
        assert_eq!(found.key, key.subject_public_key_info());
        assert_eq!(found.fingerprint(), Fingerprint::of(&key.subject_public_key_info()));
    }

    #[test]
    fn the_hash_of_nothing_is_known() {
        let empty = Fingerprint::parse("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(Fingerprint::of(b""), empty);
        assert!(empty.is_some());
    }

    #[test]
    fn a_damaged_certificate_is_none_and_no_panic() {
        let (der, _) = made(&[KeyUsagePurpose::CrlSign]);
        for length in 0..der.len() {
            assert!(Certificate::parse(&der[..length]).is_none());
        }
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0xff;
            let _ = Certificate::parse(&damaged);
        }
    }
}
