//! The network's rules: what parses, what does not and why, and what they allow.

#![cfg(all(unix, feature = "net"))]

use std::net::{IpAddr, SocketAddr};

use tinyhost::vfs::net::{Class, Host, ListenRule, Policy, Rule, RuleError, RuleProtocol};

fn host(text: &str) -> Host {
    Host::parse(text).unwrap_or_else(|| panic!("{text} is no host"))
}

fn policy(rules: &[&str]) -> Policy {
    Policy::from_rules(["none"].iter().chain(rules).copied(), []).unwrap()
}

/// A dial to a name, which has this address.
fn resolved(rules: &[&str], name: &str, address: &str, port: u16) -> bool {
    let address: IpAddr = address.parse().unwrap();
    policy(rules).addr_allowed(RuleProtocol::Plain, &host(name), address, port)
}

/// A dial to an address.
fn literal(rules: &[&str], address: &str, port: u16) -> bool {
    let Host::Addr(meant) = host(address) else { panic!("{address} is no address") };
    let policy = policy(rules);
    let allowed = policy.addr_allowed(RuleProtocol::Plain, &host(address), meant.ip(), port);
    assert_eq!(policy.name_possible(RuleProtocol::Plain, &host(address), port), allowed);
    allowed
}

#[test]
fn a_name_needs_a_name_rule() {
    let cases: &[(&[&str], &str, u16, bool)] = &[
        (&[], "example.org", 443, false),
        (&["example.org:443"], "example.org", 443, true),
        (&["EXAMPLE.org.:443"], "example.ORG", 443, true),
        (&["example.org:443"], "example.org.", 443, true),
        (&["example.org:443"], "example.org", 80, false),
        (&["example.org:443"], "www.example.org", 443, false),
        (&["example.org:443"], "example.org.evil.net", 443, false),
        (&["example.org:80-90"], "example.org", 80, true),
        (&["example.org:80-90"], "example.org", 90, true),
        (&["example.org:80-90"], "example.org", 91, false),
        (&["example.org:*"], "example.org", 65535, true),
        (&["*.example.org:443"], "www.example.org", 443, true),
        (&["*.example.org:443"], "a.b.example.org", 443, true),
        (&["*.example.org:443"], "example.org", 443, false),
        (&["*.example.org:443"], "badexample.org", 443, false),
        (&["*:443"], "anything.at.all", 443, true),
        (&["*:443"], "anything.at.all", 444, false),
        (&["*:*"], "localhost", 80, false),
        (&["localhost:80"], "localhost", 80, true),
        // Nothing is looked up because of an address rule.
        (&["0.0.0.0/0:443", "[::]/0:443"], "example.org", 443, false),
        (&["xn--bcher-kva.example:80"], "xn--bcher-kva.example", 80, true),
        (&["my_service:80"], "my_service", 80, true),
    ];
    for (rules, name, port, allowed) in cases {
        let possible = policy(rules).name_possible(RuleProtocol::Plain, &host(name), *port);
        assert_eq!(possible, *allowed, "{rules:?} {name}:{port}");
    }
}

