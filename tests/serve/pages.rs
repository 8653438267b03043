//! `docs/metrics.md` names all there is, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use tinyhost::serve::{Metrics, Outcome, Refusal};

use crate::support::{program, serve};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// First cells of the rows of a table, without what is in braces, and the rest of their rows.
fn rows(head: &str) -> Vec<(&'static str, &'static str)> {
    let table = PAGE.split(head).nth(1).expect(head);
    let rows = table.lines().skip(2).take_while(|row| row.starts_with("| `"));
    rows.map(|row| row[3..].split_once('`').expect("a name in backticks")).collect()
}

fn names(rows: &[(&'static str, &'static str)]) -> BTreeSet<&'static str> {
    rows.iter().map(|(name, _)| name.split('{').next().unwrap_or_default()).collect()
}

#[test]
fn each_metric_is_on_the_page_with_its_kind_and_help() {
    let rows = rows("| metric | kind |");
    let text = Metrics::default().prometheus();
    let said = |what: &'static str| {
        text.lines().filter_map(move |line| line.strip_prefix(what)?.split_once(' '))
    };
    let mut metrics = BTreeSet::new();
    for ((name, kind), (helped, help)) in said("# TYPE ").zip(said("# HELP ")) {
        assert_eq!(name, helped);
        let row = rows.iter().find(|(row, _)| row.split('{').next() == Some(name));
        let (_, rest) = row.unwrap_or_else(|| panic!("no row of {name}"));
        assert!(rest.contains(&format!(" | {kind} | {help}")), "{name} is a {kind}: {help}");
        metrics.insert(name);
    }
    assert_eq!(names(&rows), metrics);
}

#[test]
fn each_outcome_and_limit_is_on_the_page_with_an_option_there_is() {
    let (outcomes, limits) = (rows("| `outcome=` |"), rows("| `limit=` |"));
    assert_eq!(names(&outcomes), Outcome::ALL.iter().map(|outcome| outcome.name()).collect());
    assert_eq!(names(&limits), Refusal::ALL.iter().map(|limit| limit.name()).collect());
    let options = include_str!("../../src/cli/args/mod.rs");
    for (name, rest) in outcomes.iter().chain(&limits) {
        for option in rest.split("`--").skip(1).filter_map(|rest| rest.split('`').next()) {
            let field = format!("pub {}:", option.replace('-', "_"));
            assert!(options.contains(&field), "{name}: there is no --{option}");
        }
    }
}

/// The text of each file in a folder and below.
fn sources(folder: &Path) -> Vec<String> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![std::fs::read_to_string(path).unwrap()],
    });
    texts.flatten().collect()
}

/// Messages and fields are read from where they are written: between the target and the end of
/// the call.
#[test]
fn each_record_is_on_the_page_with_its_fields() {
    let rows = rows("| message | level |");
    let mut messages = BTreeSet::new();
    for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve")) {
        let source = source.replace("logging::TARGET", "TARGET");
        for call in source.split("target: TARGET,").skip(1) {
            // What only asks for a level has no message.
            let Some((fields, rest)) = call.split_once(';') else { continue };
            let Some(message) = rest.trim_start().strip_prefix('"') else { continue };
            let message = message.split('"').next().unwrap();
            let row = rows.iter().find(|(row, _)| *row == message);
            let (_, told) = row.unwrap_or_else(|| panic!("no row of {message:?}"));
            for field in fields.split(',').filter_map(|field| field.split_once(" = ")) {
                let name = field.0.trim().trim_end_matches(":%");
                let there = told.split(['`', ' ']).any(|word| word == name);
                assert!(there, "{message:?} has a field {name}");
            }
            messages.insert(message.to_owned());
        }
    }
    let messages: BTreeSet<&str> = messages.iter().map(String::as_str).collect();
    assert_eq!(names(&rows), messages);
}

#[test]
fn a_record_has_the_fields_in_the_order_of_the_page() {
    let server = serve(program("exit"), |_| {});
    server.ask(b"x\n");
    let record = server.until_record("guest ended");
    let row = rows("| message | level |").into_iter().find(|(name, _)| *name == "guest ended");
    let fields = row.unwrap().1.rsplit_once("| `").unwrap().1.split('`').next().unwrap();
    let mut rest = record.as_str();
    for field in fields.split(' ') {
        rest = rest.split_once(&format!(" {field}=")).expect(field).1;
    }
}
