//! Whom a configuration trusts: the files that it names, opened, and on what terms they count.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use hcl::{Problem, Values};
use store::{AnchorStore, DenialStore, HashDirectory, NotLoaded, Part, Report, Skipped, Sources};
use verify::{EkTrust, Terms};

use crate::rules;

/// The directories that decide who is trusted.
pub(crate) struct Paths {
    ca: Option<PathBuf>,
    hash: Option<PathBuf>,
}

impl Paths {
    /// A path that is not configured is the default one if that exists, each by itself, as STP has
    /// it. One that cannot be looked at counts as there, and fails when it is opened.
    pub(crate) fn of(values: &Values, defaults: [&Path; 2], problems: &mut Vec<Problem>) -> Self {
        for key in PATHS {
            if values.text(key).is_some_and(|text| text.value.is_empty()) {
                problems.push(values.problem(key, format!("{key} is empty")));
            }
        }
        let path = |key, default: &Path| match values.text(key) {
            Some(text) => Some(PathBuf::from(text.value)),
            None if matches!(default.try_exists(), Ok(false)) => None,
            None => Some(default.to_owned()),
        };
        let [ca, hash] = defaults;
        let paths = Self {
            ca: path("ca_path", ca),
            hash: path("hash_path", hash),
        };
        // Where something else is wrong, this may be only its consequence.
        if paths.ca.is_none() && paths.hash.is_none() && problems.is_empty() {
            let message =
                "ca_path or hash_path is required: without either no machine can be trusted";
            problems.push(values.problem("ca_path", message));
        }
        paths
    }

    /// Whether EK certificates can lead anywhere.
    pub(crate) fn has_anchors(&self) -> bool {
        self.ca.is_some()
    }
}