/// All the addresses that no name may lead to by itself, and their class.
const SPECIAL: &[(&str, Class)] = &[
    ("127.0.0.1", Class::Loopback),
    ("127.255.0.1", Class::Loopback),
    ("::1", Class::Loopback),
    ("10.1.2.3", Class::Private),
    ("172.16.0.1", Class::Private),
    ("172.31.255.255", Class::Private),
    ("192.168.0.1", Class::Private),
    ("fc00::1", Class::Private),
    ("fdff::1", Class::Private),
    ("fec0::1", Class::Private),
    ("169.254.1.1", Class::LinkLocal),
    ("fe80::1", Class::LinkLocal),
    ("febf::1", Class::LinkLocal),
    ("169.254.169.254", Class::Metadata),
    ("100.100.100.200", Class::Metadata),
    ("168.63.129.16", Class::Metadata),
    ("fd00:ec2::254", Class::Metadata),
    ("100.64.0.1", Class::Shared),
    ("100.127.255.255", Class::Shared),
    ("0.0.0.0", Class::Unspecified),
    ("0.1.2.3", Class::Unspecified),
    ("::", Class::Unspecified),
    ("224.0.0.1", Class::Multicast),
    ("239.255.255.255", Class::Multicast),
    ("ff02::1", Class::Multicast),
    ("255.255.255.255", Class::Reserved),
    ("240.0.0.1", Class::Reserved),
    ("192.0.2.1", Class::Reserved),
    ("198.18.0.1", Class::Reserved),
    ("2001:db8::1", Class::Reserved),
    ("2001::1", Class::Reserved),
    ("4000::1", Class::Reserved),
    // The same in disguise.
    ("::ffff:127.0.0.1", Class::Loopback),
    ("::ffff:10.0.0.1", Class::Private),
    ("::ffff:169.254.169.254", Class::Metadata),
    ("::127.0.0.1", Class::Loopback),
    ("::10.0.0.1", Class::Private),
    ("2002:7f00:1::", Class::Loopback),
    ("2002:a00:1::5", Class::Private),
    ("64:ff9b::127.0.0.1", Class::Loopback),
    ("64:ff9b::a9fe:a9fe", Class::Metadata),
    ("64:ff9b:1::8.8.8.8", Class::Private),
];

const PUBLIC: &[&str] = &[
    "8.8.8.8",
    "100.63.0.1",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "169.253.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
];

#[test]
fn addresses_have_the_class_they_stand_for() {
    for (address, class) in SPECIAL {
        assert_eq!(Class::of(address.parse().unwrap()), *class, "{address}");
    }
    for address in PUBLIC {
        assert_eq!(Class::of(address.parse().unwrap()), Class::Public, "{address}");
    }
}

#[test]
fn a_name_leads_to_public_addresses_only() {
    for rules in [&["example.org:80"][..], &["*.org:80"], &["*:*"], &["*:*", "localhost:80"]] {
        for (address, _) in SPECIAL {
            assert!(!resolved(rules, "example.org", address, 80), "{rules:?} {address}");
        }
        for address in PUBLIC {
            assert!(resolved(rules, "example.org", address, 80), "{rules:?} {address}");
        }
    }
    assert!(!resolved(&["example.org:80"], "other.org", "8.8.8.8", 80), "the name itself");
}

#[test]
fn an_address_rule_lets_an_allowed_name_lead_there() {
    let cases: &[(&[&str], &str, u16, bool)] = &[
        (&["db:5432", "10.0.0.0/8:5432"], "10.1.2.3", 5432, true),
        (&["10.0.0.0/8:5432", "db:5432"], "10.1.2.3", 5432, true),
        (&["db:5432", "10.0.0.0/8:5432"], "11.1.2.3", 5432, true), // public
        (&["db:5432", "10.0.0.0/8:5432"], "192.168.1.1", 5432, false),
        (&["db:5432", "10.0.0.0/8:5433"], "10.1.2.3", 5432, false),
        (&["10.0.0.0/8:5432"], "10.1.2.3", 5432, false),
        (&["db:5432", "127.0.0.1:5432"], "::ffff:127.0.0.1", 5432, true),
        (&["db:5432", "127.0.0.1:5432"], "::1", 5432, false),
        (&["db:5432", "[fd00::]/8:*"], "fd12::1", 5432, true),
        (&["db:5432", "169.254.0.0/16:*"], "169.254.169.254", 5432, true),
    ];
    for (rules, address, port, allowed) in cases {
        assert_eq!(resolved(rules, "db", address, *port), *allowed, "{rules:?} {address}");
    }
}

#[test]
fn localhost_is_loopback_and_nothing_else() {
    let rules = ["localhost:1997"];
    for (address, class) in SPECIAL {
        let allowed = *class == Class::Loopback;
        assert_eq!(resolved(&rules, "localhost", address, 1997), allowed, "{address}");
    }
    assert!(!resolved(&rules, "localhost", "8.8.8.8", 1997));
    assert!(!resolved(&rules, "localhost", "127.0.0.1", 1998));
    assert!(!resolved(&rules, "localhost.localhost", "127.0.0.1", 1997));
}

