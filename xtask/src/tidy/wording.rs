//! Words that do not belong into a tracked file: leftovers, and what is private to a machine.

use std::fs;

use anyhow::{Context, Result};

use super::Violation;
use crate::tree::Tree;

/// Put together here so that this file does not break its own rule.
const LEFTOVER: &str = concat!("FIX", "ME");
const LOCAL_FOLDER: &str = concat!("/wo", "rk/");
/// A contributor's own list, one word a line, never tracked: names of hosts, people, customers.
const PRIVATE_WORDS_PATH: &str = ".git/info/private-words";

pub(super) fn check(tree: &Tree, found: &mut Vec<Violation>) -> Result<()> {
    let private_words = private_words(tree)?;
    for path in tree.paths() {
        if let Some(text) = tree.read_text(path)? {
            check_text(path, &text, &private_words, found);
        }
    }
    Ok(())
}

fn private_words(tree: &Tree) -> Result<Vec<String>> {
    let path = tree.root().join(PRIVATE_WORDS_PATH);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let words = text.lines().map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(str::to_lowercase).collect())
}

fn check_text(path: &str, text: &str, private_words: &[String], found: &mut Vec<Violation>) {
    for (index, line) in text.lines().enumerate() {
        let mut report = |rule, word: &str| {
            let message = format!("`{word}` does not belong into a tracked file");
            found.push(Violation::new(rule, path, index + 1, message).item(word));
        };
        if holds_word(line, LEFTOVER) {
            report("leftover", LEFTOVER);
        }
        if holds_local_folder(line) {
            report("local-path", LOCAL_FOLDER);
        }
        let lower = line.to_lowercase();
        for word in private_words.iter().filter(|word| holds_word(&lower, word)) {
            report("private-word", word);
        }
    }
}

/// Whether the line holds the word with no letter or digit directly before or after it.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// Whether the line names the folder at the root of a path, not a level inside a topic.
fn holds_local_folder(line: &str) -> bool {
    line.match_indices(LOCAL_FOLDER).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-+#$}>.".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str, private_words: &[&str]) -> Vec<String> {
        let words: Vec<String> = private_words.iter().map(|word| (*word).to_owned()).collect();
        let mut found = Vec::new();
        check_text("README.md", text, &words, &mut found);
        found.iter().map(|violation| format!("{} {}", violation.line, violation.rule)).collect()
    }

    #[test]
    fn leftovers_are_found() {
        assert_eq!(rules(&format!("a\n// {LEFTOVER}: b"), &[]), ["2 leftover"]);
        assert!(rules(&format!("{LEFTOVER}D"), &[]).is_empty());
    }

    #[test]
    fn local_folders_are_found_but_not_topic_levels() {
        for line in [format!("see {LOCAL_FOLDER}x"), format!("\"{LOCAL_FOLDER}\"")] {
            assert_eq!(rules(&line, &[]), ["1 local-path"], "{line}");
        }
        assert!(rules(&format!("site{LOCAL_FOLDER}x and +{LOCAL_FOLDER}y"), &[]).is_empty());
    }

    #[test]
    fn private_words_are_found_as_whole_words_in_any_case() {
        assert_eq!(rules("the host Zeus.\nzeusian", &["zeus"]), ["1 private-word"]);
        assert!(rules("the host Hera", &["zeus"]).is_empty());
    }
}
