//! Firmware that is known to be vulnerable: what is published, and what the operator adds.

use std::sync::LazyLock;

use hcl::{Problem, Values};
use verify::Advisory;

use crate::firmware::{range, vendor_of};
use crate::schema::ADVISORIES;

/// What is published, from `advisories.hcl`, which a test reads without a problem.
pub fn published() -> &'static [Advisory] {
    static ADVISED: LazyLock<Vec<Advisory>> = LazyLock::new(|| {
        let (values, mut problems) = ADVISORIES.read(PUBLISHED);
        let mut advisories = Vec::new();
        add(&mut advisories, &values, &mut problems);
        advisories
    });
    &ADVISED
}

/// What is published and what `advisory` blocks add.
pub(crate) fn all(values: &Values, problems: &mut Vec<Problem>) -> Vec<Advisory> {
    let mut advisories = published().to_vec();
    add(&mut advisories, values, problems);
    advisories
}

/// Blocks of a name that is there already add their range to it.
fn add(advisories: &mut Vec<Advisory>, values: &Values, problems: &mut Vec<Problem>) {
    for block in values.blocks("advisory") {
        let name = name(block, problems);
        let vendor = match block.text("vendor") {
            Some(vendor) => vendor_of(vendor, problems).map(Some),
            None => Some(None),
        };
        let range = range(block, vendor.flatten(), problems);
        let (Some(name), Some(_), Some(range)) = (name, vendor, range) else {
            continue;
        };
        match advisories.iter_mut().find(|other| other.name == name) {
            Some(advisory) => advisory.affected.push(range),
            None => advisories.push(Advisory {
                name: name.to_owned(),
                affected: vec![range],
            }),
        }
    }
}

fn name<'a>(block: &'a Values, problems: &mut Vec<Problem>) -> Option<&'a str> {
    let Some(label) = block.label() else {
        let message = "an advisory block needs a label: its name";
        problems.push(Problem::new(block.start(), message));
        return None;
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=MAX_NAME).contains(&label.value.len()) && label.value.bytes().all(is_plain) {
        return Some(label.value);
    }
    let shown = hcl::shown(label.value);
    let message =
        format!("the name of an advisory is 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -, not {shown}");
    problems.push(Problem::new(label.position, message));
    None
}

/// Characters of a name, which goes into the log.
const MAX_NAME: usize = 64;

const PUBLISHED: &str = include_str!("advisories.hcl");

#[cfg(test)]
mod tests {
    use store::vendor;
    use verify::FirmwareVersion;

    use super::*;