#[test]
fn an_address_needs_an_address_rule_or_a_star() {
    let cases: &[(&[&str], &str, u16, bool)] = &[
        (&["localhost:1997"], "127.0.0.1", 1997, false),
        (&["127.0.0.1:1997"], "127.0.0.1", 1997, true),
        (&["127.0.0.1:1997"], "[::ffff:127.0.0.1]", 1997, true),
        (&["[::ffff:127.0.0.1]:1997"], "127.0.0.1", 1997, true),
        (&["127.0.0.1:1997"], "127.0.0.2", 1997, false),
        (&["127.0.0.1:1997"], "[::1]", 1997, false),
        (&["10.0.0.0/8:5432"], "10.255.255.255", 5432, true),
        (&["10.0.0.0/8:5432"], "11.0.0.0", 5432, false),
        (&["10.0.0.0/31:1"], "10.0.0.1", 1, true),
        (&["10.0.0.0/31:1"], "10.0.0.2", 1, false),
        (&["[fd00::]/8:443"], "[fdff::1]", 443, true),
        (&["[fd00::]/8:443"], "[fe00::1]", 443, false),
        (&["[::ffff:10.0.0.0]/104:1"], "10.9.9.9", 1, true),
        (&["[::ffff:10.0.0.0]/104:1"], "11.9.9.9", 1, false),
        // A range of IPv6 addresses never has an IPv4 address in it, in no disguise.
        (&["[::]/0:*"], "127.0.0.1", 80, false),
        (&["[::]/0:*"], "[::ffff:127.0.0.1]", 80, false),
        (&["[::]/0:*"], "[::1]", 80, true),
        (&["0.0.0.0/0:*"], "127.0.0.1", 80, true),
        (&["0.0.0.0/0:*"], "[::1]", 80, false),
        (&["*:80"], "8.8.8.8", 80, true),
        (&["*:80"], "8.8.8.8", 81, false),
        (&["*:80"], "127.0.0.1", 80, false),
        (&["*:80"], "[::ffff:10.0.0.1]", 80, false),
        (&["*:80"], "169.254.169.254", 80, false),
    ];
    for (rules, address, port, allowed) in cases {
        assert_eq!(literal(rules, address, *port), *allowed, "{rules:?} {address}:{port}");
    }
}

#[test]
fn numbers_that_the_c_library_takes_for_addresses_are_no_hosts() {
    for text in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "1.2.3.4.", "127.0.0.0x1"] {
        assert_eq!(Host::parse(text), None, "{text}");
    }
    for text in [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "a b",
        "*",
        "é",
        "[::1",
        "::1",
        "fe80::1%eth0",
        "[fe80::1%]",
        "[::1%lo]",
    ] {
        assert_eq!(Host::parse(text), None, "{text}");
    }
    assert_eq!(Host::parse(&format!("{}.org", "a".repeat(64))), None);
    assert_eq!(Host::parse(&"a.".repeat(130)), None);
}

/// The loopback interface, which each machine has; its number is 1 on Linux.
const LO: &str = if cfg!(target_vendor = "apple") { "lo0" } else { "lo" };