/// Opens the anchors and what goes with them.
pub(crate) fn anchors(
    paths: &Paths,
    values: &Values,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<AnchorStore> {
    let terms = terms(values, problems);
    let digest = values
        .text("ca_bundle_sha256")
        .and_then(|text| rules::digest(text, "ca_bundle_sha256", problems));
    let Some(ca) = paths.ca.as_deref() else {
        without_anchors(values, problems);
        return None;
    };
    let path = |key| values.text(key).map(|text| PathBuf::from(text.value));
    let crls = path("crl_path");
    if crls.is_none()
        && values
            .choice("crl_policy")
            .is_some_and(|choice| choice.value == "require")
    {
        problems.push(values.problem("crl_policy", "crl_policy = \"require\" needs crl_path"));
    }
    let has_crls = crls.is_some();
    let sources = Sources {
        anchors: ca.to_owned(),
        intermediates: path("intermediates_path"),
        crls,
        digest,
        terms,
    };
    match AnchorStore::open(sources) {
        Ok((store, report)) => {
            warnings.extend(loaded_warnings(&report));
            if report.anchors == 0 {
                warnings.push(format!("{} holds no certificate yet", ca.display()));
            }
            if has_crls && report.crls == 0 {
                warnings.push("crl_path holds no list of these CAs yet".to_owned());
            }
            Some(store)
        }
        Err(error) => {
            let key = key(&error);
            problems.push(values.problem(key, format!("unable to load {key}: {error}")));
            None
        }
    }
}

/// Opens the allow-list.
pub(crate) fn hashes(
    paths: &Paths,
    values: &Values,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<HashDirectory> {
    match HashDirectory::open(paths.hash.as_deref()?) {
        Ok((hashes, odd)) => {
            let warning = |name| format!("hash_path: {} is no EK's hash", hcl::shown(name));
            warnings.extend(odd.iter().map(String::as_str).map(warning));
            Some(hashes)
        }
        Err(error) => {
            let message = format!("unable to read hash_path: {error}");
            problems.push(values.problem("hash_path", message));
            None
        }
    }
}

/// Opens the deny list.
pub(crate) fn denials(values: &Values, problems: &mut Vec<Problem>) -> Option<DenialStore> {
    let path = values.text("ek_deny_path")?;
    match DenialStore::open(Path::new(path.value)) {
        Ok(store) => Some(store),
        Err(error) => {
            let message = format!("unable to load ek_deny_path: {error}");
            problems.push(values.problem("ek_deny_path", message));
            None
        }
    }
}

/// What has to vouch for an EK.
pub(crate) fn ek_trust(values: &Values, paths: &Paths, problems: &mut Vec<Problem>) -> EkTrust {
    let both = values
        .choice("ek_trust")
        .is_some_and(|choice| choice.value == "both");
    match (&paths.ca, &paths.hash) {
        (Some(_), Some(_)) if both => EkTrust::Both,
        (Some(_), Some(_)) => EkTrust::Either,
        (_, hash) => {
            if both {
                let message = "ek_trust = \"both\" needs ca_path and hash_path";
                problems.push(values.problem("ek_trust", message));
            }
            if hash.is_some() {
                EkTrust::Enrolment
            } else {
                EkTrust::Certificate
            }
        }
    }
}

/// What an operator should know about files that were loaded.
pub fn loaded_warnings(report: &Report) -> Vec<String> {
    let shown = |name: &std::ffi::OsStr| hcl::shown(&name.to_string_lossy());
    let skipped = |skipped: &Skipped| format!("skipped {}: {}", shown(&skipped.file), skipped.why);
    let foreign = |file: &std::ffi::OsString| {
        let file = shown(file);
        format!("not used: {file}: a revocation list of a CA that is not configured")
    };
    let unmatched = |digest: &[u8; 32]| {
        let digest = hex::encode(digest);
        format!("anchor \"{digest}\": there is no such certificate in ca_path")
    };
    let skipped = report.skipped.iter().map(skipped);
    let foreign = report.foreign.iter().map(foreign);
    let unmatched = report.unmatched.iter().map(unmatched);
    skipped.chain(foreign).chain(unmatched).collect()
}

/// The terms in `anchor` blocks, by the certificate's digest.
fn terms(values: &Values, problems: &mut Vec<Problem>) -> BTreeMap<[u8; 32], Terms> {
    let mut all = BTreeMap::new();
    for block in values.blocks("anchor") {
        let terms = Terms {
            vendors: rules::vendors(block, problems),
            waivers: rules::waivers(block, problems),
        };
        let Some(label) = block.label() else {
            let message = "an anchor block needs a label: the SHA-256 of its certificate";
            problems.push(Problem::new(block.start(), message));
            continue;
        };
        let Some(digest) = rules::digest(label, "the label of an anchor block", problems) else {
            continue;
        };
        match all.entry(digest) {
            Entry::Vacant(entry) => drop(entry.insert(terms)),
            Entry::Occupied(_) => {
                let message = "there is an anchor block for this certificate already";
                problems.push(Problem::new(label.position, message));
            }
        }
    }
    all
}

/// Keys that say something about certificates say nothing where there is no anchor.
fn without_anchors(values: &Values, problems: &mut Vec<Problem>) {
    let mut needs = |key: &str, is_set: bool| {
        if is_set {
            problems.push(values.problem(key, format!("{key} needs ca_path")));
        }
    };
    for key in ["intermediates_path", "ca_bundle_sha256", "crl_path"] {
        needs(key, values.text(key).is_some());
    }
    needs("vendors", values.texts("vendors").is_some());
    needs("crl_policy", values.choice("crl_policy").is_some());
    needs("anchor", !values.blocks("anchor").is_empty());
}

/// The key whose value is to blame.
fn key(error: &NotLoaded) -> &'static str {
    match error.part() {
        Part::Anchors => "ca_path",
        Part::Intermediates => "intermediates_path",
        Part::Crls => "crl_path",
        Part::Digest => "ca_bundle_sha256",
    }
}

const PATHS: [&str; 6] = [
    "ca_path",
    "intermediates_path",
    "hash_path",
    "crl_path",
    "ek_deny_path",
    "evidence_path",
];

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use verify::CrlPolicy;

    use super::*;
    use crate::{Configuration, SCHEMA};

    const DIGEST: &str = "00000000000000000000000000000000000000000000000000000000000000aB";

    /// A directory of CAs, one of lists and one of hashes, all empty, and a file of each kind.
    struct Files(TempDir);

    impl Files {
        fn new() -> Self {
            let dir = TempDir::new().unwrap();
            for name in ["cas", "crls", "hashes"] {
                fs::create_dir(dir.path().join(name)).unwrap();
            }
            fs::write(dir.path().join("deny"), "# nobody\nek:\n").unwrap();
            fs::write(dir.path().join("bundle"), "").unwrap();
            Self(dir)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// `CAS`, `CRLS`, `HASHES`, `DENY`, `BUNDLE` and `ABSENT` in the text are these paths, and
        /// `DIGEST` is a digest.
        fn build(&self, text: &str) -> Result<Configuration, Vec<String>> {
            let mut text = text.replace("DIGEST", &format!("\"{DIGEST}\""));
            for name in ["cas", "crls", "hashes", "deny", "bundle", "absent"] {
                let path = format!("\"{}\"", self.path(name).display());
                text = text.replace(&name.to_uppercase(), &path);
            }
            let absent = self.path("absent");
            let (values, mut problems) = SCHEMA.read(&text);
            let defaults = [absent.as_path(), absent.as_path()];
            let read = Configuration::read(&values, "example.org", defaults, &mut problems);
            if problems.is_empty() {
                return Ok(read);
            }
            problems.sort();
            Err(problems.iter().map(ToString::to_string).collect())
        }
    }

    #[test]
    fn keys_about_certificates_need_anchors() {
        let files = Files::new();
        for (line, expect) in [
            (
                "intermediates_path = CAS",
                "2:22: intermediates_path needs ca_path",
            ),
            ("crl_path = CRLS", "2:12: crl_path needs ca_path"),
            ("crl_policy = \"use\"", "2:14: crl_policy needs ca_path"),
            ("vendors = [\"IFX\"]", "2:11: vendors needs ca_path"),
            (
                "ca_bundle_sha256 = DIGEST",
                "2:20: ca_bundle_sha256 needs ca_path",
            ),
            (
                "anchor DIGEST { vendors = [\"IFX\"] }",
                "anchor needs ca_path",
            ),
        ] {
            let problems = files
                .build(&format!("hash_path = HASHES\n{line}"))
                .unwrap_err();
            assert!(
                problems.len() == 1 && problems[0].contains(expect),
                "{problems:?}"
            );
            assert!(problems[0].starts_with("2:"), "{problems:?}");
            let good = files.build(&format!("ca_path = BUNDLE\n{line}"));
            let refused = good.err().unwrap_or_default();
            let digest_differs = |problem: &String| problem.contains("the SHA-256 of");
            assert!(refused.iter().all(digest_differs), "{refused:?}");
        }
    }

    #[test]
    fn every_problem_of_trust_has_its_place_and_its_words() {
        let files = Files::new();
        for (line, expect) in [
            ("vendors = []", "2:11: vendors must not be empty"),
            (
                "vendors = [\"STM\", \"INFX\"]",
                "2:19: unknown TPM vendor \"INFX\"; did you mean \"IFX\"?",
            ),
            (
                "vendors = [\"ifx\"]",
                "2:12: unknown TPM vendor \"ifx\"; write \"IFX\": upper and lower case matter",
            ),
            (
                "vendors = [\"Nobody Inc\"]",
                "2:12: unknown TPM vendor \"Nobody Inc\"; one of AMD, ",
            ),
            (
                "crl_policy = \"require\"",
                "2:14: crl_policy = \"require\" needs crl_path",
            ),
            ("crl_path = \"\"", "2:12: crl_path is empty"),
            (
                "crl_path = ABSENT",
                "2:12: unable to load crl_path: cannot read ",
            ),
            (
                "crl_path = BUNDLE",
                "2:12: unable to load crl_path: bundle: crl_invalid: no revocation list",
            ),
            ("ek_deny_path = \"\"", "2:16: ek_deny_path is empty"),
            (
                "ek_deny_path = ABSENT",
                "2:16: unable to load ek_deny_path: cannot read ",
            ),
            ("ek_deny_path = DENY", "deny: line 2: "),
            ("evidence_path = \"\"", "2:17: evidence_path is empty"),
            (
                "ca_bundle_sha256 = \"ab\"",
                "2:20: ca_bundle_sha256 must be a SHA-256 in 64 hex digits, not \"ab\"",
            ),
            (
                "ca_bundle_sha256 = DIGEST",
                "2:20: unable to load ca_bundle_sha256: ",
            ),
            (
                "anchor { vendors = [\"IFX\"] }",
                "2:8: an anchor block needs a label",
            ),
            (
                "anchor \"ab\" {}",
                "2:8: the label of an anchor block must be a SHA-256",
            ),
            (
                "anchor DIGEST { vendors = [] }",
                "vendors must not be empty",
            ),
            (
                "anchor DIGEST { vendors = [\"SMT\"] }",
                "unknown TPM vendor \"SMT\"; did you mean \"STM\"?",
            ),
            (
                "anchor DIGEST { waive = [\"sha\"] }",
                "unknown waiver \"sha\"; did you mean \"sha1\"?",
            ),
            (
                "anchor DIGEST { waive = [\"key_usage\"] }",
                "unknown waiver \"key_usage\"; ",
            ),
            (
                "anchor DIGEST { weive = [\"sha1\"] }",
                "unknown key \"weive\"; did you mean \"waive\"?",
            ),
        ] {
            let problems = files.build(&format!("ca_path = CAS\n{line}")).unwrap_err();
            let found = |problem: &String| problem.starts_with("2:") && problem.contains(expect);
            assert!(problems.iter().any(found), "{line}: {problems:?}");
        }
        let lower = DIGEST.to_lowercase();
        let twice = format!("ca_path = CAS\nanchor DIGEST {{}}\nanchor \"{lower}\" {{}}");
        let problems = files.build(&twice).unwrap_err();
        assert_eq!(
            problems,
            ["3:8: there is an anchor block for this certificate already"]
        );
    }

    #[test]
    fn what_is_configured_takes_effect() {
        let files = Files::new();
        fs::write(files.path("deny"), format!("{DIGEST}\n")).unwrap();
        let hcl = "ca_path = CAS\ncrl_path = CRLS\ncrl_policy = \"require\"\nek_deny_path = DENY\n\
                   vendors = [\"IFX\", \"id:00001014\"]\n\
                   anchor DIGEST { vendors = [\"STM\"] waive = [\"sha1\"] }";
        let json = "{\"ca_path\": CAS, \"crl_path\": CRLS, \"crl_policy\": \"require\", \
                    \"ek_deny_path\": DENY, \"vendors\": [\"IFX\", \"id:00001014\"], \
                    \"anchor\": {DIGEST: {\"vendors\": [\"STM\"], \"waive\": [\"sha1\"]}}}";
        for text in [hcl, json] {
            let read = files.build(text).unwrap();
            let names = read.policy.vendors.iter().flatten();
            let names: Vec<_> = names.map(ToString::to_string).collect();
            assert_eq!(names, ["IFX", "id:00001014"], "{text}");
            assert_eq!(read.policy.crl_policy, CrlPolicy::Require);
            assert_eq!(read.denials.unwrap().current().len(), 1);
            assert!(read.anchors.is_some() && read.hashes.is_none());
        }
    }

    #[test]
    fn blocks_become_terms_of_their_certificates() {
        let text = format!(
            "anchor \"{DIGEST}\" {{ vendors = [\"STM\"] waive = [\"sha1\", \"expired\"] }}\n\
             anchor \"{}\" {{}}",
            "1".repeat(64)
        );
        let (values, mut problems) = SCHEMA.read(&text);
        let terms = terms(&values, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let first = &terms[hex::decode(DIGEST).unwrap().as_slice()];
        let vendors = first.vendors.as_ref().unwrap();
        assert_eq!(vendors.len(), 1);
        assert_eq!(vendors[0].to_string(), "STM");
        assert_eq!(first.waivers.len(), 2);
        assert_eq!(terms[&[0x11; 32]], Terms::default());
    }

    #[test]
    fn warnings_name_what_is_not_used() {
        let report = Report {
            skipped: vec![Skipped {
                file: "a\n.pem".into(),
                why: "a private key, which does not belong here",
            }],
            foreign: vec!["b.crl".into()],
            unmatched: vec![[0xAB; 32]],
            ..Report::default()
        };
        assert_eq!(
            loaded_warnings(&report),
            [
                "skipped \"a\\n.pem\": a private key, which does not belong here".to_owned(),
                "not used: \"b.crl\": a revocation list of a CA that is not configured".to_owned(),
                format!(
                    "anchor \"{}\": there is no such certificate in ca_path",
                    "ab".repeat(32)
                ),
            ]
        );
    }
}
