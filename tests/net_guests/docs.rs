//! `docs/network.md` says what is so.

use std::path::Path;

use tinyhost::vfs::net::{Host, Policy, RuleProtocol};

const PAGE: &str = include_str!("../../docs/network.md");

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_row_of_the_policy_table_is_decided_as_it_says() {
    let mut rows = 0;
    let table = PAGE.split("| rules | opened |").nth(1).unwrap();
    for row in table.lines().skip(2).take_while(|row| row.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').skip(1).map(str::trim).collect();
        let policy = Policy::from_rules(quoted(cells[0]), []).unwrap();
        let opened = quoted(cells[1])[0];
        let prefixes = [
            ("tls:", RuleProtocol::Tls),
            ("https:", RuleProtocol::Https),
            ("", RuleProtocol::Plain),
        ];
        let found = prefixes.iter().find_map(|(prefix, protocol)| {
            opened.strip_prefix(prefix).map(|rest| (*protocol, rest))
        });
        let (protocol, opened) = found.unwrap();
        // A build without TLS has no such rules.
        let secure = |rule: &&str| rule.starts_with("tls:") || rule.starts_with("https:");
        if cfg!(not(feature = "tls")) && quoted(cells[0]).iter().any(secure) {
            continue;
        }
        let (host, port) = opened.rsplit_once(':').unwrap();
        let (host, port) = (Host::parse(host).unwrap(), port.parse().unwrap());
        let resolved = quoted(cells[2]);
        let possible = policy.name_possible(protocol, &host, port);
        let fine = |ip: &&str| policy.addr_allowed(protocol, &host, ip.parse().unwrap(), port);
        let allowed = possible && resolved.iter().all(fine);
        assert_eq!(allowed, cells[3] == "allowed", "{row}");
        // What is not looked up has no address to show; what is allowed has been.
        let looked_up = matches!(host, Host::Name(_)) && possible;
        assert_eq!(looked_up, !resolved.is_empty(), "{row}");
        rows += 1;
    }
    assert!(rows > 20, "{rows} rows");
}

#[test]
fn each_recipe_is_part_of_a_program_that_is_run() {
    let recipes = PAGE.split("## Recipes").nth(1).unwrap();
    let mut programs = Vec::new();
    let mut source = String::new();
    let mut block = None;
    for line in recipes.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => {}
            (None, Some(_)) => {
                let there = source.lines().any(|other| other.trim() == line.trim());
                assert!(there, "{:?}: no line '{line}'", programs.last());
            }
            (None, None) => {
                let Some(link) = line.split("](../guest/").nth(1) else { continue };
                let path = format!("guest/{}", link.split(')').next().unwrap());
                let at = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
                source = std::fs::read_to_string(at).unwrap_or_else(|e| panic!("{path}: {e}"));
                programs.push(path);
            }
        }
    }
    programs.sort();
    programs.dedup();
    assert_eq!(programs.len(), 10, "{programs:?}");
}
