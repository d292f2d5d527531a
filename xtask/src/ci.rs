//! `cargo xtask ci`: what CI runs, in CI's order, up to the first failure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::tree::Tree;
use crate::{spec, tidy};

const INTEROP: &str = "tests/interop/run";
/// A test of more than a minute, which one run of the tests is enough for.
const ONCE: &str = "cycles::memory_stays_after_two_hundred_thousand";
const NO_STD_CRATES: [&str; 4] =
    ["noctule-packet", "noctule-session", "noctule-auth", "noctule-client-core"];

/// The clients, each with what it runs on.
const CLIENTS_WITHOUT_DEFAULTS: [(&str, &str); 2] = [
    ("noctule-client", "tokio,store,webpki-roots"),
    ("noctule-client-blocking", "store,webpki-roots"),
];

/// What a peer controls must not make a pure crate panic or cut a number short.
const PURE_LINTS: [&str; 6] = [
    "clippy::cast_possible_truncation",
    "clippy::expect_used",
    "clippy::indexing_slicing",
    "clippy::panic",
    "clippy::string_slice",
    "clippy::unwrap_used",
];

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Leave out the documentation, the interoperability tests, the speed gates and the crashes
    #[arg(long)]
    fast: bool,
    /// Accept statements of the specification that nobody has judged yet
    #[arg(long)]
    allow_todo: bool,
}

pub(crate) fn run(tree: &Tree, options: &Options) -> Result<()> {
    let ci = Ci { tree };
    let start = Instant::now();
    ci.cargo("format", &["fmt", "--all", "--check"])?;
    heading("tidy");
    tidy::run(tree)?;
    heading("spec");
    spec::run(tree, &spec::Options::check(options.allow_todo))?;
    ci.cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    ci.pure_clippy()?;
    ci.cargo("tests", &["test", "--workspace"])?;
    ci.planted_faults()?;
    ci.shards()?;
    ci.examples()?;
    ci.no_std()?;
    ci.kinds_of_tls()?;
    ci.licences()?;
    if !options.fast {
        ci.documentation()?;
        ci.interop()?;
        ci.gates()?;
        ci.crashes()?;
    }
    println!("\nci: everything passed in {} s", start.elapsed().as_secs());
    Ok(())
}

fn heading(title: &str) {
    println!("\n=== {title} ===");
}

struct Ci<'a> {
    tree: &'a Tree,
}

