//! Every silenced lint gives its reason, and nothing is left half done.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Macro, Meta};

use super::Violation;
use crate::source::Source;

const UNFINISHED_MACROS: [&str; 2] = ["todo", "unimplemented"];

pub(super) fn check(source: &Source, found: &mut Vec<Violation>) {
    Reasons { source, found }.visit_file(&source.file);
}

struct Reasons<'a> {
    source: &'a Source,
    found: &'a mut Vec<Violation>,
}

impl Reasons<'_> {
    fn report(&mut self, rule: &'static str, ident: &Ident, message: &str) {
        let line = ident.span().start().line;
        let violation = Violation::new(rule, &self.source.path, line, message);
        self.found.push(violation.item(ident.to_string()));
    }

    /// Looks into what syn leaves unparsed: `cfg_attr(..)` and the arguments of macros.
    fn check_tokens(&mut self, tokens: TokenStream, in_attribute: bool) {
        let mut tokens = tokens.into_iter().peekable();
        let mut previous = None;
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Ident(ident) if is_silencer(ident) && in_attribute => {
                    if let Some(TokenTree::Group(group)) = tokens.peek() {
                        self.check_silencer(ident, group.stream());
                    }
                }
                TokenTree::Ident(ident) if is_bang(tokens.peek()) => self.check_macro(ident),
                TokenTree::Ident(ident) if *ident == "ignore" && in_attribute => {
                    self.report("ignored-test", ident, "a test that does not run proves nothing");
                }
                TokenTree::Group(group) => {
                    let is_attribute = in_attribute || is_hash(previous.as_ref());
                    self.check_tokens(group.stream(), is_attribute);
                }
                _ => {}
            }
            previous = Some(token);
        }
    }

    fn check_silencer(&mut self, ident: &Ident, arguments: TokenStream) {
        let has_reason = arguments
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(name) if name == "reason"));
        if !has_reason {
            self.report("silenced-lint", ident, "a silenced lint gives `reason = \"...\"`");
        }
    }

    fn check_macro(&mut self, ident: &Ident) {
        if UNFINISHED_MACROS.iter().any(|name| ident == name) {
            self.report("unfinished", ident, "unfinished code is not committed");
        }
    }
}

fn is_silencer(ident: &Ident) -> bool {
    ident == "allow" || ident == "expect"
}

fn is_bang(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == '!')
}

fn is_hash(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == '#')
}

impl<'ast> Visit<'ast> for Reasons<'_> {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Some(ident) = attribute.path().get_ident() else { return };
        match &attribute.meta {
            Meta::List(list) if is_silencer(ident) => {
                self.check_silencer(ident, list.tokens.clone());
            }
            Meta::List(list) if ident == "cfg_attr" => self.check_tokens(list.tokens.clone(), true),
            _ if ident == "ignore" => {
                self.report("ignored-test", ident, "a test that does not run proves nothing");
            }
            _ => {}
        }
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        if let Some(segment) = invocation.path.segments.last() {
            self.check_macro(&segment.ident);
        }
        self.check_tokens(invocation.tokens.clone(), false);
        visit::visit_macro(self, invocation);
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings;
    use super::*;

    fn check_text(text: &str) -> Vec<String> {
        findings(check, "crates/x/src/y.rs", text)
    }

    #[test]
    fn a_silenced_lint_gives_its_reason() {
        assert_eq!(check_text("#[allow(dead_code)]\nfn a() {}"), ["1 silenced-lint allow"]);
        assert_eq!(check_text("#![expect(dead_code)]\n"), ["1 silenced-lint expect"]);
        assert!(check_text("#[allow(dead_code, reason = \"later\")]\nfn a() {}").is_empty());
        assert!(check_text("#[warn(dead_code)]\nfn a() {}").is_empty());
    }

    #[test]
    fn a_conditional_silence_gives_its_reason_too() {
        let text = "#[cfg_attr(test, allow(dead_code))]\nfn a() {}";
        assert_eq!(check_text(text), ["1 silenced-lint allow"]);
        let text = "#[cfg_attr(test, allow(dead_code, reason = \"r\"))]\nfn a() {}";
        assert!(check_text(text).is_empty());
    }

    #[test]
    fn a_silence_inside_a_macro_gives_its_reason_too() {
        let text = "m! { #[allow(dead_code)] fn a() {} }";
        assert_eq!(check_text(text), ["1 silenced-lint allow"]);
        assert!(check_text("m! { allow(x); y.expect(\"z\") }").is_empty());
    }

    #[test]
    fn unfinished_code_is_refused() {
        assert_eq!(check_text("fn a() { todo!() }"), ["1 unfinished todo"]);
        assert_eq!(
            check_text("fn a() { m!(unimplemented!(\"x\")) }"),
            ["1 unfinished unimplemented"]
        );
        assert!(check_text("fn a() { todo() }").is_empty());
    }

    #[test]
    fn ignored_tests_are_refused() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}";
        assert_eq!(check_text(text), ["2 ignored-test ignore"]);
        assert_eq!(check_text("m! { #[ignore] fn a() {} }"), ["1 ignored-test ignore"]);
        assert_eq!(check_text("#[cfg_attr(miri, ignore)]\nfn a() {}"), ["1 ignored-test ignore"]);
    }
}
