//! The mutants of the crates that decide: found in their sources, numbered, and written into a copy of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::copy::{self, SWITCH};
use crate::finder::find;
use crate::rewrite::{Rewritten, rewrite};
use crate::site::Site;
use crate::syntax::{integer_constants, is_for_tests, other_constants};

/// The crates whose checks decide who gets an identity.
pub(crate) const CRATES: [&str; 5] = ["evidence", "eventlog", "verify", "policy", "server"];

/// One change of production.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// What switches it on.
    pub(crate) number: u32,
    /// The number by which its place is known.
    pub(crate) site: u32,
    /// The line that it is on.
    pub(crate) line: usize,
    /// Whether its place decides over a refusal.
    pub(crate) is_check: bool,
    /// What it is called.
    pub(crate) name: Name,
}

/// What a mutant is called, whatever its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Name {
    /// The path of the source.
    pub(crate) file: String,
    /// The function around it.
    pub(crate) function: String,
    /// The kind of change.
    pub(crate) operator: String,
    /// The source text that it changes, with single spaces.
    pub(crate) source: String,
    /// Which of those that are equal in all of the above, from 1.
    #[serde(default = "first")]
    pub(crate) occurrence: u32,
}

fn first() -> u32 {
    1
}

impl Mutant {
    /// The crate that it is in.
    pub(crate) fn package(&self) -> &str {
        self.name.file.split('/').nth(1).unwrap_or_default()
    }

    /// Whether it is in what the server plugin alone runs, so that tests of it as a process judge it too.
    pub(crate) fn is_of_the_server(&self) -> bool {
        ["policy", "server"].contains(&self.package())
    }
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Name {
            file,
            function,
            operator,
            source,
            occurrence,
        } = &self.name;
        write!(
            out,
            "{file}:{}: {function}: {operator}: {source}",
            self.line
        )?;
        if *occurrence > 1 {
            write!(out, " (occurrence {occurrence})")?;
        }
        Ok(())
    }
}

/// The sources of a workspace with all their mutants.
pub(crate) struct Mutated {
    sources: BTreeMap<String, Source>,
    switches: BTreeSet<String>,
    /// All mutants, in the order of their numbers.
    pub(crate) mutants: Vec<Mutant>,
    /// The sites left out, by file and line.
    pub(crate) left_out: Vec<(String, usize)>,
}

struct Source {
    text: String,
    sites: Vec<(Site, u32)>,
    rewritten: Rewritten,
    /// The library's own file declares the switch.
    is_library: bool,
}

/// Finds every mutant of the workspace at `root`, but for the sites that `without` names by file and place.
pub(crate) fn mutate(root: &Path, without: &BTreeSet<(String, usize)>) -> Result<Mutated> {
    let mut files = BTreeMap::new();
    for name in CRATES {
        read_module(root, &format!("src/{name}"), "lib", &mut files)?;
    }
    let mut sources = BTreeMap::new();
    let (mut mutants, mut left_out) = (Vec::new(), Vec::new());
    let mut number = 1;
    for (path, (text, syntax)) in &files {
        let constants = constants_of(&files, path);
        let mut sites = find(text, syntax, &constants);
        sites.retain(|site| {
            let is_kept = !without.contains(&(path.clone(), site.range.start));
            if !is_kept {
                left_out.push((path.clone(), line_of(text, site.range.start)));
            }
            is_kept
        });
        sites.sort_by_key(|site| (site.range.start, usize::MAX - site.range.end));
        let mut numbered = Vec::new();
        for site in sites {
            let first = number;
            for change in &site.changes {
                mutants.push(named(path, text, &site, change.operator, first, number));
                number += 1;
            }
            numbered.push((site, first));
        }
        let rewritten = rewrite(text, &numbered);
        let source = Source {
            text: text.clone(),
            sites: numbered,
            rewritten,
            is_library: path.ends_with("/lib.rs"),
        };
        sources.insert(path.clone(), source);
    }
    count_occurrences(&mut mutants);
    let switches = CRATES.map(|name| format!("src/{name}/{SWITCH}"));
    Ok(Mutated {
        sources,
        switches: switches.into_iter().collect(),
        mutants,
        left_out,
    })
}