impl Ci<'_> {
    fn cargo(&self, title: &str, arguments: &[&str]) -> Result<()> {
        heading(title);
        self.finish(self.command(&cargo_program(), arguments))
    }

    fn command(&self, program: &OsString, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        // One target folder and one profile for all steps: each step reuses what is built.
        command
            .args(arguments)
            .current_dir(self.tree.root())
            .env("CARGO_TARGET_DIR", self.target_folder())
            .stdin(Stdio::null());
        command
    }

    fn finish(&self, mut command: Command) -> Result<()> {
        let program = Path::new(command.get_program()).file_name().unwrap_or_default();
        let words = std::iter::once(program).chain(command.get_args());
        let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        println!("{shown}");
        let status = command.status().with_context(|| format!("cannot start {shown}"))?;
        if !status.success() {
            bail!("failed ({status}): {shown}");
        }
        Ok(())
    }

    fn target_folder(&self) -> PathBuf {
        let folder = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        self.tree.root().join(folder)
    }

    fn has_crate(&self, name: &str) -> bool {
        self.tree.contains(&format!("crates/{name}/Cargo.toml"))
    }

    /// The lints that only fit crates which read what a peer sent, without their tests.
    fn pure_clippy(&self) -> Result<()> {
        let mut arguments = vec!["clippy", "--lib"];
        for name in tidy::pure_crates().filter(|name| self.has_crate(name)) {
            arguments.extend(["--package", name]);
        }
        // Also warnings, since a level in the source outranks one on the command line.
        arguments.extend(["--", "-D", "warnings"]);
        for lint in PURE_LINTS {
            arguments.extend(["-D", lint]);
        }
        self.cargo("clippy: pure crates", &arguments)
    }

    /// Whatever one shard does, several do too.
    fn shards(&self) -> Result<()> {
        for shards in ["2", "4"] {
            heading(&format!("tests with {shards} shards"));
            let arguments =
                ["test", "--package", "noctule-broker-core", "--package", "noctule-broker"];
            let mut command = self.command(&cargo_program(), &arguments);
            command.args(["--test", "it", "--", "--skip", ONCE]).env("NOCTULE_SHARDS", shards);
            self.finish(command)?;
        }
        Ok(())
    }

    /// A simulation that finds nothing has to show that it would.
    fn planted_faults(&self) -> Result<()> {
        let arguments = ["test", "--package", "noctule-sim", "--features", "planted-faults"];
        let only = ["--test", "it", "planted_faults"];
        self.cargo("planted faults", &[&arguments[..], &only].concat())
    }

    /// Every example does something and ends by itself. Those that need a server are run by a test
    /// of their crate.
    fn examples(&self) -> Result<()> {
        for path in self.tree.paths() {
            let parts: Vec<&str> = path.split('/').collect();
            let ["crates", package, "examples", file] = parts[..] else { continue };
            let Some(example) = file.strip_suffix(".rs") else { continue };
            if self.tree.contains(&format!("crates/{package}/tests/examples/main.rs")) {
                continue;
            }
            let arguments = ["run", "--quiet", "--package", package, "--example", example];
            self.cargo(&format!("example: {example}"), &arguments)?;
        }
        Ok(())
    }

    /// P-17: the client's core is built without `std`, so that it brings neither clock nor socket.
    fn no_std(&self) -> Result<()> {
        let bare_target = installed_bare_target();
        let mut arguments = vec!["check", "--no-default-features"];
        for name in NO_STD_CRATES.iter().filter(|name| self.has_crate(name)) {
            arguments.extend(["--package", name]);
        }
        let title = match &bare_target {
            Some(target) => {
                arguments.extend(["--target", target]);
                format!("no_std: {target}")
            }
            None => "no_std: this host, since no bare-metal target is installed".to_owned(),
        };
        self.cargo(&title, &arguments)
    }

    /// Other cryptography than the default's, and TLS by the system's library: what works with one
    /// has to work with each. The rest of the build stays as it is.
    fn kinds_of_tls(&self) -> Result<()> {
        let test = ["test", "--package", "noctule-transport"];
        let ring = ["--no-default-features", "--features", "ring,native-roots", "--test", "it"];
        self.cargo("TLS by ring", &[&test[..], &ring].concat())?;
        let compilers = ["aws-lc-rs", "aws-lc-sys", "ring", "cc", "cmake", "openssl-sys"];
        let (aws_lc, cryptography) = (&compilers[..2], &compilers[..3]);
        for (package, features) in CLIENTS_WITHOUT_DEFAULTS {
            self.needs_none_of(package, &format!("{features},ring"), aws_lc)?;
            self.needs_none_of(package, &format!("{features},native-tls"), cryptography)?;
            // The program brings the cryptography, and no C comes with the rest.
            self.needs_none_of(package, &format!("{features},tls"), &compilers)?;
        }
        let has_library = Command::new("pkg-config")
            .args(["--exists", "openssl"])
            .status()
            .is_ok_and(|status| status.success());
        if !has_library {
            heading("TLS by the system");
            println!("NOT CHECKED: there is no OpenSSL to build with (apt-get install libssl-dev)");
            return Ok(());
        }
        let native = ["--package", "noctule-transport", "--features", "native-tls"];
        let lint = [&["clippy"], &native[..], &["--all-targets", "--", "-D", "warnings"]].concat();
        self.cargo("clippy: TLS by the system", &lint)?;
        self.cargo("TLS by the system", &[&["test"], &native[..], &["--test", "native"]].concat())
    }

    /// Looks at everything that a package is built from, build scripts included.
    fn needs_none_of(&self, package: &str, features: &str, unwanted: &[&str]) -> Result<()> {
        heading(&format!("{package} with {features} needs none of {}", unwanted.join(", ")));
        let arguments = ["tree", "--no-default-features", "--edges", "normal,build", "--prefix"];
        let mut command = self.command(&cargo_program(), &arguments);
        command.args(["none", "--package", package, "--features", features]);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("cargo tree failed ({})", output.status);
        }
        let tree = String::from_utf8(output.stdout)?;
        let names = tree.lines().filter_map(|line| line.split(' ').next());
        match names.into_iter().find(|name| unwanted.contains(name)) {
            Some(name) => bail!("{package} with {features} needs {name}"),
            None => Ok(()),
        }
    }

    fn licences(&self) -> Result<()> {
        let is_installed = Command::new(cargo_program())
            .args(["deny", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if is_installed {
            return self.cargo("licences", &["deny", "check", "licenses", "bans", "sources"]);
        }
        heading("licences");
        println!("NOT CHECKED: cargo-deny is not installed (cargo install --locked cargo-deny)");
        Ok(())
    }

    fn documentation(&self) -> Result<()> {
        heading("documentation");
        let mut command = self.command(&cargo_program(), &["doc", "--workspace", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        self.finish(command)
    }

    fn interop(&self) -> Result<()> {
        self.cargo("build the binary", &["build", "--package", "noctule"])?;
        heading("interoperability");
        let program = self.tree.root().join(INTEROP);
        fs::metadata(&program).with_context(|| format!("{INTEROP} is missing"))?;
        self.finish(self.command(&program.into_os_string(), &[]))
    }

    /// What a message costs, counted. The one step with the release profile, since only what is
    /// shipped is worth counting.
    fn gates(&self) -> Result<()> {
        let packages = ["--package", "noctule", "--package", "noctule-bench"];
        self.cargo("build for release", &[&["build", "--release"], &packages[..]].concat())?;
        let arguments =
            ["run", "--quiet", "--release", "--package", "noctule-bench", "--", "gates"];
        self.cargo("speed gates", &arguments)
    }

    /// Nothing that was acknowledged may be lost, however often the broker is killed.
    fn crashes(&self) -> Result<()> {
        let arguments =
            ["run", "--quiet", "--release", "--package", "noctule-bench", "--", "crash"];
        // The disk may have much else to write.
        let rounds = ["--rounds", "50", "--shards", "2", "--patience", "60"];
        self.cargo("crashes", &[&arguments[..], &rounds].concat())
    }
}

fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A target without an operating system, on which a hidden use of std cannot compile.
fn installed_bare_target() -> Option<String> {
    let output = Command::new("rustup").args(["target", "list", "--installed"]).output().ok()?;
    let targets = String::from_utf8(output.stdout).ok()?;
    targets.lines().find(|target| target.contains("-none")).map(str::to_owned)
}
