//! Device paths as short texts: hints to where an image came from, which no digest covers (UEFI 2.10, section 10.3).

use crate::guid::{self, Guid};
use crate::reader::Reader;
use crate::{limits, text};

/// The path as text, and whether it leads into the option ROM of a PCI device. `None` for what is no path: it is empty,
/// has no end, or more nodes than any machine's, or a node that is shorter than its own header.
pub(crate) fn describe(path: &[u8]) -> Option<(String, bool)> {
    let mut reader = Reader::new(path);
    let mut out = String::new();
    let (mut is_pci, mut is_option_rom) = (false, false);
    for _ in 0..NODES {
        let node = Node::read(&mut reader)?;
        match (node.kind, node.subtype) {
            (END, END_ENTIRE) => {
                let is_path = reader.is_empty() && !out.is_empty();
                return is_path.then(|| (text::printable(&out, limits::TEXT), is_option_rom));
            }
            (HARDWARE, PCI) => is_pci = true,
            (MEDIA, RELATIVE_OFFSET) => is_option_rom |= is_pci,
            _ => {}
        }
        let node = node.text();
        if !out.is_empty() && !node.starts_with('/') {
            out.push('/');
        }
        out.push_str(&node);
    }
    None
}

/// EFI_DEVICE_PATH_PROTOCOL: type, subtype, and what the length leaves.
struct Node<'a> {
    kind: u8,
    subtype: u8,
    data: &'a [u8],
}

impl<'a> Node<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let (kind, subtype) = (reader.u8()?, reader.u8()?);
        let length = usize::from(reader.u16()?);
        // Section 10.2: the length includes the four bytes of the header. With less, one would read the same node again.
        let data = reader.take(length.checked_sub(4)?)?;
        Some(Self {
            kind,
            subtype,
            data,
        })
    }

    /// Section 10.6.1.6, as far as it is known here; others by their numbers. Not yet fit to be shown.
    fn text(&self) -> String {
        let known = match (self.kind, self.subtype) {
            (ACPI, 1) => self.root(),
            (HARDWARE, PCI) => self.pci(),
            (MEDIA, 1) => self.partition(),
            (MEDIA, 4) => self.file(),
            (MEDIA, 6) => self.volume("FvFile"),
            (MEDIA, 7) => self.volume("Fv"),
            (MEDIA, RELATIVE_OFFSET) => self.range(),
            (kind, subtype) => NAMES
                .iter()
                .find(|(of, _)| *of == (kind, subtype))
                .map(|(_, name)| (*name).to_owned()),
        };
        known.unwrap_or_else(|| format!("Path({},{})", self.kind, self.subtype))
    }

    /// A PCI or PCI Express root bridge: the compressed EISA ID of PNP0A03 or PNP0A08, and its number.
    fn root(&self) -> Option<String> {
        let mut fields = Reader::new(self.data);
        let bridge = matches!(fields.u32()?, 0x0A03_41D0 | 0x0A08_41D0);
        let number = fields.u32()?;
        bridge.then(|| format!("PciRoot({number:#x})"))
    }

    fn pci(&self) -> Option<String> {
        match self.data {
            [function, device] => Some(format!("Pci({device:#x},{function:#x})")),
            _ => None,
        }
    }

    fn partition(&self) -> Option<String> {
        let number = Reader::new(self.data).u32()?;
        Some(format!("HD({number})"))
    }

    /// With slashes for backslashes, which would have to be escaped.
    fn file(&self) -> Option<String> {
        let (units, []) = self.data.as_chunks::<2>() else {
            return None;
        };
        let units = units.strip_suffix(&[[0; 2]]).unwrap_or(units);
        if units.is_empty() || units.len() > limits::TEXT {
            return None;
        }
        let units = units.iter().copied().map(u16::from_le_bytes);
        let text: Result<String, _> = char::decode_utf16(units).collect();
        Some(text.ok()?.replace('\\', "/"))
    }

    fn volume(&self, name: &str) -> Option<String> {
        let guid: &Guid = self.data.try_into().ok()?;
        Some(format!("{name}({})", guid::text(guid)))
    }

    fn range(&self) -> Option<String> {
        let mut fields = Reader::new(self.data);
        fields.u32()?;
        let (start, end) = (fields.size64()?, fields.size64()?);
        Some(format!("Offset({start:#x},{end:#x})"))
    }
}

/// Nodes of a path: the deepest of real ones, over several bridges and to a file, has fewer than twenty.
const NODES: usize = 64;

