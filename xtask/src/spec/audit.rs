//! The comparison: which statements are claimed, cited and tested.

use std::collections::BTreeSet;

use super::citation::Citation;
use super::proof::Proof;
use super::statement::{Statement, Status};

/// Everything that is known about the statements of all versions.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pub(super) statements: Vec<Statement>,
    pub(super) citations: Vec<Citation>,
    pub(super) proofs: Vec<Proof>,
}

impl Audit {
    /// Everything that must be put right, one line each.
    pub(super) fn problems(&self, allow_todo: bool) -> Vec<String> {
        let mut problems = self.unknown();
        let mut seen = BTreeSet::new();
        for statement in &self.statements {
            let id = &statement.id;
            if !super::statement::is_id(id) {
                problems.push(format!("{id}: is not written as VERSION-SECTION-NUMBER"));
            }
            if !seen.insert(id) {
                problems.push(format!("{id}: has two rows"));
            }
            if statement.lacks_reason() {
                problems.push(format!("{id}: is {} without a reason", statement.status));
            }
            if statement.is_todo() && !allow_todo {
                problems.push(format!("{id}: is still todo"));
            }
            if statement.status == Status::Done
                && let Some(lack) = self.lack(statement)
            {
                problems.push(format!("{id}: is marked as done, but has {lack}"));
            }
        }
        problems
    }

    /// Ids that code or tests name, but no row has.
    fn unknown(&self) -> Vec<String> {
        let known: BTreeSet<&str> = self.statements.iter().map(|row| row.id.as_str()).collect();
        let cited = self.citations.iter().map(|found| (&found.id, &found.path, found.line));
        let tested = self.proofs.iter().map(|found| (&found.id, &found.path, found.line));
        cited
            .chain(tested)
            .filter(|(id, ..)| !known.contains(id.as_str()))
            .map(|(id, path, line)| format!("{path}:{line}: {id} has no row in spec/"))
            .collect()
    }

    /// What a statement lacks to be called done.
    pub(super) fn lack(&self, statement: &Statement) -> Option<&'static str> {
        match (self.is_cited(&statement.id), self.is_tested(&statement.id)) {
            (true, true) => None,
            (true, false) => Some("no test"),
            (false, true) => Some("no citation"),
            (false, false) => Some("no citation and no test"),
        }
    }

    /// Statements that could be marked as done.
    pub(super) fn promotable(&self) -> impl Iterator<Item = &str> {
        let is_claimed = |status| matches!(status, Status::Done | Status::Partial);
        self.statements
            .iter()
            .filter(move |row| !is_claimed(row.status) && self.lack(row).is_none())
            .map(|row| row.id.as_str())
    }

    pub(super) fn summary(&self) -> String {
        let counts = Status::ALL.map(|status| {
            let count = self.statements.iter().filter(|row| row.status == status).count();
            format!("{count} {status}")
        });
        format!("{} statements: {}", self.statements.len(), counts.join(", "))
    }

    fn is_cited(&self, id: &str) -> bool {
        self.citations.iter().any(|citation| citation.id == id)
    }

    fn is_tested(&self, id: &str) -> bool {
        self.proofs.iter().any(|proof| proof.id == id)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::statement::Binds;
    use super::*;

    pub(in super::super) fn row(id: &str, status: Status, reason: &str) -> Statement {
        Statement {
            id: id.to_owned(),
            text: "A topic name holds no | wildcard.".to_owned(),
            binds: Binds::Both,
            subject: "publish".to_owned(),
            status,
            reason: reason.to_owned(),
        }
    }

    pub(in super::super) fn cite(id: &str) -> Citation {
        Citation { id: id.to_owned(), path: "crates/x/src/y.rs".to_owned(), line: 3 }
    }

    pub(in super::super) fn prove(id: &str) -> Proof {
        let path = "crates/x/tests/it/z.rs".to_owned();
        Proof { id: id.to_owned(), path, line: 4, test: "a_test".to_owned() }
    }

    const ID: &str = "MQTT5-3.3.2-2";

    fn one(status: Status, reason: &str, cited: bool, tested: bool) -> Audit {
        Audit {
            statements: vec![row(ID, status, reason)],
            citations: if cited { vec![cite(ID)] } else { vec![] },
            proofs: if tested { vec![prove(ID)] } else { vec![] },
        }
    }

    #[test]
    fn done_needs_a_citation_and_a_test() {
        let problems = |cited, tested| one(Status::Done, "", cited, tested).problems(false);
        assert!(problems(true, true).is_empty());
        assert_eq!(problems(true, false), [format!("{ID}: is marked as done, but has no test")]);
        assert_eq!(
            problems(false, true),
            [format!("{ID}: is marked as done, but has no citation")]
        );
        assert_eq!(problems(false, false).len(), 1);
    }

    #[test]
    fn todo_is_accepted_on_request_only() {
        let audit = one(Status::Todo, "", false, false);
        assert_eq!(audit.problems(false), [format!("{ID}: is still todo")]);
        assert!(audit.problems(true).is_empty());
    }

    #[test]
    fn every_other_status_needs_a_reason() {
        for status in [Status::Partial, Status::Exception, Status::Later, Status::NotApplicable] {
            assert_eq!(one(status, " ", false, false).problems(false).len(), 1, "{status}");
            assert!(one(status, "why", false, false).problems(false).is_empty(), "{status}");
        }
    }

    #[test]
    fn unknown_and_double_ids_are_problems() {
        let mut audit = one(Status::Done, "", true, true);
        audit.citations.push(cite("MQTT5-9.9.9-9"));
        audit.proofs.push(prove("MQTT5-8.8.8-8"));
        audit.statements.push(row(ID, Status::Done, ""));
        assert_eq!(
            audit.problems(false),
            [
                "crates/x/src/y.rs:3: MQTT5-9.9.9-9 has no row in spec/".to_owned(),
                "crates/x/tests/it/z.rs:4: MQTT5-8.8.8-8 has no row in spec/".to_owned(),
                format!("{ID}: has two rows"),
            ]
        );
    }

    #[test]
    fn what_is_cited_and_tested_can_be_marked_as_done() {
        let promotable = |status, tested| one(status, "why", true, tested).promotable().count();
        assert_eq!(promotable(Status::Todo, true), 1);
        assert_eq!(promotable(Status::Todo, false), 0);
        assert_eq!(promotable(Status::Later, true), 1);
        assert_eq!(promotable(Status::Partial, true), 0);
    }
}
