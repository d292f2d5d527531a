//! Naming rules: names that say nothing are refused.

use proc_macro2::Ident;
use syn::visit::{self, Visit};
use syn::{
    Field, ImplItemFn, ItemConst, ItemEnum, ItemFn, ItemImpl, ItemMod, ItemStatic, ItemStruct,
    ItemTrait, ItemType, PatIdent, TraitItemFn,
};

use super::Violation;
use crate::source::{Source, is_test_function};

const EMPTY_NAMES: [&str; 7] = ["common", "helper", "helpers", "manager", "misc", "util", "utils"];

pub(super) fn check(source: &Source, found: &mut Vec<Violation>) {
    for part in source.path.split('/') {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if EMPTY_NAMES.contains(&name) {
            let message = format!("`{name}` does not say what the file or folder is for");
            found.push(Violation::new("module-name", &source.path, 1, message).item(name));
        }
    }
    Names { source, found }.visit_file(&source.file);
}

struct Names<'a> {
    source: &'a Source,
    found: &'a mut Vec<Violation>,
}

impl Names<'_> {
    fn report(&mut self, rule: &'static str, ident: &Ident, message: &str) {
        let line = ident.span().start().line;
        let message = format!("`{ident}` {message}");
        let violation = Violation::new(rule, &self.source.path, line, message);
        self.found.push(violation.item(ident.to_string()));
    }

    fn check_function(&mut self, ident: &Ident) {
        let name = ident.to_string();
        if name.starts_with("get_") {
            self.report("function-name", ident, "starts with `get_`: name what it returns");
        }
        if name.starts_with("new_") {
            self.report("function-name", ident, "starts with `new_`: say what differs");
        }
        self.check_number(ident);
    }

    fn check_number(&mut self, ident: &Ident) {
        let name = ident.to_string();
        // QoS 2 is the specification's own name for a thing.
        let is_qos = name.to_lowercase().ends_with("qos_2");
        if name.ends_with("_2") && !is_qos {
            self.report("numbered-name", ident, "is numbered: say what differs");
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if EMPTY_NAMES.iter().any(|name| module.ident == name) {
            self.report("module-name", &module.ident, "does not say what the module is for");
        }
        self.check_number(&module.ident);
        visit::visit_item_mod(self, module);
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        // The name of a test is a sentence: it may start with "new" and end with a value.
        if !is_test_function(&function.attrs) {
            self.check_function(&function.sig.ident);
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        // The names in the implementation of a trait are the trait's choice.
        if block.trait_.is_none() {
            visit::visit_item_impl(self, block);
        } else {
            for item in &block.items {
                if let syn::ImplItem::Fn(function) = item {
                    self.visit_block(&function.block);
                }
            }
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.check_function(&function.sig.ident);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        self.check_function(&function.sig.ident);
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.check_number(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        self.check_number(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.check_number(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.check_number(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.check_number(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        self.check_number(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_field(&mut self, field: &'ast Field) {
        if let Some(ident) = &field.ident {
            self.check_number(ident);
        }
        visit::visit_field(self, field);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        self.check_number(&pattern.ident);
        visit::visit_pat_ident(self, pattern);
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
    fn empty_file_and_folder_names_are_refused() {
        for path in ["crates/x/src/utils.rs", "crates/x/src/utils/y.rs"] {
            assert_eq!(findings(check, path, ""), ["1 module-name utils"], "{path}");
        }
        assert!(findings(check, "crates/x/src/utility_meter.rs", "").is_empty());
    }

    #[test]
    fn empty_module_names_are_refused() {
        assert_eq!(check_text("mod session;\nmod manager;\n"), ["2 module-name manager"]);
        assert_eq!(check_text("mod helpers { }\n"), ["1 module-name helpers"]);
    }

    #[test]
    fn function_prefixes_without_meaning_are_refused() {
        assert_eq!(check_text("fn get_id() {}"), ["1 function-name get_id"]);
        assert_eq!(check_text("impl S { fn new_id() {} }"), ["1 function-name new_id"]);
        assert_eq!(check_text("trait T { fn get_id(); }"), ["1 function-name get_id"]);
        assert!(check_text("fn get() {}\nimpl S { fn new() {} fn newest() {} }").is_empty());
    }

    #[test]
    fn a_trait_chooses_the_names_of_its_functions_but_not_of_their_variables() {
        assert!(check_text("impl T for S { fn get_ref(&self) {} }").is_empty());
        let text = "impl T for S { fn get_ref(&self) { let a_2 = 1; } }";
        assert_eq!(check_text(text), ["1 numbered-name a_2"]);
    }

    #[test]
    fn numbered_names_are_refused() {
        assert_eq!(check_text("fn a(b_2: u8) {}"), ["1 numbered-name b_2"]);
        assert_eq!(check_text("struct S { a_2: u8 }"), ["1 numbered-name a_2"]);
        assert_eq!(check_text("const A_2: u8 = 0;"), ["1 numbered-name A_2"]);
        assert_eq!(check_text("fn a() { let b_2 = 0; }"), ["1 numbered-name b_2"]);
        assert!(check_text("fn on_qos_2() { let level2 = 0; a_2(); }").is_empty());
    }

    #[test]
    fn test_functions_are_named_by_sentences() {
        assert!(check_text("#[test]\nfn new_session_with_retain_handling_2() {}").is_empty());
    }
}
