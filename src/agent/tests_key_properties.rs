//! The reader of key files, given anything: it never panics, and takes nothing that it would not write.

use evidence::{Name, SvidKeyTemplate};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tpm::WrappedKey;

use crate::key_file::{KeyFile, MAX_FILE, file_name};
use crate::tests_keys::{key, public};

const ID: &str = "agent-svid-A";
const NAME: &str = "agent-svid-A.json";

/// A key as the KeyManager may have to write one.
fn any_key() -> impl Strategy<Value = KeyFile> {
    let private = prop::collection::vec(any::<u8>(), 1..tpm::limits::PRIVATE);
    let template = select(SvidKeyTemplate::ALL.to_vec());
    let rest = (any::<u8>(), any::<[u8; 32]>(), any::<u32>());
    let parts = (any::<String>(), template, private, rest);
    let file = parts.prop_map(
        |(id, template, private, (seed, parent, reset_count))| KeyFile {
            id,
            template,
            key: WrappedKey {
                public: public(template, seed),
                private,
            },
            parent: Name::from_bytes(&[&[0, 0x0B][..], &parent].concat()),
            reset_count,
        },
    );
    file.prop_filter("a number that is no key", |file| {
        file.key.public.subject_key().is_some()
    })
}

/// What was read is a key that is written, and read again, as it is.
fn is_sound(name: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(read) = KeyFile::decode(name, bytes) else {
        return Ok(());
    };
    prop_assert!(bytes.len() <= MAX_FILE);
    let named = file_name(&read.id);
    prop_assert_eq!(named.as_deref(), Some(name));
    prop_assert_eq!(KeyFile::decode(name, &read.encode().unwrap()), Ok(read));
    Ok(())
}

proptest! {
    #[test]
    fn what_is_written_is_read(written in any_key()) {
        match (written.encode(), file_name(&written.id)) {
            (Some(bytes), Some(name)) => prop_assert_eq!(KeyFile::decode(&name, &bytes), Ok(written)),
            (None, None) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn bytes_are_a_key_or_none(name in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        is_sound(&name, &bytes)?;
        is_sound(NAME, &bytes)?;
    }

    #[test]
    fn an_altered_file_is_a_key_or_none(edits in prop::collection::vec((any::<Index>(), any::<Index>(), b' '..=b'~'), 1..4)) {
        let mut bytes = key(ID, 1).encode().unwrap();
        for (at, way, byte) in edits {
            let at = at.index(bytes.len());
            match way.index(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        is_sound(NAME, &bytes)?;
    }
}