    fn affecting(maker: &str, version: &str) -> Vec<&'static str> {
        let version = FirmwareVersion::lowest(version).unwrap();
        let affects = |advisory: &&Advisory| {
            let mut ranges = advisory.affected.iter();
            ranges.any(|range| range.contains(vendor(maker), version))
        };
        let names = published().iter().filter(affects);
        names.map(|advisory| advisory.name.as_str()).collect()
    }

    #[test]
    fn what_is_published_can_be_read_and_says_where() {
        let (values, mut problems) = ADVISORIES.read(PUBLISHED);
        let mut advisories = Vec::new();
        add(&mut advisories, &values, &mut problems);
        assert_eq!(problems, []);
        assert_eq!(advisories, published());
        let blocks = values.blocks("advisory");
        for block in blocks {
            let source = block.text("source").unwrap().value;
            assert!(source.starts_with("https://"), "{source}");
            assert!(block.text("vendor").is_some(), "about one vendor");
        }
        let ranges: usize = published()
            .iter()
            .map(|advisory| advisory.affected.len())
            .sum();
        assert_eq!(ranges, blocks.len(), "none is lost");
    }

    #[test]
    fn boundaries_are_those_of_the_sources() {
        for (maker, version, expect) in [
            ("IFX", "3.65535", ""),
            ("IFX", "4.33.65535.65535", "CVE-2017-15361"),
            ("IFX", "4.34", ""),
            ("IFX", "4.39.65535", ""),
            ("IFX", "4.40", "CVE-2017-15361"),
            ("IFX", "4.42.1", "CVE-2017-15361"),
            ("IFX", "4.43", ""),
            ("IFX", "5.61", "CVE-2017-15361"),
            ("IFX", "5.62", ""),
            ("IFX", "6.42", "CVE-2017-15361"),
            ("IFX", "6.43", ""),
            ("IFX", "7.61.2785.0", "CVE-2017-15361"),
            ("IFX", "7.62", ""),
            ("IFX", "7.85.4555.0", ""),
            ("IFX", "133.32", "CVE-2017-15361"),
            ("IFX", "133.33", ""),
            ("IFX", "15.20", "CVE-2025-2884"),
            ("IFX", "15.22.16832.0", "CVE-2025-2884"),
            ("IFX", "15.23.17664.0", ""),
            ("STM", "5.61", ""),
            ("STM", "71.0", "CVE-2019-16863"),
            ("STM", "71.4", "CVE-2019-16863"),
            ("STM", "71.12", "CVE-2019-16863"),
            ("STM", "71.16", ""),
            ("STM", "73.0", "CVE-2019-16863"),
            ("STM", "73.4", "CVE-2019-16863"),
            ("STM", "73.5", "CVE-2019-16863"),
            ("STM", "73.8.1.2", "CVE-2019-16863"),
            ("STM", "73.9", "CVE-2019-16863"),
            ("STM", "73.20", ""),
            ("STM", "73.21", ""),
            ("STM", "73.64", ""),
            ("STM", "73.65", ""),
            ("STM", "74.0", "CVE-2019-16863"),
            ("STM", "74.4", "CVE-2019-16863"),
            ("STM", "74.5", "CVE-2019-16863"),
            ("STM", "74.8", "CVE-2019-16863"),
            ("STM", "74.9", "CVE-2019-16863"),
            ("STM", "74.16", "CVE-2019-16863"),
            ("STM", "74.20", ""),
            ("STM", "74.21", ""),
            ("STM", "74.64", ""),
            ("STM", "74.65", ""),
            ("NTC", "7.2.0.0", ""),
            ("NTC", "7.2.0.1", "CVE-2020-25082"),
            ("NTC", "7.2.0.2", "CVE-2020-25082"),
            ("NTC", "7.2.0.3", ""),
            ("NTC", "7.2.1.0", "CVE-2020-25082"),
            ("NTC", "7.2.2.0", ""),
            ("NTC", "1.3.0.1", "CVE-2023-1017"),
            ("NTC", "1.3.1.0", "CVE-2023-1017"),
            ("NTC", "1.3.2.8", "CVE-2023-1017"),
            ("NTC", "1.3.2.20", ""),
            ("IBM", "7.61", ""),
        ] {
            let found = affecting(maker, version);
            assert_eq!(found.join(" "), expect, "{maker} {version}");
        }
    }

    #[test]
    fn blocks_add_to_what_is_published() {
        let (values, mut problems) = crate::SCHEMA.read(
            "advisory \"site-1\" { vendor = \"IFX\" to = \"7.84\" source = \"https://example.org\" }\n\
             advisory \"site-1\" { from = \"99\" }\n\
             advisory \"CVE-2023-1017\" { vendor = \"NTC\" from = \"1.3.2.9\" to = \"1.3.2.19\" }",
        );
        let advisories = all(&values, &mut problems);
        assert_eq!(problems, []);
        let affected = |name: &str| {
            let advisory = advisories.iter().find(|advisory| advisory.name == name);
            let ranges = advisory.unwrap().affected.iter();
            let shown = ranges.map(|range| {
                let vendor = range
                    .vendor
                    .map_or("any".to_owned(), |vendor| vendor.to_string());
                format!("{vendor} {} {}", range.from, range.to)
            });
            shown.collect::<Vec<_>>()
        };
        assert_eq!(
            affected("site-1"),
            [
                "IFX 0.0.0.0 7.84.65535.65535",
                "any 99.0.0.0 65535.65535.65535.65535"
            ]
        );
        assert_eq!(affected("CVE-2023-1017").len(), 4);
        assert_eq!(advisories.len(), published().len() + 1);
    }
}
