//! Proofs: the ids that tests name with `spec!("...")`.

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::source::Source;

/// A test function that claims to prove a statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Proof {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) test: String,
}

/// All proofs of a file. It reads tokens, so it also sees into tests made by macros.
pub(super) fn proofs(source: &Source) -> Result<Vec<Proof>> {
    let tokens: TokenStream =
        source.text.parse().ok().with_context(|| format!("cannot read {}", source.path))?;
    let mut reader = Reader { source, proofs: Vec::new() };
    reader.read(tokens, "(no function)");
    Ok(reader.proofs)
}

struct Reader<'a> {
    source: &'a Source,
    proofs: Vec<Proof>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream, outer: &str) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut function = outer.to_owned();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(ident) if *ident == "fn" => {
                    if let Some(TokenTree::Ident(name)) = tokens.get(index + 1) {
                        function = name.to_string();
                    }
                }
                TokenTree::Ident(ident) if *ident == "spec" => {
                    if let Some(arguments) = invocation(&tokens[index + 1..]) {
                        self.note(arguments, &function);
                    }
                }
                TokenTree::Group(group) => {
                    self.read(group.stream(), &function);
                    // A body ends the function; its parameters in parentheses do not.
                    if group.delimiter() == Delimiter::Brace {
                        outer.clone_into(&mut function);
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, arguments: TokenStream, function: &str) {
        for token in arguments {
            let line = token.span().start().line;
            if let TokenTree::Literal(literal) = token
                && self.source.is_test_line(line)
            {
                let id = literal.to_string().trim_matches('"').to_owned();
                let (path, test) = (self.source.path.clone(), function.to_owned());
                self.proofs.push(Proof { id, path, line, test });
            }
        }
    }
}

/// The arguments of a macro, if these tokens go on as `!(...)`.
fn invocation(tokens: &[TokenTree]) -> Option<TokenStream> {
    match tokens {
        [TokenTree::Punct(bang), TokenTree::Group(group), ..] if bang.as_char() == '!' => {
            Some(group.stream())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text).unwrap();
        let proofs = proofs(&source).unwrap();
        proofs.iter().map(|proof| format!("{} {} {}", proof.line, proof.test, proof.id)).collect()
    }

    const TEST: &str = "crates/x/tests/it/main.rs";

    #[test]
    fn a_test_names_what_it_proves() {
        let text = "#[test]\nfn a(b: C) {\n    spec!(\n\"MQTT5-1-1\",\n\"MQTT5-1-2\",\n    );\n}\n";
        assert_eq!(proven(TEST, text), ["4 a MQTT5-1-1", "5 a MQTT5-1-2"]);
        let text = "fn a() { noctule_packet::spec!(\"MQTT5-1-1\"); }\nfn b() {}\n";
        assert_eq!(proven(TEST, text), ["1 a MQTT5-1-1"]);
    }

    #[test]
    fn a_test_made_by_a_macro_counts() {
        let text = "m! { fn a() { spec!(\"MQTT5-1-1\"); } }\n";
        assert_eq!(proven(TEST, text), ["1 a MQTT5-1-1"]);
    }

    #[test]
    fn a_test_module_counts_and_other_code_does_not() {
        let code = "fn a() { spec!(\"MQTT5-1-1\"); }\n";
        let tests = "#[cfg(test)]\nmod tests {\n#[test]\nfn b() { spec!(\"MQTT5-1-2\"); }\n}\n";
        let text = &format!("{code}{tests}");
        assert_eq!(proven("crates/x/src/y.rs", text), ["5 b MQTT5-1-2"]);
    }

    #[test]
    fn a_commented_or_quoted_call_proves_nothing() {
        let text = "// spec!(\"MQTT5-1-1\")\nfn a() { \"spec!(MQTT5-1-1)\"; }\n";
        assert!(proven(TEST, text).is_empty());
    }
}
