//! Headers as proxies write them, and all others.

use super::*;

/// Version 2 with this command, family, and what follows.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [BINARY, &[0x20 | command, family], &len, rest].concat()
}

/// Addresses of 192.0.2.1:56324 and 198.51.100.7:443.
const FOUR: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 1, 0xbb];

fn inet(peer: &str, local: &str) -> Option<ProxiedEnds> {
    Some(ProxiedEnds::Inet { peer: peer.parse().unwrap(), local: local.parse().unwrap() })
}

/// Whole, and all that is shorter is not; with what follows it the same.
fn whole(header: &[u8], ends: Option<ProxiedEnds>) {
    for len in 0..header.len() {
        assert_eq!(parse(&header[..len]), Ok(Header::Partial), "{len} of {header:?}");
    }
    let expected = Header::Whole { len: header.len(), ends };
    assert_eq!(parse(header).as_ref(), Ok(&expected), "{header:?}");
    let followed = [header, b"PROXY \r\nx"].concat();
    assert_eq!(parse(&followed).as_ref(), Ok(&expected), "{header:?}");
}

/// Never taken, however little of it has come, and refused once all has.
fn refused(header: &[u8], why: &str) {
    for len in 0..header.len() {
        let early = parse(&header[..len]);
        assert!(early == Ok(Header::Partial) || early.is_err(), "{len} of {header:?}: {early:?}");
    }
    assert_eq!(parse(header), Err(why.to_owned()), "{header:?}");
}

#[test]
fn text_says_who_the_client_is() {
    let ends = inet("192.0.2.1:56324", "198.51.100.7:443");
    whole(b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", ends);
    let ends = inet("[2001:db8::1]:65535", "[::1]:0");
    whole(b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", ends);
    let longest = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), TEXT_MAX - 3);
    whole(
        longest,
        inet(
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
    );
    whole(b"PROXY UNKNOWN\r\n", None);
    whole(b"PROXY UNKNOWN ffff:: nonsense  0 99999\r\n", None);
    whole(b"PROXY UNKNOWN \xff\0\r\n", None);
}

#[test]
fn text_that_is_not_a_header_is_refused() {
    let parts = "it does not have two addresses and two ports";
    let addr4 = "it has an address that is not TCP4";
    let port = "it has a port that is not valid";
    let end = "it does not end with CR LF within 107 bytes";
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    for (header, why) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n", parts),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n", parts),
        ("PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n", parts),
        ("PROXY TCP4\r\n", parts),
        ("PROXY TCP4 192.0.2.1 198.51.100.256 56324 443\r\n", addr4),
        ("PROXY TCP4 192.0.2.01 198.51.100.7 56324 443\r\n", addr4),
        ("PROXY TCP4 ::1 ::1 56324 443\r\n", addr4),
        ("PROXY TCP4 localhost 198.51.100.7 56324 443\r\n", addr4),
        ("PROXY TCP6 192.0.2.1 ::1 56324 443\r\n", "it has an address that is not TCP6"),
        ("PROXY TCP6 fe80::1%1 ::1 56324 443\r\n", "it has an address that is not TCP6"),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n", port),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 1 0443\r\n", port),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n", port),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 1 \r\n", port),
        (
            "PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
            "its protocol is none of TCP4, TCP6 and UNKNOWN",
        ),
        (
            "PROXY tcp4 192.0.2.1 198.51.100.7 1 2\r\n",
            "its protocol is none of TCP4, TCP6 and UNKNOWN",
        ),
        ("PROXY \r\n", "its protocol is none of TCP4, TCP6 and UNKNOWN"),
        ("PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n", end),
        (long.as_str(), end),
    ] {
        refused(header.as_bytes(), why);
    }
    refused(b"PROXY TCP4 \xff 198.51.100.7 1 2\r\n", "it is not ASCII text");
}

