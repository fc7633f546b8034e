//! The EK of a machine: found by its certificate, or made from a template (EK Credential Profile 2.6, section 2.2).

use std::time::Instant;

use evidence::{EkTemplate, Hierarchy, Public};

use crate::certificate::{EkCertificate, split_chain};
use crate::recipe::{belongs, makes_keys_like, stored_recipes};
use crate::{Auth, CertificateOrigin, Error, Key, Tpm, limits};

/// Which EK identifies the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EkChoice {
    /// RSA-2048 with a certificate, else any other key with one, else RSA-2048 without.
    #[default]
    Auto,
    /// RSA with a certificate, else RSA-2048 without.
    Rsa,
    /// ECC with a certificate, else P-256 without.
    Ecc,
    /// This one.
    Template(EkTemplate),
}

/// An EK, and what vouches for it.
#[derive(Debug, Clone)]
pub struct Endorsement {
    /// The key inside the TPM.
    pub key: Key,
    /// The template whose certificate or default it is.
    pub template: EkTemplate,
    /// The certificate, in DER.
    pub certificate: Option<Vec<u8>>,
    /// Where the certificate came from.
    pub certificate_origin: Option<CertificateOrigin>,
    /// Certificates between that one and an anchor, in DER, at most four.
    pub intermediates: Vec<Vec<u8>>,
    /// The persistent handle at which it was found; `None`: it was made, and must be flushed.
    pub persistent: Option<u32>,
    /// What the key was made from.
    recipe: Option<Public>,
}

/// What the search for an EK needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    pub(crate) choice: EkChoice,
    pub(crate) endorsement_auth: &'a Auth,
    pub(crate) owner_auth: &'a Auth,
    /// A certificate of the operator's, in DER or PEM.
    pub(crate) certificate: Option<&'a [u8]>,
}

impl EkChoice {
    /// `auto`, `rsa`, `ecc`, or the name of a template such as `L-1` or `H-3`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "rsa" => Some(Self::Rsa),
            "ecc" => Some(Self::Ecc),
            _ => EkTemplate::ALL
                .into_iter()
                .find(|template| template.name() == name)
                .map(Self::Template),
        }
    }

    /// The templates whose certificates count, best first.
    fn templates(&self) -> &[EkTemplate] {
        use EkTemplate::{H1, H2, H3, H4, H6, H7, L1, L2};
        match self {
            Self::Auto => &[L1, H1, L2, H2, H3, H4, H6, H7],
            Self::Rsa => &[L1, H1, H6, H7],
            Self::Ecc => &[L2, H2, H3, H4],
            Self::Template(template) => std::slice::from_ref(template),
        }
    }
}

impl Endorsement {
    /// Looks for a certificate and its key, and makes the key where it is not persistent.
    pub(crate) fn find(
        tpm: &mut dyn Tpm,
        search: &Search<'_>,
        deadline: Instant,
    ) -> Result<Self, Error> {
        if let Some(bytes) = search.certificate {
            let (certificate, intermediates) = EkCertificate::from_file(bytes)?;
            let templates: Vec<_> = search
                .choice
                .templates()
                .iter()
                .copied()
                .filter(|template| makes_keys_like(*template, &certificate.key))
                .collect();
            let found = locate(tpm, search, &certificate, &templates, deadline)?;
            return Ok(found.with(certificate, intermediates));
        }
        for template in search.choice.templates() {
            let index = template.certificate_index();
            if let Some(contents) = tpm.read_nv(index, search.owner_auth, deadline)? {
                let certificate = EkCertificate::from_nv(index, &contents)?;
                let intermediates = chain(tpm, search, deadline)?;
                let found = locate(tpm, search, &certificate, &[*template], deadline)?;
                return Ok(found.with(certificate, intermediates));
            }
        }
        without_certificate(tpm, search, deadline)
    }

    /// Puts the key back after its handle was lost.
    ///
    /// # Errors
    /// [`Error::KeysChanged`] when it is not the same key any more.
    pub(crate) fn restore(
        &mut self,
        tpm: &mut dyn Tpm,
        search: &Search<'_>,
        deadline: Instant,
    ) -> Result<(), Error> {
        if let Some(recipe) = &self.recipe {
            let key = make(tpm, recipe, search.endorsement_auth, deadline)?;
            if key.name != self.key.name {
                tpm.flush(key.handle, deadline).ok();
                return Err(Error::KeysChanged);
            }
            self.key = key;
            return Ok(());
        }
        let found = match self.persistent {
            Some(handle) => tpm.persistent(handle, deadline)?,
            None => None,
        };
        match found {
            Some(key) if key.name == self.key.name => {
                self.key = key;
                Ok(())
            }
            _ => self.find_again(tpm, search, deadline),
        }
    }

    fn find_again(
        &mut self,
        tpm: &mut dyn Tpm,
        search: &Search<'_>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let found = Self::find(tpm, search, deadline)?;
        if found.key.name != self.key.name {
            found.discard(tpm, deadline);
            return Err(Error::KeysChanged);
        }
        *self = found;
        Ok(())
    }

    /// Removes the key from the TPM unless it is persistent.
    pub(crate) fn discard(&self, tpm: &mut dyn Tpm, deadline: Instant) {
        if self.persistent.is_none() {
            // It may be gone already.
            tpm.flush(self.key.handle, deadline).ok();
        }
    }

