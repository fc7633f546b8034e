//! Whether a program needs a dynamic linker: the images that SPIRE runs in have none.

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// The kernel starts it alone.
    Static,
    /// It names an interpreter, which must be there, and with it a C library.
    Dynamic,
}

/// Reads the program headers of a 64-bit little-endian ELF file (System V ABI, chapters 4 and 5)
/// from its first bytes; `None` for anything else.
pub(crate) fn linkage(file: &[u8]) -> Option<Linkage> {
    if !file.starts_with(MAGIC) {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(bytes(file, 32)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(bytes(file, 54)?));
    let count = usize::from(u16::from_le_bytes(bytes(file, 56)?));
    for entry in 0..count {
        let at = table.checked_add(entry.checked_mul(size)?)?;
        if u32::from_le_bytes(bytes(file, at)?) == INTERPRETER {
            return Some(Linkage::Dynamic);
        }
    }
    Some(Linkage::Static)
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..)?.first_chunk().copied()
}

/// ELF, 64 bits, little-endian.
const MAGIC: &[u8] = &[0x7F, b'E', b'L', b'F', 2, 1];
/// PT_INTERP.
const INTERPRETER: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with two program headers of these types.
    fn file(types: [u32; 2]) -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..6].copy_from_slice(MAGIC);
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        for (entry, kind) in types.into_iter().enumerate() {
            file[64 + entry * 56..][..4].copy_from_slice(&kind.to_le_bytes());
        }
        file
    }

    #[test]
    fn an_interpreter_makes_a_program_dynamic() {
        // PT_LOAD, PT_DYNAMIC: a static program that may be loaded anywhere has both.
        assert_eq!(linkage(&file([1, 2])), Some(Linkage::Static));
        assert_eq!(linkage(&file([1, 3])), Some(Linkage::Dynamic));
        assert_eq!(linkage(&file([1, 2])[..100]), None);
        assert_eq!(linkage(b"#!/bin/sh"), None);
        let mut far = file([1, 2]);
        far[32..40].fill(0xFF);
        assert_eq!(linkage(&far), None);
    }
}