#[test]
fn binary_says_who_the_client_is() {
    let four = inet("192.0.2.1:56324", "198.51.100.7:443");
    whole(&version_2(1, 0x11, FOUR), four.clone());
    let mut six = [0; 36];
    six[15] = 1;
    six[16] = 0xfd;
    six[33] = 5;
    six[35] = 6;
    whole(&version_2(1, 0x21, &six), inet("[::1]:5", "[fd00::]:6"));
    let mut unix = [0; 216];
    unix[108..116].copy_from_slice(b"/run/a.s");
    let named = |path: &str| Some(ProxiedEnds::Unix(Path::new(path).into()));
    whole(&version_2(1, 0x31, &unix), named("/run/a.s"));
    unix[108..].fill(b'x');
    whole(&version_2(1, 0x31, &unix), named(&"x".repeat(108)));
    // With what else proxies say: an empty TLV, a name, a checksum.
    let tlvs = [FOUR, &[0x04, 0, 0], &[0x02, 0, 3], b"a.b"].concat();
    whole(&version_2(1, 0x11, &tlvs), four.clone());
    let mut summed =
        version_2(1, 0x11, &[FOUR, &[0x04, 0, 1, 7, CRC32C, 0, 4, 0, 0, 0, 0]].concat());
    let at = summed.len() - 4;
    let sum = crc32c(&summed, 0..0).to_be_bytes();
    summed[at..].copy_from_slice(&sum);
    whole(&summed, four);
    summed[17] ^= 1;
    refused(&summed, "its checksum is wrong");
}

#[test]
fn one_that_says_nothing_of_a_client_has_no_ends() {
    whole(&version_2(0, 0, &[]), None);
    // Addresses and TLVs of LOCAL mean nothing, whatever they are.
    whole(&version_2(0, 0x11, &[1, 2, 3]), None);
    whole(&version_2(0, 0xff, &[0xff; 100]), None);
    whole(&version_2(1, 0, &[]), None);
    whole(&version_2(1, 0, &[0x04, 0, 1, 0]), None);
}

#[test]
fn binary_that_is_not_a_header_is_refused() {
    let short = "it is too short for its addresses";
    refused(&version_2(1, 0x11, &FOUR[..11]), short);
    refused(&version_2(1, 0x21, &[0; 35]), short);
    refused(&version_2(1, 0x31, &[0; 215]), short);
    refused(&version_2(1, 0x12, FOUR), "it is that of a datagram");
    refused(&version_2(1, 0x41, FOUR), "its family and transport are 0x41");
    refused(&version_2(1, 0x10, FOUR), "its family and transport are 0x10");
    refused(&version_2(2, 0x11, FOUR), "its command is 2, which is neither LOCAL nor PROXY");
    let mut other = version_2(1, 0x11, FOUR);
    other[12] = 0x31;
    refused(&other, "its version is 3, not 2");
    let tlv = "a TLV reaches beyond its end";
    refused(&version_2(1, 0x11, &[FOUR, &[0x04, 0, 1]].concat()), tlv);
    refused(&version_2(1, 0x11, &[FOUR, &[0x04, 0xff, 0xff, 0]].concat()), tlv);
    refused(&version_2(1, 0x11, &[FOUR, &[0x04]].concat()), tlv);
    let sum = "its checksum is not four bytes";
    refused(&version_2(1, 0x11, &[FOUR, &[CRC32C, 0, 1, 0]].concat()), sum);
    // At once, rather than when 64 KiB have come.
    let long = [BINARY, &[0x21, 0x11, 0xff, 0xff]].concat();
    refused(&long, "it is longer than 16384 bytes");
}

#[test]
fn all_else_is_what_it_is() {
    let others: [&[u8]; 8] = [
        b"x",
        b"PROXYX",
        b"proxy TCP4",
        b"PROXY\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\nx",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\n",
    ];
    for bytes in others {
        assert_eq!(parse(bytes), Ok(Header::Other), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Header::Partial));
}

/// Whatever a proxy sends, it is a header, or not, or refused, and nothing else happens.
#[test]
fn no_bytes_do_harm() {
    let mut state = 1_u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let begins = [TEXT, b"PROXY TCP4 1.1.1.1 ", BINARY, &version_2(1, 0x11, FOUR), b""];
    for _ in 0..20_000 {
        let mut bytes = begins[usize::from(random()) % begins.len()].to_vec();
        let len = usize::from(random());
        bytes.extend((0..len).map(|_| random()));
        if let (Some(at), true) = (bytes.len().checked_sub(1), random() > 128) {
            bytes[usize::from(random()) % (at + 1)] = random();
        }
        if let Ok(Header::Whole { len, .. }) = parse(&bytes) {
            assert!(len <= bytes.len());
        }
    }
}

#[test]
fn a_checksum_is_that_of_the_standard() {
    assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
}
