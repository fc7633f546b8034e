//! Reads ranges of firmware versions.

use hcl::{Problem, Spanned, Values};
use store::{vendor, vendor_names};
use verify::{FirmwareRange, FirmwareVersion, Vendor};

use crate::rules::unknown;

/// The range in `from` and `to` of a block; `None` where they are wrong.
pub(crate) fn range(
    block: &Values,
    vendor: Option<Vendor>,
    problems: &mut Vec<Problem>,
) -> Option<FirmwareRange> {
    let (from, to) = (block.text("from"), block.text("to"));
    if from.is_none() && to.is_none() {
        if block.is_sound() {
            let message = "from or to is required: without them every version is meant";
            problems.push(Problem::new(block.start(), message));
        }
        return None;
    }
    let lowest = version(
        from,
        FirmwareVersion::lowest,
        FirmwareVersion::MIN,
        problems,
    );
    let highest = version(to, FirmwareVersion::highest, FirmwareVersion::MAX, problems);
    let (from, to) = (lowest?, highest?);
    if from > to {
        problems.push(block.problem("from", "from is a higher version than to"));
        return None;
    }
    Some(FirmwareRange { vendor, from, to })
}

/// The vendor of a name.
pub(crate) fn vendor_of(name: Spanned<&str>, problems: &mut Vec<Problem>) -> Option<Vendor> {
    let vendor = vendor(name.value);
    if vendor.is_none() {
        let message = unknown("TPM vendor", name.value, &vendor_names());
        problems.push(Problem::new(name.position, message));
    }
    vendor
}

fn version(
    text: Option<Spanned<&str>>,
    read: fn(&str) -> Option<FirmwareVersion>,
    absent: FirmwareVersion,
    problems: &mut Vec<Problem>,
) -> Option<FirmwareVersion> {
    let Some(text) = text else {
        return Some(absent);
    };
    let version = read(text.value);
    if version.is_none() {
        let shown = hcl::shown(text.value);
        let message =
            format!("a firmware version is one to four numbers such as \"7.85\", not {shown}");
        problems.push(Problem::new(text.position, message));
    }
    version
}
