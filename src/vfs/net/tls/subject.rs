//! The name of a certificate's subject, as text (RFC 4514).

use std::fmt::Write;

use super::certificate::{OID, SEQUENCE, expect, next};

const SET: u8 = 0x31;

/// Attributes that have a name (RFC 4514, 3), and two that people give one.
const NAMES: [(&[u8], &str); 10] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// Types of strings that are, or are a part of, UTF-8: UTF8String, NumericString, PrintableString,
/// IA5String, VisibleString.
const STRINGS: [u8; 5] = [0x0c, 0x12, 0x13, 0x16, 0x1a];

/// The text of the name with this content: the last part first, as LDAP and web servers have it.
/// What has no name, or is no text, is in hexadecimal, and so are control characters: the text is
/// one line, and no two names have the same.
pub(super) fn text(mut name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let mut set = expect(&mut name, SET)?;
        let mut part = String::new();
        while !set.is_empty() {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            let oid = expect(&mut attribute, OID)?;
            let (tag, content, whole) = next(&mut attribute)?;
            if !part.is_empty() {
                part.push('+');
            }
            let known = NAMES.iter().find(|(known, _)| *known == oid);
            let value = str::from_utf8(content).ok().filter(|_| STRINGS.contains(&tag));
            match (known, value) {
                (Some((_, name)), Some(value)) => {
                    let _ = write!(part, "{name}={}", Escaped(value));
                }
                (Some((_, name)), None) => {
                    let _ = write!(part, "{name}=#{}", Hex(whole));
                }
                (None, _) => {
                    let _ = write!(part, "{}=#{}", Dotted(oid), Hex(whole));
                }
            }
        }
        parts.push(part);
    }
    parts.reverse();
    Some(parts.join(","))
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An object identifier, which is numbers of 7 bits a byte.
struct Dotted<'a>(&'a [u8]);

impl std::fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut number, mut first) = (0_u64, true);
        for byte in self.0 {
            number = number << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if first {
                let root = (number / 40).min(2);
                write!(f, "{root}.{}", number - root * 40)?;
            } else {
                write!(f, ".{number}")?;
            }
            (number, first) = (0, false);
        }
        Ok(())
    }
}

/// A value with what has a meaning escaped (RFC 4514, 2.4).
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.0.chars().count().saturating_sub(1);
        for (index, c) in self.0.chars().enumerate() {
            let at_edge = (index == 0 && c == '#') || (index == 0 || index == last) && c == ' ';
            if c.is_control() {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
            } else if at_edge || "\"+,;<>\\".contains(c) {
                write!(f, "\\{c}")?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::super::certificate::Certificate;

    fn subject(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::parse(certificate.der()).unwrap().subject().unwrap()
    }

    #[test]
    fn a_subject_is_one_line_of_text() {
        let (cn, o) = (DnType::CommonName, DnType::OrganizationName);
        assert_eq!(subject(&[]), "");
        assert_eq!(subject(&[(o.clone(), "Acme"), (cn.clone(), "alice")]), "CN=alice,O=Acme");
        assert_eq!(subject(&[(cn.clone(), "a,CN=root")]), "CN=a\\,CN\\=root".replace("\\=", "="));
        assert_eq!(subject(&[(cn.clone(), "a\nb\0")]), "CN=a\\0ab\\00");
        assert_eq!(subject(&[(cn.clone(), " #a ")]), "CN=\\ #a\\ ");
        assert_eq!(subject(&[(cn, "Zoë")]), "CN=Zoë");
        let odd = DnType::CustomDnType(vec![1, 2, 840, 113_549]);
        assert!(subject(&[(odd, "x")]).starts_with("1.2.840.113549=#"));
    }
}
