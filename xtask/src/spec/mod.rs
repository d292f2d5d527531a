//! `cargo xtask spec`: the specification's statements against the code and the tests.

mod audit;
mod citation;
mod proof;
mod report;
mod statement;

use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::audit::Audit;
use self::statement::Statement;
use crate::source::Source;
use crate::tree::Tree;

const REPORT_PATH: &str = "docs/conformance.md";

#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Write docs/conformance.md instead of failing when it is out of date
    #[arg(long)]
    write: bool,
    /// Accept statements that nobody has judged yet
    #[arg(long)]
    allow_todo: bool,
    /// Only print ids, to work from
    #[arg(long)]
    list: Option<Selection>,
}

impl Options {
    /// Only compares, and changes no file.
    pub(crate) fn check(allow_todo: bool) -> Self {
        Self { allow_todo, ..Self::default() }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Selection {
    /// Statements with the status todo
    Todo,
    /// Statements with the status todo or done that lack a citation or a test
    Unproven,
}

pub(crate) fn run(tree: &Tree, options: &Options) -> Result<()> {
    let audit = audit(tree)?;
    if let Some(selection) = options.list {
        // A reader that has seen enough, such as `head`, closes the pipe: not a failure.
        let _ = list(&audit, selection, &mut io::stdout().lock());
        return Ok(());
    }
    for id in audit.promotable() {
        println!("spec: {id} is cited and tested, but not marked as done");
    }
    let problems = audit.problems(options.allow_todo);
    for problem in &problems {
        eprintln!("{problem}");
    }
    let is_current = compare_report(tree, &audit, options.write)?;
    println!("spec: {}", audit.summary());
    if !problems.is_empty() {
        bail!("spec: {} problems", problems.len());
    }
    if !is_current {
        bail!("spec: {REPORT_PATH} is out of date: run `cargo xtask spec --write`");
    }
    Ok(())
}

fn audit(tree: &Tree) -> Result<Audit> {
    let mut audit = Audit::default();
    for path in tree.paths() {
        if path.starts_with("spec/") && path.ends_with(".toml") {
            audit.statements.extend(statement::parse(path, &tree.read(path)?)?);
        }
        if path.starts_with("crates/") && path.ends_with(".rs") {
            let source = Source::parse(path, &tree.read(path)?)?;
            audit.citations.extend(citation::citations(&source)?);
            audit.proofs.extend(proof::proofs(&source)?);
        }
    }
    if audit.statements.is_empty() {
        bail!("spec/ holds no statements");
    }
    Ok(audit)
}

fn list(audit: &Audit, selection: Selection, output: &mut impl Write) -> io::Result<()> {
    for statement in &audit.statements {
        let lack = audit.lack(statement);
        let is_selected = match selection {
            Selection::Todo => statement.is_todo(),
            Selection::Unproven => statement.is_open() && lack.is_some(),
        };
        if is_selected {
            let lack = lack.unwrap_or("cited and tested");
            let Statement { id, subject, text, .. } = statement;
            writeln!(output, "{id}\t{subject}\t{lack}\t{text}")?;
        }
    }
    Ok(())
}

fn compare_report(tree: &Tree, audit: &Audit, write: bool) -> Result<bool> {
    let report = report::render(audit);
    let path = tree.root().join(REPORT_PATH);
    if write {
        std::fs::write(path, report)?;
        return Ok(true);
    }
    // A missing page is an outdated one.
    Ok(std::fs::read_to_string(path).unwrap_or_default() == report)
}
