//! What the sources of production may say, read as syntax: how long a function is, and what the pure crates touch.

use std::collections::BTreeSet;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, File, ImplItemFn, Item, ItemFn, ItemMod, Path, Signature, TraitItemFn,
    UseTree,
};

use crate::{Text, none_of, read, root, sources};

/// Lines of a function, signature and braces included.
const MOST_LINES: usize = 60;

/// Crates without IO, and the first words of what they never name.
const PURE: [&str; 4] = ["evidence", "eventlog", "verify", "hcl"];
const IMPURE: [&str; 11] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::io",
    "tokio",
    "tracing",
    "SystemTime::now",
    "Instant::now",
];

/// Where the clock on the wall is read: to date what is said, and to judge certificates. A wait that ended by it would end
/// at a jump of it, so that deadlines are instants of the monotonic clock.
const WALL_CLOCK: [&str; 5] = [
    "src/conformance/peer_verifier.rs",
    "src/ctl/machine.rs",
    "src/plugin/log.rs",
    "src/plugin/metrics.rs",
    "src/server/clock.rs",
];

/// The sources of production: below `src`, without modules and directories that are tests.
pub(crate) fn production() -> Vec<(Text, File)> {
    let tests = test_modules();
    let is_test = |path: &str| {
        path.contains("/tests/")
            || tests.iter().any(|module| {
                path.starts_with(&format!("{module}/")) || path == format!("{module}.rs")
            })
    };
    let found = sources()
        .into_iter()
        .filter(|file| file.path.starts_with("src/") && !is_test(&file.path));
    let parsed: Vec<_> = found
        .map(|file| {
            let syntax = syn::parse_file(&file.text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.path));
            (file, syntax)
        })
        .collect();
    assert!(
        parsed.len() > 80,
        "production has more files than {}",
        parsed.len()
    );
    parsed
}

/// The modules, as in `src/verify/verdicts`, that a crate has for its tests only.
fn test_modules() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for directory in std::fs::read_dir(root().join("src")).unwrap() {
        let name = directory
            .unwrap()
            .file_name()
            .to_string_lossy()
            .into_owned();
        let library = syn::parse_file(&read(&format!("src/{name}/lib.rs"))).unwrap();
        for item in library.items {
            if let Item::Mod(module) = item
                && is_for_tests(&module.attrs)
            {
                found.insert(format!("src/{name}/{}", module.ident));
            }
        }
    }
    found
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Ident>()
                    .is_ok_and(|condition| condition == "test")
    })
}

#[derive(Default)]
struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        self.0
            .push((signature.ident.to_string(), first, last + 1 - first));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Every path that a source names, those of `use` in full.
#[derive(Default)]
struct Paths(Vec<String>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, "", &mut self.0);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.0.push(segments.join("::"));
        visit::visit_path(self, path);
    }
}

pub(crate) fn flatten(tree: &UseTree, before: &str, found: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &format!("{before}{}::", path.ident), found),
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|item| flatten(item, before, found)),
        UseTree::Name(name) => found.push(format!("{before}{}", name.ident)),
        UseTree::Rename(rename) => found.push(format!("{before}{}", rename.ident)),
        UseTree::Glob(_) => found.push(format!("{before}*")),
    }
}

/// Whether `path` is `impure` or lies below it, with or without what stands before.
fn names(path: &str, impure: &str) -> bool {
    let words: Vec<_> = path.split("::").collect();
    let impure: Vec<_> = impure.split("::").collect();
    words.windows(impure.len()).any(|window| window == impure)
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let mut count = 0;
    for (file, syntax) in production() {
        let mut functions = Functions::default();
        functions.visit_file(&syntax);
        count += functions.0.len();
        let too_long = functions
            .0
            .into_iter()
            .filter(|(_, _, lines)| *lines > MOST_LINES);
        long.extend(
            too_long.map(|(name, line, lines)| {
                format!("{}:{line}: {name} has {lines} lines", file.path)
            }),
        );
    }
    assert!(count > 500, "production has more functions than {count}");
    none_of("functions that are too long", &long);
}

#[test]
fn what_decides_touches_nothing_outside() {
    let mut found = Vec::new();
    for (file, syntax) in production() {
        if !PURE
            .iter()
            .any(|pure| file.path.starts_with(&format!("src/{pure}/")))
        {
            continue;
        }
        let mut paths = Paths::default();
        paths.visit_file(&syntax);
        for path in paths.0 {
            found.extend(
                IMPURE
                    .iter()
                    .filter(|impure| names(&path, impure))
                    .map(|impure| format!("{}: {path} ({impure})", file.path)),
            );
        }
    }
    none_of("pure crates that touch the world", &found);
}

/// A jump of the clock moves no deadline (tpm/J08).
#[test]
fn the_clock_on_the_wall_times_nothing() {
    let mut readers = BTreeSet::new();
    for (file, syntax) in production() {
        let mut paths = Paths::default();
        paths.visit_file(&syntax);
        if paths.0.iter().any(|path| names(path, "SystemTime::now")) {
            readers.insert(file.path);
        }
    }
    assert!(
        readers.iter().eq(WALL_CLOCK),
        "tpm/J08: the wall clock is read in {readers:?}"
    );
}

#[test]
fn impurity_is_seen_however_it_is_written() {
    for source in [
        "use std::fs;",
        "use std::{fmt, net::TcpStream};",
        "use std::time::SystemTime; fn f() { let _ = SystemTime::now(); }",
        "fn f() { std::time::Instant::now(); }",
        "use tokio::time as clock;",
        "fn f() -> std::io::Result<()> { Ok(()) }",
    ] {
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(source).unwrap());
        assert!(
            paths
                .0
                .iter()
                .any(|path| IMPURE.iter().any(|impure| names(path, impure))),
            "{source}"
        );
    }
    let mut paths = Paths::default();
    paths.visit_file(
        &syn::parse_file("#[cfg(test)] mod tests { use std::fs; } use std::fmt;").unwrap(),
    );
    assert_eq!(paths.0, ["std::fmt"]);
}
