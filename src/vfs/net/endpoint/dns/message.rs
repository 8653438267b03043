//! Questions and answers as RFC 1035 has them: what of it a guest's resolver uses.

use std::net::IpAddr;

/// Bytes of a header.
const HEADER: usize = 12;

/// Bytes of an answer without EDNS, which every resolver takes.
const ANSWER_MAX: usize = 512;

/// Bytes of the longest name, with the lengths of its labels.
const NAME_MAX: usize = 255;

/// Types of records, and the class of the internet.
const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;

/// The name of the question, from where an answer repeats it: a pointer to the byte after the header.
const SAME_NAME: [u8; 2] = [0xc0, HEADER as u8];

/// How long a resolver may keep an answer: it asks again, since no time is known here.
const TTL: u32 = 0;

/// What an answer says of a question (`RCODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Success = 0,
    /// The question is malformed.
    Format = 1,
    /// No answer could be found now.
    Failure = 2,
    /// There is no such name.
    NoName = 3,
    /// Such questions are not answered.
    NotImplemented = 4,
    /// The guest may not know.
    Refused = 5,
}

/// What a datagram is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The addresses of a name are asked for.
    Question(Question),
    /// It is answered at once.
    Answer(Vec<u8>),
    /// It is not a question: too short, or an answer.
    Nothing,
}

/// A question for the addresses of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    id: [u8; 2],
    recursion_desired: bool,
    /// Name, type and class as they came, which is how they are sent back.
    bytes: Box<[u8]>,
    pub name: String,
    kind: u16,
}

impl Question {
    /// Reads a datagram.
    pub fn parse(datagram: &[u8]) -> Parsed {
        let Some((header, rest)) = datagram.split_first_chunk::<HEADER>() else {
            return Parsed::Nothing;
        };
        let [a, b, flags, _, high, low, ..] = *header;
        if flags & 0x80 != 0 {
            return Parsed::Nothing;
        }
        let mut question = Question {
            id: [a, b],
            recursion_desired: flags & 1 != 0,
            bytes: [].into(),
            name: String::new(),
            kind: 0,
        };
        if flags >> 3 != 0 {
            return Parsed::Answer(question.refused(Code::NotImplemented));
        }
        if [high, low] != [0, 1] {
            return Parsed::Answer(question.refused(Code::Format));
        }
        let name = name(rest);
        let fields = name.as_ref().and_then(|(_, len)| rest[*len..].first_chunk::<4>());
        let (Some((name, len)), Some([a, b, c, d])) = (&name, fields) else {
            return Parsed::Answer(question.refused(Code::Format));
        };
        question.bytes = rest[..len + 4].into();
        question.name.clone_from(name);
        question.kind = u16::from_be_bytes([*a, *b]);
        if u16::from_be_bytes([*c, *d]) != IN || !matches!(question.kind, A | AAAA) {
            return Parsed::Answer(question.refused(Code::NotImplemented));
        }
        Parsed::Question(question)
    }

    /// An answer without addresses.
    pub fn refused(&self, code: Code) -> Vec<u8> {
        self.reply(code, &[])
    }

    /// The answer: those of the addresses that are of the kind asked for, as many as have room.
    pub fn answer(&self, addresses: &[IpAddr]) -> Vec<u8> {
        self.reply(Code::Success, addresses)
    }

    fn reply(&self, code: Code, addresses: &[IpAddr]) -> Vec<u8> {
        let mut reply = Vec::with_capacity(ANSWER_MAX);
        reply.extend(self.id);
        // It is an answer, by one who looks further (RA) if asked to.
        reply.extend([0x80 | u8::from(self.recursion_desired), 0x80 | code as u8]);
        reply.extend(u16::from(!self.bytes.is_empty()).to_be_bytes());
        reply.extend([0; 6]);
        reply.extend(&self.bytes);
        let mut count: u16 = 0;
        for address in addresses {
            let (kind, bytes) = match address {
                IpAddr::V4(v4) => (A, &v4.octets()[..]),
                IpAddr::V6(v6) => (AAAA, &v6.octets()[..]),
            };
            let record = 2 + 2 + 2 + 4 + 2 + bytes.len();
            if kind != self.kind || reply.len() + record > ANSWER_MAX {
                continue;
            }
            reply.extend(SAME_NAME);
            reply.extend(kind.to_be_bytes());
            reply.extend(IN.to_be_bytes());
            reply.extend(TTL.to_be_bytes());
            reply.extend(if kind == A { [0, 4] } else { [0, 16] });
            reply.extend(bytes);
            count += 1;
        }
        reply[6..8].copy_from_slice(&count.to_be_bytes());
        reply
    }
}