const HARDWARE: u8 = 1;
const ACPI: u8 = 2;
const MESSAGING: u8 = 3;
const MEDIA: u8 = 4;
const END: u8 = 0x7F;
const PCI: u8 = 1;
const RELATIVE_OFFSET: u8 = 8;
const END_ENTIRE: u8 = 0xFF;

/// Nodes of which the kind is enough.
const NAMES: [((u8, u8), &str); 11] = [
    ((HARDWARE, 3), "MemoryMapped"),
    ((MESSAGING, 2), "Scsi"),
    ((MESSAGING, 5), "Usb"),
    ((MESSAGING, 0x0B), "MAC"),
    ((MESSAGING, 0x0C), "IPv4"),
    ((MESSAGING, 0x0D), "IPv6"),
    ((MESSAGING, 0x12), "Sata"),
    ((MESSAGING, 0x17), "NVMe"),
    ((MESSAGING, 0x18), "Uri"),
    ((MEDIA, 3), "VenMedia"),
    ((END, 1), ","),
];

#[cfg(test)]
mod tests {
    use softtpm::{file_path, node, option_rom_path, utf16};

    use super::*;

    fn end() -> Vec<u8> {
        node(END, END_ENTIRE, &[])
    }

    #[test]
    fn paths_are_described_by_their_nodes() {
        let file = |name: &str| [node(4, 4, &utf16(name)), end()].concat();
        let offset = [node(4, 8, &[0; 20]), end()].concat();
        let unknown = [node(2, 1, &[0; 8]), node(9, 7, b"data"), end()].concat();
        let volume = [node(4, 7, &[0x42; 16]), node(4, 6, &[0x24; 16]), end()].concat();
        let cases = [
            (
                file_path("\\EFI\\debian\\shimx64.efi"),
                "PciRoot(0x0)/Pci(0x1f,0x2)/Sata/HD(1)/EFI/debian/shimx64.efi",
                false,
            ),
            (
                option_rom_path(),
                "PciRoot(0x0)/Pci(0x3,0x0)/Offset(0x10000,0x2f9ff)",
                true,
            ),
            (offset, "Offset(0x0,0x0)", false),
            (file("\\grub.efi\0"), "/grub.efi", false),
            (file("a\nb\""), "a\\u{a}b\\u{22}", false),
            (
                volume,
                "Fv(42424242-4242-4242-4242-424242424242)/FvFile(24242424-2424-2424-2424-242424242424)",
                false,
            ),
            (unknown, "Path(2,1)/Path(9,7)", false),
            (file(""), "Path(4,4)", false),
            (file(&"x".repeat(257)), "Path(4,4)", false),
            ([node(4, 4, &[0, 0xD8]), end()].concat(), "Path(4,4)", false),
        ];
        for (path, expected, is_option_rom) in cases {
            let expected = Some((expected.to_owned(), is_option_rom));
            assert_eq!(describe(&path), expected);
        }
        let long = [
            vec![node(4, 4, &utf16(&"x".repeat(200))); 3].concat(),
            end(),
        ]
        .concat();
        assert_eq!(describe(&long).unwrap().0.len(), limits::TEXT);
        let longest = "x".repeat(limits::TEXT);
        assert_eq!(describe(&file(&longest)).unwrap().0, longest);
    }

    #[test]
    fn what_is_no_path_is_opaque() {
        let good = option_rom_path();
        for kept in 0..good.len() {
            assert_eq!(describe(&good[..kept]), None, "tpm/F32: cut at {kept}");
        }
        for length in 0..4 {
            let again = [1, 1, length, 0].repeat(1000);
            assert_eq!(describe(&again), None, "tpm/F32: a node of {length} bytes");
            let first = [&[1, 1, length, 0], good.as_slice()].concat();
            assert_eq!(describe(&first), None, "tpm/F32: a node of {length} bytes");
        }
        let many = |count| [node(1, 3, &[]).repeat(count), end()].concat();
        assert!(describe(&many(NODES - 1)).is_some());
        assert_eq!(describe(&many(NODES)), None, "tpm/F32: too many nodes");
        assert_eq!(describe(&many(100_000)), None, "tpm/F32: too many nodes");
        assert_eq!(describe(&end()), None, "no node");
        assert_eq!(describe(&[good, vec![0]].concat()), None, "bytes follow it");
        let long = [1, 1, 0xFF, 0xFF, 0, 0];
        assert_eq!(describe(&long), None, "tpm/F32: longer than the path");
    }
}