#[test]
fn a_rule_with_a_zone_is_for_its_interface() {
    let of_lo = format!("[fe80::1%{LO}]:80");
    let all_of_lo = format!("[fe80::%{LO}]/10:80");
    let own = format!("[fe80::1%{LO}]");
    let other = format!("[fe80::2%{LO}]");
    let cases: &[(&str, &str, bool)] = &[
        (&of_lo, &own, true),
        (&of_lo, &other, false),
        (&of_lo, "[fe80::1%no-such]", false),
        (&of_lo, "[fe80::1%4000000]", false),
        (&of_lo, "[fe80::1]", false),
        (&all_of_lo, &own, true),
        (&all_of_lo, &other, true),
        (&all_of_lo, "[fe80::2%no-such]", false),
        (&all_of_lo, "[fe80::2]", false),
        // Without a zone it is for all of them.
        ("[fe80::1]:80", &own, true),
        ("[fe80::1]:80", "[fe80::1%no-such]", true),
        ("[fe80::1]:80", &other, false),
        ("[fe80::]/10:80", "[fe80::2%7]", true),
        ("*:80", &own, false),
        ("[ff02::1]:80", "[ff02::1%7]", true),
    ];
    for (rule, address, allowed) in cases {
        assert_eq!(literal(&[rule], address, 80), *allowed, "{rule} {address}");
    }
    // An interface has a name and a number.
    let Some(Host::Addr(of_lo)) = Host::parse(&own) else { panic!("{own} is no address") };
    let index = of_lo.zone().and_then(|zone| zone.index()).expect("there is one");
    assert!(literal(&[&format!("[fe80::1%{index}]:80")], &own, 80));
    assert!(!literal(&[&format!("[fe80::1%{}]:80", index + 1)], &own, 80));
    let rule = format!("[fe80::1%{LO}]:80");
    let listen = Policy::from_rules([], [&*rule]).unwrap();
    for (at, allowed) in [(index, true), (index + 1, false), (0, false)] {
        let at: SocketAddr = format!("[fe80::1%{at}]:80").parse().unwrap();
        assert_eq!(listen.listen_allowed(at), allowed, "{at}");
    }
}

#[test]
fn rules_that_do_not_parse_say_where_and_what_to_do() {
    let cases = [
        ("", 1, "HOST:PORT"),
        ("example.com", 12, "example.com:443"),
        ("example.com:", 13, "1 to 65535"),
        (":80", 1, "before the colon"),
        ("example.com:0", 13, "1 to 65535"),
        ("example.com:70000", 13, "1 to 65535"),
        ("example.com:+80", 13, "1 to 65535"),
        ("example.com:080", 13, "1 to 65535"),
        ("example.com:http", 13, "1 to 65535"),
        ("example.com:80x", 13, "1 to 65535"),
        ("example.com:80-", 16, "1 to 65535"),
        ("example.com:80-90-", 16, "1 to 65535"),
        ("example.com:0-90", 13, "1 to 65535"),
        ("example.com:90-80", 13, "80-90"),
        ("example.com:80 ", 15, "remove"),
        ("example.com:80,443", 13, "1 to 65535"),
        (" example.com:80", 1, "remove"),
        ("http://example.com:80", 1, "HOST:PORT"),
        ("bücher.example:80", 2, "punycode"),
        ("*bücher.example:80", 1, "*.example.org"),
        ("a..b:80", 3, "between the dots"),
        ("a_b-.c:80", 1, "hyphen"),
        ("a$b:80", 2, "remove"),
        ("a.*.b:80", 3, "*.example.org"),
        ("*.:80", 3, "between the dots"),
        ("*example.org:80", 1, "*.example.org"),
        ("127.1:80", 1, "192.0.2.1"),
        ("256.0.0.1:80", 1, "192.0.2.1"),
        ("10.0.0.0/33:80", 10, "0 to 32"),
        ("10.0.0.0/:80", 10, "0 to 32"),
        ("10.0.0.0/-1:80", 10, "0 to 32"),
        ("10.1.0.0/8:80", 1, "write 10.0.0.0/8"),
        ("example.org/8:80", 1, "10.0.0.0/8"),
        ("[fd00::]/129:80", 10, "0 to 128"),
        ("[fd00::1]/8:80", 1, "write [fd00::]/8"),
        ("[fd00::/8]:80", 1, "[fd00::]/8:443"),
        ("[::1:80", 1, "[::1]"),
        ("[::1]80", 8, ":443"),
        ("[::1]x:80", 1, "[fd00::]"),
        ("[fe80::1%]:80", 10, "as [fe80::1%eth0]"),
        ("[fe80::1%a/b]:80", 11, "as [fe80::1%2]"),
        ("[fe80::1%a%b]:80", 11, "as [fe80::1%2]"),
        ("[fe80::1%0123456789abcdef]:80", 10, "at most 15 bytes"),
        ("[fe80::1%no-such-link]:80", 10, "'ip link'"),
        ("[fe80::1%25lo]:80", 10, "'ip link'"),
        ("[::1%lo]:80", 5, "remove what follows %"),
        ("[fd00::1%lo]:80", 9, "remove what follows %"),
        ("[::ffff:10.0.0.1%lo]:80", 17, "remove what follows %"),
        ("[fe80::%1]/9:80", 12, "10 to 128"),
        ("[fe80::1%1]/64:80", 1, "write [fe80::%1]/64"),
        ("[%lo]:80", 1, "[fd00::]:443"),
        ("10.0.0.1%lo:80", 9, "remove"),
        ("::1:80", 1, "brackets"),
        ("a:1:2", 2, "brackets"),
        ("none", 5, "none:443"),
    ];
    for (text, column, hint) in cases {
        let error: RuleError = text.parse::<Rule>().expect_err(text);
        assert_eq!(error.column(), column, "{error}");
        assert!(error.hint.contains(hint), "{error}");
        assert!(error.to_string().lines().count() == 1, "{error}");
    }
}

