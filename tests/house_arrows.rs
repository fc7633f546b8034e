//! The arrows between crates, read from `cargo metadata`: what a crate may touch is a fact of its manifest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::run;

use crate::root;

/// The graph of normal dependencies on Linux, as resolved.
struct Graph {
    packages: BTreeMap<String, Package>,
    edges: BTreeMap<String, Vec<String>>,
}

struct Package {
    name: String,
    is_ours: bool,
    /// The library in another language that it links.
    links: Option<String>,
}

impl Graph {
    fn read() -> Self {
        let manifest = root().join("Cargo.toml").display().to_string();
        let target = "x86_64-unknown-linux-gnu";
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            target,
            "--manifest-path",
            &manifest,
        ];
        let metadata: Value = serde_json::from_str(&run(env!("CARGO"), &arguments, &[])).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
        Self {
            packages: packages
                .iter()
                .map(|package| (text(&package["id"]), Package::of(package)))
                .collect(),
            edges: nodes
                .iter()
                .map(|node| (text(&node["id"]), normal_dependencies(node)))
                .collect(),
        }
    }

    /// The packages that end up in what is built of one of our crates.
    fn of(&self, name: &str) -> Vec<&Package> {
        let start = self
            .packages
            .iter()
            .find(|(_, package)| package.is_ours && package.name == name);
        let mut left = vec![start.unwrap_or_else(|| panic!("no crate {name}")).0];
        let mut reached = BTreeSet::new();
        while let Some(id) = left.pop() {
            if reached.insert(id) {
                left.extend(&self.edges[id]);
            }
        }
        reached.into_iter().map(|id| &self.packages[id]).collect()
    }

    /// Our own crates among them, without itself.
    fn ours_below(&self, name: &str) -> BTreeSet<&str> {
        let ours = self
            .of(name)
            .into_iter()
            .filter(|package| package.is_ours && package.name != name);
        ours.map(|package| package.name.as_str()).collect()
    }
}

impl Package {
    fn of(package: &Value) -> Self {
        Self {
            name: text(&package["name"]),
            is_ours: package["source"].is_null(),
            links: package["links"].as_str().map(str::to_owned),
        }
    }
}

fn normal_dependencies(node: &Value) -> Vec<String> {
    let is_normal = |kind: &Value| kind["kind"].is_null();
    let dependencies = node["deps"].as_array().unwrap().iter();
    dependencies
        .filter(|dependency| {
            dependency["dep_kinds"]
                .as_array()
                .unwrap()
                .iter()
                .any(is_normal)
        })
        .map(|dependency| text(&dependency["pkg"]))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Each crate, and those of ours that it may reach.
const ARROWS: [(&str, &[&str]); 12] = [
    ("evidence", &[]),
    ("eventlog", &[]),
    ("hcl", &[]),
    ("verify", &["eventlog", "evidence"]),
    ("plugin", &["hcl"]),
    ("tpm", &["evidence"]),
    ("store", &["eventlog", "evidence", "verify"]),
    (
        "policy",
        &["eventlog", "evidence", "hcl", "store", "verify"],
    ),
    ("softtpm", &["evidence"]),
    (
        "conformance",
        &["eventlog", "evidence", "hcl", "plugin", "softtpm", "verify"],
    ),
    ("agent", &["evidence", "hcl", "plugin", "tpm"]),
    (
        "server",
        &[
            "eventlog", "evidence", "hcl", "plugin", "policy", "store", "verify",
        ],
    ),
];

#[test]
fn crates_reach_what_they_may_and_nothing_else() {
    let graph = Graph::read();
    for (name, may) in ARROWS {
        assert_eq!(
            graph.ours_below(name),
            may.iter().copied().collect(),
            "{name}"
        );
    }
    for absent in ["agent", "server"] {
        for tool in ["conformance", "ctl"] {
            assert!(
                !graph.ours_below(tool).contains(absent),
                "{tool} on {absent}"
            );
        }
    }
}

#[test]
fn the_agent_judges_nobody() {
    let graph = Graph::read();
    let below = graph.ours_below("agent");
    for absent in ["eventlog", "verify", "policy", "store", "softtpm", "server"] {
        assert!(!below.contains(absent), "the agent depends on {absent}");
    }
}

#[test]
fn the_server_has_no_tpm_and_links_little_that_is_not_rust() {
    let graph = Graph::read();
    let built = built("server");
    let mut all = graph.of("server");
    all.retain(|package| built.contains(&package.name));
    assert!(
        all.iter()
            .all(|package| package.name != "tpm" && package.name != "softtpm")
    );
    let linked: BTreeSet<_> = all
        .iter()
        .filter(|package| package.links.is_some())
        .map(|package| package.name.as_str())
        .collect();
    // The crypto library under its two names, and the database in a file.
    assert_eq!(
        linked,
        BTreeSet::from(["aws-lc-rs", "aws-lc-sys", "libsqlite3-sys"])
    );
}

#[test]
fn what_decides_has_no_runtime_and_no_log() {
    let graph = Graph::read();
    for name in ["evidence", "eventlog", "verify", "hcl", "softtpm"] {
        let io = [
            "tokio",
            "mio",
            "tracing",
            "tracing-core",
            "log",
            "socket2",
            "rustix",
        ];
        let found: Vec<_> = graph
            .of(name)
            .into_iter()
            .map(|package| package.name.as_str())
            .filter(|package| io.contains(package))
            .collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    }
}

/// By what is built: the graph of the metadata has what a weak feature of another crate could bring, too.
#[test]
fn there_is_one_crypto_library() {
    for name in ["agent", "server", "ctl", "examples"] {
        for package in built(name) {
            assert!(
                !["ring", "openssl", "openssl-sys"].contains(&package.as_str()),
                "{name}: {package}"
            );
        }
    }
}

/// The names of the packages that one of our crates is built with, each once at least.
fn built(name: &str) -> Vec<String> {
    let manifest = root().join("Cargo.toml").display().to_string();
    let arguments = [
        "tree",
        "--package",
        name,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--target",
        "x86_64-unknown-linux-gnu",
        "--locked",
        "--offline",
        "--manifest-path",
        &manifest,
    ];
    let tree = run(env!("CARGO"), &arguments, &[]);
    let first_word = |line: &str| line.split(' ').next().map(str::to_owned);
    let names: Vec<_> = tree.lines().filter_map(first_word).collect();
    assert!(
        names.iter().any(|built| built == "aws-lc-rs"),
        "{name}: {tree}"
    );
    names
}