    fn persistent(key: Key, template: EkTemplate, handle: u32) -> Self {
        Self {
            key,
            template,
            certificate: None,
            certificate_origin: None,
            intermediates: Vec::new(),
            persistent: Some(handle),
            recipe: None,
        }
    }

    fn made(key: Key, template: EkTemplate, recipe: Public) -> Self {
        Self {
            key,
            template,
            certificate: None,
            certificate_origin: None,
            intermediates: Vec::new(),
            persistent: None,
            recipe: Some(recipe),
        }
    }

    fn with(self, certificate: EkCertificate, intermediates: Vec<Vec<u8>>) -> Self {
        Self {
            certificate: Some(certificate.der),
            certificate_origin: Some(certificate.origin),
            intermediates,
            ..self
        }
    }
}

/// The key of a certificate: a persistent one that equals it, else the one that a default
/// template gives, else one that a template or nonce in NV gives.
fn locate(
    tpm: &mut dyn Tpm,
    search: &Search<'_>,
    certificate: &EkCertificate,
    templates: &[EkTemplate],
    deadline: Instant,
) -> Result<Endorsement, Error> {
    for template in templates {
        for handle in persistent_handles(*template) {
            match tpm.persistent(handle, deadline)? {
                Some(key) if belongs(&key.public, &certificate.key) => {
                    return Ok(Endorsement::persistent(key, *template, handle));
                }
                _ => {}
            }
        }
    }
    let auth = search.endorsement_auth;
    let attempt = |tpm: &mut dyn Tpm, template: EkTemplate, recipe: Public| {
        let key = make(tpm, &recipe, auth, deadline)?;
        if belongs(&key.public, &certificate.key) {
            return Ok(Some(Endorsement::made(key, template, recipe)));
        }
        tpm.flush(key.handle, deadline).map(|()| None)
    };
    for template in templates {
        if makes_keys_like(*template, &certificate.key)
            && let Some(found) = attempt(tpm, *template, template.public(&[]))?
        {
            return Ok(found);
        }
    }
    for template in templates {
        for recipe in stored_recipes(tpm, *template, search.owner_auth, deadline)? {
            if let Some(found) = attempt(tpm, *template, recipe)? {
                return Ok(found);
            }
        }
    }
    Err(Error::OtherKey {
        from: certificate.origin,
    })
}

/// Without a certificate nothing says which persistent key is an EK, so it is made. What stands in
/// NV replaces the default.
fn without_certificate(
    tpm: &mut dyn Tpm,
    search: &Search<'_>,
    deadline: Instant,
) -> Result<Endorsement, Error> {
    let template = match search.choice {
        EkChoice::Auto | EkChoice::Rsa => EkTemplate::L1,
        EkChoice::Ecc => EkTemplate::L2,
        EkChoice::Template(template) => template,
    };
    let stored = stored_recipes(tpm, template, search.owner_auth, deadline)?;
    let recipe = match stored.into_iter().next() {
        Some(recipe) => recipe,
        None => template.public(&[]),
    };
    let key = make(tpm, &recipe, search.endorsement_auth, deadline)?;
    Ok(Endorsement::made(key, template, recipe))
}

/// Certificates from the indices for a chain; one may straddle two of them. A chain only helps the
/// server: what cannot be read of it is left out.
fn chain(tpm: &mut dyn Tpm, search: &Search<'_>, deadline: Instant) -> Result<Vec<Vec<u8>>, Error> {
    let mut contents = Vec::new();
    for index in (FIRST_CHAIN_INDEX..).take(limits::CHAIN_INDICES) {
        match tpm.read_nv(index, search.owner_auth, deadline) {
            Ok(Some(part)) => contents.extend_from_slice(&part),
            Ok(None) | Err(Error::NvUnreadable { .. } | Error::NvTooLong { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(split_chain(&contents))
}

fn make(tpm: &mut dyn Tpm, recipe: &Public, auth: &Auth, deadline: Instant) -> Result<Key, Error> {
    let created = tpm.create_primary(Hierarchy::Endorsement, recipe, auth, deadline)?;
    Ok(created.key)
}

/// Where vendors and tools keep an EK: the TCG's handle for RSA, that of other tools for ECC, and
/// those that follow from the index of the certificate.
fn persistent_handles(template: EkTemplate) -> Vec<u32> {
    let by_index = 0x8101_0000 | (template.certificate_index() & 0xFF);
    match template {
        EkTemplate::L1 => vec![0x8101_0001],
        EkTemplate::H1 | EkTemplate::H6 | EkTemplate::H7 => vec![by_index, 0x8101_0001],
        _ => vec![by_index, 0x8101_0002],
    }
}

/// The first index of a certificate chain (section 2.2.1.5.2).
const FIRST_CHAIN_INDEX: u32 = 0x01C0_0100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_have_names() {
        for (name, choice) in [
            ("auto", Some(EkChoice::Auto)),
            ("rsa", Some(EkChoice::Rsa)),
            ("ecc", Some(EkChoice::Ecc)),
            ("L-1", Some(EkChoice::Template(EkTemplate::L1))),
            ("H-7", Some(EkChoice::Template(EkTemplate::H7))),
            ("l-1", None),
            ("", None),
        ] {
            assert_eq!(EkChoice::from_name(name), choice, "{name}");
        }
    }
}