#[test]
fn an_error_has_a_line_of_carets() {
    let error = "bücher.example:80".parse::<Rule>().unwrap_err();
    assert_eq!(error.caret(), "bücher.example:80\n ^");
    let error = "example.com:70000".parse::<Rule>().unwrap_err();
    assert_eq!(error.caret(), "example.com:70000\n            ^^^^^");
    let error = "example.com".parse::<Rule>().unwrap_err();
    assert_eq!(error.caret(), "example.com\n           ^");
    assert_eq!(
        error.to_string(),
        "network rule 'example.com', column 12: the port is missing: \
         write example.com:443, or example.com:* for every port"
    );
}

#[test]
fn none_takes_the_default_away_and_order_means_nothing() {
    let own = host("localhost");
    let of = |rules: &[&str]| Policy::from_rules(rules.iter().copied(), []).unwrap();
    assert!(Policy::default().name_possible(RuleProtocol::Plain, &own, 1997));
    assert!(!Policy::default().name_possible(RuleProtocol::Plain, &own, 1998));
    assert!(of(&["example.org:443"]).name_possible(RuleProtocol::Plain, &own, 1997));
    assert!(!of(&["none"]).name_possible(RuleProtocol::Plain, &own, 1997));
    for rules in [["none", "example.org:443"], ["example.org:443", "none"]] {
        assert!(!of(&rules).name_possible(RuleProtocol::Plain, &own, 1997));
        assert!(of(&rules).name_possible(RuleProtocol::Plain, &host("example.org"), 443));
    }
    assert_eq!(of(&["none"]), Policy::none());
    assert!(Policy::from_rules(["none", "example.org"], []).is_err());
    assert!(Policy::from_rules([], ["example.org:80"]).is_err());
}

#[test]
fn listening_is_by_address_and_port_0_is_a_port() {
    let cases = [
        (&[][..], "127.0.0.1:8080", false),
        (&["127.0.0.1:8080"], "127.0.0.1:8080", true),
        (&["127.0.0.1:8080"], "127.0.0.1:0", false),
        (&["127.0.0.1:8080"], "0.0.0.0:8080", false),
        (&["127.0.0.1:0"], "127.0.0.1:0", true),
        (&["127.0.0.1:0"], "127.0.0.1:8080", false),
        (&["127.0.0.1:*"], "127.0.0.1:0", true),
        (&["localhost:8000-8100"], "127.0.0.1:8100", true),
        (&["127.0.0.0/8:1"], "127.0.0.2:1", true),
        (&["[::1]:8080"], "[::1]:8080", true),
        (&["[::1]:8080"], "127.0.0.1:8080", false),
        (&["*:8080"], "0.0.0.0:8080", true),
        (&["*:8080"], "[::]:8080", true),
        (&["*:8080"], "[::]:8081", false),
    ];
    for (rules, at, allowed) in cases {
        let policy = Policy::from_rules([], rules.iter().copied()).unwrap();
        let at: SocketAddr = at.parse().unwrap();
        assert_eq!(policy.listen_allowed(at), allowed, "{rules:?} {at}");
    }
    for text in ["example.org:80", "*.org:80", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1/33:1"] {
        text.parse::<ListenRule>().expect_err(text);
    }
}
