//! Files of certificates: read whole, or told to be damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use evidence::{Malformed, encode_pem, parse_pem};
use store::{AnchorStore, Collection, Sources};

use crate::shown::assert_shown;

/// PEM as messages carry it.
pub(crate) fn pem(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let outcome = parse_pem(text, MAX_BLOCKS);
    assert_eq!(outcome, parse_pem(text, MAX_BLOCKS), "the same twice");
    let Ok(blocks) = outcome else {
        return;
    };
    assert!(blocks.len() <= MAX_BLOCKS);
    let encode = |block: &evidence::PemBlock| {
        // RFC 7468, section 3, without punctuation.
        let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
        assert!(!block.label.is_empty() && block.label.bytes().all(known));
        encode_pem(&block.label, &block.contents)
    };
    let encoded: String = blocks.iter().map(encode).collect();
    assert_eq!(
        parse_pem(&encoded, MAX_BLOCKS).as_ref(),
        Ok(&blocks),
        "what we write we read"
    );
    assert_eq!(
        parse_pem(&format!("\n{encoded} \r\n"), MAX_BLOCKS).as_ref(),
        Ok(&blocks)
    );
    if let Some(less) = blocks.len().checked_sub(1) {
        assert_eq!(parse_pem(text, less), Err(Malformed::TooLong));
        let kept = text.trim_end().len() - 1;
        assert!(
            parse_pem(&text[..kept], MAX_BLOCKS).is_err(),
            "the beginning of a block"
        );
    }
    assert!(
        parse_pem(&format!("{encoded}x"), MAX_BLOCKS + 1).is_err(),
        "something follows"
    );
}

/// A file of CA certificates as an operator may put it.
pub(crate) fn certificate_file(data: &[u8]) {
    let read = |bytes: &[u8]| {
        fs::write(&*FILE, bytes).expect("a file in memory");
        let sources = Sources {
            anchors: FILE.clone(),
            ..Sources::default()
        };
        let (store, report) = AnchorStore::open(sources).expect("a file that can be read");
        (store.current().len(), report)
    };
    let (anchors, report) = read(data);
    assert_eq!(read(data), (anchors, report.clone()), "the same twice");
    let collection = Collection::read(&FILE).expect("a file that can be read");
    assert!(anchors <= collection.certificates.len());
    assert_eq!(report.anchors, anchors);
    for skipped in &report.skipped {
        assert_shown(skipped.why, 128);
    }
    let nothing = collection.certificates.is_empty();
    assert!(!nothing || !collection.skipped.is_empty(), "silence");
    if data.first() == Some(&0x30) || nothing {
        return;
    }
    // A file that is cut inside its last block has no certificate at all: not all but one.
    let begins = |(_, line): &(usize, &[u8])| line.starts_with(b"-----BEGIN ");
    let lines = data
        .split_inclusive(|byte| *byte == b'\n')
        .scan(0, |at, line| {
            *at += line.len();
            Some((*at, line))
        });
    let Some((inside, _)) = lines.filter(begins).last() else {
        // The only block begins behind a byte order mark.
        return;
    };
    fs::write(&*FILE, &data[..inside]).expect("a file in memory");
    let cut = Collection::read(&FILE).expect("a file that can be read");
    assert_eq!(cut.certificates, [], "half a file");
    // A block of another kind adds nothing and takes nothing away.
    let more = [
        data.trim_ascii_end(),
        b"\n",
        encode_pem("PUBLIC KEY", &[1]).as_bytes(),
    ]
    .concat();
    fs::write(&*FILE, more).expect("a file in memory");
    let more = Collection::read(&FILE).expect("a file that can be read");
    assert_eq!(more.certificates, collection.certificates);
}

/// In memory, one for each process.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    directory.join(format!(
        "fuzz-{}-{:?}.pem",
        std::process::id(),
        std::thread::current().id()
    ))
});

const MAX_BLOCKS: usize = 3;

/// PEM of several certificates, with comments.
pub(crate) mod seeds {
    use evidence::encode_pem;

    use crate::machine::PKI;

    pub(crate) fn pem() -> Vec<Vec<u8>> {
        let one = encode_pem("CERTIFICATE", &PKI.ca);
        let two = encode_pem("PUBLIC KEY", &[1; 100]) + &encode_pem("X 1", &[]);
        let near = two.replace("X 1", "x-1");
        [one, two, near].map(String::into_bytes).to_vec()
    }

    pub(crate) fn certificate_file() -> Vec<Vec<u8>> {
        let (root, ca) = (
            encode_pem("CERTIFICATE", &PKI.root),
            encode_pem("CERTIFICATE", &PKI.ca),
        );
        let texts = [
            format!("# Owner: IFX\n{root}\n## all\n# Owner: STM\r\n{ca}"),
            format!("{root}{}", encode_pem("EC PRIVATE KEY", &[1, 2])),
            format!("{ca}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        ];
        let texts = texts.map(String::into_bytes).to_vec();
        [texts, vec![PKI.root.clone()]].concat()
    }
}