impl Mutated {
    /// Writes the copy.
    pub(crate) fn write(&self, root: &Path, to: &Path) -> Result<()> {
        copy::copy(root, to, &|path| self.text(path))?;
        for switch in &self.switches {
            copy::write_if_new(&to.join(switch), include_bytes!("switch.rs"), to)?;
        }
        Ok(())
    }

    fn text(&self, path: &str) -> Option<String> {
        let source = self.sources.get(path)?;
        if source.is_library {
            return Some(format!(
                "{SILENCED}\n{}\nmod mutants;\n",
                source.rewritten.text
            ));
        }
        Some(source.rewritten.text.clone())
    }

    /// The site whose text holds a byte of a file of the copy, by file and place.
    pub(crate) fn site_at(&self, path: &str, byte: usize) -> Option<(String, usize)> {
        let source = self.sources.get(path)?;
        let before = if source.is_library {
            SILENCED.len() + 1
        } else {
            0
        };
        let index = source.rewritten.site_at(byte.checked_sub(before)?)?;
        let (site, _) = source.sites.get(index)?;
        Some((path.to_owned(), site.range.start))
    }

    /// Lines of the sources that have mutants.
    pub(crate) fn lines(&self) -> usize {
        self.sources
            .values()
            .map(|source| source.text.lines().count())
            .sum()
    }
}

type Files = BTreeMap<String, (String, syn::File)>;

/// Reads a module and those that it declares, but for tests.
fn read_module(root: &Path, directory: &str, name: &str, files: &mut Files) -> Result<()> {
    let path = [
        format!("{directory}/{name}.rs"),
        format!("{directory}/{name}/mod.rs"),
    ]
    .into_iter()
    .find(|path| root.join(path).is_file())
    .ok_or_else(|| anyhow!("no module {name} in {directory}"))?;
    let text = fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
    let syntax = syn::parse_file(&text).with_context(|| path.clone())?;
    let below = if name == "lib" {
        directory.to_owned()
    } else {
        format!("{directory}/{name}")
    };
    for item in &syntax.items {
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
            && !is_for_tests(&module.attrs)
        {
            read_module(root, &below, &module.ident.to_string(), files)?;
        }
    }
    files.insert(path, (text, syntax));
    Ok(())
}

/// The integer constants that a source can name: its own, its crate's where it has none of that name, and the limits of
/// `evidence`.
fn constants_of(files: &Files, path: &str) -> BTreeSet<String> {
    let package: String = path.split_inclusive('/').take(2).collect();
    let seen = files
        .iter()
        .filter(|(other, _)| other.starts_with(&package) || *other == "src/evidence/limits.rs");
    let mut found: BTreeSet<_> = seen
        .flat_map(|(_, (_, syntax))| integer_constants(syntax))
        .collect();
    if let Some((_, own)) = files.get(path) {
        for name in other_constants(own) {
            found.remove(&name);
        }
    }
    found
}

fn named(path: &str, text: &str, site: &Site, operator: &str, first: u32, number: u32) -> Mutant {
    let source = text.get(site.range.clone()).unwrap_or_default();
    Mutant {
        number,
        site: first,
        line: line_of(text, site.range.start),
        is_check: site.is_check,
        name: Name {
            file: path.to_owned(),
            function: site.function.clone(),
            operator: operator.to_owned(),
            source: source.split_whitespace().collect::<Vec<_>>().join(" "),
            occurrence: 1,
        },
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    let before = text.get(..byte).unwrap_or_default();
    before.matches('\n').count() + 1
}

fn count_occurrences(mutants: &mut [Mutant]) {
    let mut seen: BTreeMap<Name, u32> = BTreeMap::new();
    for mutant in mutants {
        let count = seen.entry(mutant.name.clone()).or_default();
        *count += 1;
        mutant.name.occurrence = *count;
    }
}

/// A mutant may be silly; only what does not compile is left out. In two pieces, because no source may
/// silence lints.
const SILENCED: &str = concat!(
    "#![",
    "al",
    "low(warnings, arithmetic_overflow, overflowing_literals, unconditional_panic, unconditional_recursion)]"
);
