//! Citations: the ids that code names where it enforces a statement.

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use super::statement::{ids, is_id};
use crate::source::Source;

/// A line of code outside of tests that says which statement it enforces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Citation {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) line: usize,
}

/// All citations of a file: `[id]` in comments, and string literals that are an id as a whole.
pub(super) fn citations(source: &Source) -> Result<Vec<Citation>> {
    if source.is_test_file() || !source.path.contains("/src/") {
        return Ok(Vec::new());
    }
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let comment = comment(line);
        lines.extend(bracketed(comment).map(|id| (index + 1, id.to_owned())));
    }
    let tokens: TokenStream =
        source.text.parse().ok().with_context(|| format!("cannot read {}", source.path))?;
    literals(tokens, &mut lines);
    lines.retain(|(line, _)| !source.is_test_line(*line));
    lines.sort();
    lines.dedup();
    let path = &source.path;
    Ok(lines.into_iter().map(|(line, id)| Citation { id, path: path.clone(), line }).collect())
}

/// The comment of a line, if any. The text at the head of a file enforces nothing.
fn comment(line: &str) -> &str {
    let is_head = line.trim_start().starts_with("//!");
    line.find("//").filter(|_| !is_head).map_or("", |start| &line[start..])
}

/// The ids between brackets: `[id]` or `[id, id]`.
fn bracketed(comment: &str) -> impl Iterator<Item = &str> {
    ids(comment).filter_map(|(start, id)| {
        let opened = comment[..start].rfind('[').is_some_and(|open| {
            comment[open + 1..start]
                .split(',')
                .all(|part| part.trim().is_empty() || is_id(part.trim()))
        });
        let closed = comment[start + id.len()..].trim_start().starts_with([']', ',']);
        (opened && closed).then_some(id)
    })
}

fn literals(tokens: TokenStream, lines: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), lines),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let text = text.trim_matches('"');
                if is_id(text) {
                    lines.push((literal.span().start().line, text.to_owned()));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(text: &str) -> Vec<String> {
        let source = Source::parse("crates/x/src/y.rs", text).unwrap();
        let citations = citations(&source).unwrap();
        citations.iter().map(|citation| format!("{} {}", citation.line, citation.id)).collect()
    }

    #[test]
    fn comments_cite_in_brackets() {
        assert_eq!(cited("fn a() {} // [MQTT5-3.3.2-2]\n"), ["1 MQTT5-3.3.2-2"]);
        assert_eq!(cited("/// Why: [MQTT31-3.1-1].\nfn a() {}\n"), ["1 MQTT31-3.1-1"]);
        assert_eq!(
            cited("// [MQTT5-3.3.2-2] [MQTT311-3.3.2-2]\n"),
            ["1 MQTT311-3.3.2-2", "1 MQTT5-3.3.2-2"]
        );
        assert_eq!(cited("// [MQTT5-3.3.2-2, MQTT311-3.3.2-2]\n").len(), 2);
    }

    #[test]
    fn an_id_without_brackets_is_no_citation() {
        assert!(cited("// unlike MQTT5-3.3.2-2\nfn a() {}\n").is_empty());
        assert!(cited("// [see] MQTT5-3.3.2-2]\n").is_empty());
        assert!(cited("//! About [MQTT5-3.3.2-2].\n").is_empty());
        assert!(cited("fn a() { b[c]; }\n").is_empty());
    }

    #[test]
    fn a_string_that_is_an_id_is_a_citation() {
        assert_eq!(cited("fn a() -> &str { m!(\"MQTT5-3.3.2-2\") }\n"), ["1 MQTT5-3.3.2-2"]);
        assert!(cited("fn a() -> &str { \"not MQTT5-3.3.2-2\" }\n").is_empty());
    }

    #[test]
    fn tests_cite_nothing() {
        let text =
            "#[cfg(test)]\nmod tests {\n    // [MQTT5-3.3.2-2]\n    fn a() { \"MQTT5-1-1\"; }\n}\n";
        assert!(cited(text).is_empty());
        let source = Source::parse("crates/x/tests/it/main.rs", "// [MQTT5-3.3.2-2]\n").unwrap();
        assert!(citations(&source).unwrap().is_empty());
    }
}