/// The name at the beginning of `bytes`, with dots, and how many bytes it takes. Nothing comes before
/// it that it could point to.
fn name(bytes: &[u8]) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = 0;
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1;
        if len == 0 {
            return Some((name, at));
        }
        // Two bits say that it is a pointer, which a label of 64 bytes or more would look like.
        let label = bytes.get(at..at + len).filter(|_| len < 64 && at + len < NAME_MAX)?;
        if !name.is_empty() {
            name.push('.');
        }
        // What is no name of a host is none either with its bytes as Latin-1.
        name.extend(label.iter().map(|byte| if *byte == b'.' { '\\' } else { char::from(*byte) }));
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(flags: u8, name: &[u8], kind: u16, class: u16) -> Vec<u8> {
        let header = [7, 9, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [&header, name, &kind.to_be_bytes(), &class.to_be_bytes()].concat()
    }

    const NAME: &[u8] = b"\x04Host\x07example\0";

    fn code(datagram: &[u8]) -> Option<u8> {
        match Question::parse(datagram) {
            Parsed::Answer(answer) => {
                assert_eq!((&answer[..2], answer[2] & 0xfe), (&datagram[..2], 0x80));
                Some(answer[3] & 15)
            }
            Parsed::Question(_) => Some(0),
            Parsed::Nothing => None,
        }
    }

    #[test]
    fn a_question_is_answered_with_addresses_of_its_kind() {
        let addresses: [IpAddr; 3] =
            ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let asked = datagram(1, NAME, A, IN);
        let Parsed::Question(question) = Question::parse(&asked) else { panic!("it is one") };
        assert_eq!(question.name, "Host.example");
        let answer = question.answer(&addresses);
        assert_eq!(answer[..12], [7, 9, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        assert_eq!(answer[12..12 + NAME.len() + 4], asked[12..], "as it was written");
        let records = &answer[12 + NAME.len() + 4..];
        assert_eq!(records[..16], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1]);
        assert_eq!(records[28..], [192, 0, 2, 2]);
        let asked = datagram(0, NAME, AAAA, IN);
        let Parsed::Question(question) = Question::parse(&asked) else { panic!("it is one") };
        let answer = question.answer(&addresses);
        assert_eq!(answer[..12], [7, 9, 0x80, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(
            answer[answer.len() - 16..],
            "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets()
        );
        assert_eq!(question.answer(&addresses[..1])[6..8], [0, 0], "there is none of the kind");
        let many = vec![addresses[1]; 100];
        let answer = question.answer(&many);
        assert!(answer.len() <= ANSWER_MAX && answer[7] > 10, "{}", answer.len());
    }

    #[test]
    fn what_is_no_question_is_ignored_or_refused() {
        for len in 0..12 {
            assert_eq!(code(&datagram(0, NAME, A, IN)[..len]), None);
        }
        let whole = datagram(0, NAME, A, IN);
        for len in 12..whole.len() {
            assert_eq!(code(&whole[..len]), Some(1), "cut after {len}");
        }
        assert_eq!(code(&datagram(0x80, NAME, A, IN)), None, "an answer");
        assert_eq!(code(&datagram(0x28, NAME, A, IN)), Some(4), "an update");
        assert_eq!(code(&datagram(0, NAME, 15, IN)), Some(4), "MX");
        assert_eq!(code(&datagram(0, NAME, A, 3)), Some(4), "of another class");
        assert_eq!(code(&datagram(0, b"\xc0\x0c", A, IN)), Some(1), "a pointer to itself");
        assert_eq!(code(&datagram(0, &[0x40; 80], A, IN)), Some(1), "a label of 64 bytes");
        let long = [vec![63], vec![b'a'; 63]].concat().repeat(4);
        assert_eq!(code(&datagram(0, &[&long[..], &[0]].concat(), A, IN)), Some(1), "too long");
        for count in [[0, 0], [0, 2], [1, 1]] {
            let mut two = whole.clone();
            two[4..6].copy_from_slice(&count);
            assert_eq!(code(&two), Some(1), "{count:?} questions");
        }
        // What comes after the question (EDNS) is not looked at.
        assert_eq!(code(&[&whole[..], &[0; 400]].concat()), Some(0));
        let dotted = Question::parse(&datagram(0, b"\x03a.b\0", A, IN));
        assert!(matches!(dotted, Parsed::Question(question) if question.name == "a\\b"));
    }
}
