//! Rules and addresses: what is read is written as it is read again, and an error points into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tinyhost::vfs::net::{Host, ListenRule, Policy, Rule};

fuzz_target!(|text: &str| {
    for result in [text.parse::<Rule>().err(), text.parse::<ListenRule>().err()] {
        let Some(error) = result else { continue };
        assert!(!error.to_string().is_empty());
        assert!(error.column() <= text.chars().count() + 1, "{error:?}");
        assert!(!error.caret().is_empty());
    }
    let _ = Policy::from_rules([text], [text]);
    if let Some(host) = Host::parse(text) {
        let written = host.to_string();
        assert_eq!(Host::parse(&written).as_ref(), Some(&host), "{written}");
        // What may be dialled by no rule is not dialled.
        let none = Policy::none();
        assert!(!none.name_possible(tinyhost::vfs::net::RuleProtocol::Plain, &host, 80));
    }
});
