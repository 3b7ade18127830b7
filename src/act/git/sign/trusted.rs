//! The keys whose signatures are believed, and what a signature is worth by them.

use jiff::Timestamp;
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature as PgpSignature, SignatureType};
use pgp::types::{Duration as PgpDuration, KeyDetails as _, Tag, Timestamp as PgpTime};
use rsa::pkcs1v15;
use rsa::sha2::{Sha256, Sha512};
use rsa::signature::Verifier as _;
use rsa::{BigUint, RsaPublicKey};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use super::ssh::NAMESPACE;

/// Keys of people and daemons.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    ssh: Vec<PublicKey>,
    openpgp: Vec<SignedPublicKey>,
}

impl Trusted {
    /// Adds the keys of a file as `ssh-keygen -Y verify` reads it: a line has principals, options and a key.
    ///
    /// # Errors
    /// With the line's number. An option that is not understood is one, since it narrows what the key is good for.
    pub fn add_allowed_signers(&mut self, text: &str) -> Result<(), String> {
        let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
        for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            let key = allowed_signer(line).map_err(|why| format!("line {number}: {why}"))?;
            self.ssh.extend(key);
        }
        Ok(())
    }

    /// Adds the OpenPGP keys of an armored text, as `gpg --armor --export` writes it.
    pub fn add_keyring(&mut self, text: &str) -> Result<(), String> {
        let (keys, _) = SignedPublicKey::from_string_many(text).map_err(|e| e.to_string())?;
        for key in keys {
            self.openpgp.push(key.map_err(|e| e.to_string())?);
        }
        Ok(())
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.ssh.is_empty() && self.openpgp.is_empty()
    }

    /// The name of the key that made this signature of this content at that time; why it is not believed, else.
    pub(crate) fn check(&self, signature: &str, content: &[u8], at: Timestamp) -> Result<String, String> {
        if signature.trim_start().starts_with("-----BEGIN SSH SIGNATURE-----") {
            self.check_ssh(signature, content)
        } else {
            self.check_openpgp(signature, content, at)
        }
    }

    fn check_ssh(&self, signature: &str, content: &[u8]) -> Result<String, String> {
        let signature = SshSig::from_pem(signature.trim())
            .map_err(|e| format!("its SSH signature cannot be read: {e}"))?;
        let name = format!("SSH key {}", signature.public_key().fingerprint(HashAlg::Sha256));
        let Some(key) = self.ssh.iter().find(|key| key.key_data() == signature.public_key()) else {
            return Err(format!("it is signed by the {name}, which is not trusted"));
        };
        let good = match key.key_data() {
            KeyData::Rsa(rsa) => check_rsa(rsa, &signature, content),
            _ => key.verify(NAMESPACE, content, &signature),
        };
        good.map_err(|_| format!("the signature of the {name} is not one of this commit"))?;
        Ok(name)
    }

    fn check_openpgp(&self, signature: &str, content: &[u8], at: Timestamp) -> Result<String, String> {
        let (signature, _) = DetachedSignature::from_string(signature)
            .map_err(|e| format!("its OpenPGP signature cannot be read: {e}"))?;
        let signature = signature.signature;
        let issuer = signature.issuer_fingerprint().into_iter().next();
        let name =
            issuer.map_or_else(|| "unnamed OpenPGP key".to_owned(), |id| format!("OpenPGP key {id:X}"));
        let mut why = format!("it is signed by the {name}, which is not trusted");
        for key in &self.openpgp {
            let primary = (issuer == Some(&key.primary_key.fingerprint()))
                .then(|| signature.verify(&key.primary_key, content).is_ok());
            let subkey = key.public_subkeys.iter().find(|sub| issuer == Some(&sub.key.fingerprint()));
            let good = match (primary, subkey) {
                (Some(good), _) => good,
                (None, Some(subkey)) => signature.verify(&subkey.key, content).is_ok(),
                (None, None) => continue,
            };
            match fault(key, subkey, at) {
                _ if !good => why = format!("the signature of the {name} is not one of this commit"),
                Some(fault) => why = format!("the {name} {fault}"),
                None => return Ok(name),
            }
        }
        Err(why)
    }
}

/// The key of a line; none if it is not for commits.
fn allowed_signer(line: &str) -> Result<Option<PublicKey>, String> {
    let words = words(line);
    let is_kind = |word: &String| ["ssh-", "ecdsa-", "sk-"].iter().any(|begin| word.starts_with(begin));
    let Some(at) = words.iter().skip(1).position(is_kind).map(|at| at + 1) else {
        return Err("it holds no key; write it as `PRINCIPAL KIND KEY`".to_owned());
    };
    let mut is_for_git = true;
    for option in words.iter().take(at).skip(1).flat_map(|options| options.split(',')) {
        match option.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("namespaces") => {
                is_for_git = value.trim_matches('"') == NAMESPACE || value.trim_matches('"') == "*";
            }
            _ => return Err(format!("the option `{option}` is not understood")),
        }
    }
    let key = words.get(at..=at + 1).ok_or("it holds a kind of key, and no key")?.join(" ");
    let key = PublicKey::from_openssh(&key).map_err(|e| format!("the key cannot be read: {e}"))?;
    Ok(is_for_git.then_some(key))
}

/// The words of a line; blanks within quotes belong to them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        quoted ^= c == '"';
        if c.is_whitespace() && !quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

// By hand: `ssh-key` checks RSA only with a feature whose signing of it is broken.
fn check_rsa(key: &ssh_key::public::RsaPublicKey, signature: &SshSig, content: &[u8]) -> ssh_key::Result<()> {
    if signature.namespace() != NAMESPACE {
        return Err(ssh_key::Error::Namespace);
    }
    let number = |mpint: &ssh_key::Mpint| mpint.as_positive_bytes().map(BigUint::from_bytes_be);
    let (Some(modulus), Some(exponent)) = (number(&key.n), number(&key.e)) else {
        return Err(ssh_key::Error::Crypto);
    };
    let key = RsaPublicKey::new(modulus, exponent).map_err(|_| ssh_key::Error::Crypto)?;
    let signed = SshSig::signed_data(NAMESPACE, signature.hash_alg(), content)?;
    let proof =
        pkcs1v15::Signature::try_from(signature.signature_bytes()).map_err(|_| ssh_key::Error::Crypto)?;
    let good = match signature.algorithm() {
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) } => {
            pkcs1v15::VerifyingKey::<Sha512>::new(key).verify(&signed, &proof)
        }
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) } => {
            pkcs1v15::VerifyingKey::<Sha256>::new(key).verify(&signed, &proof)
        }
        // SHA-1 is no proof any more.
        _ => return Err(ssh_key::Error::Crypto),
    };
    good.map_err(|_| ssh_key::Error::Crypto)
}

/// Why a key, or its subkey, could not sign a commit of that time; none when it could.
fn fault(key: &SignedPublicKey, subkey: Option<&SignedPublicSubKey>, at: Timestamp) -> Option<String> {
    let primary = &key.primary_key;
    if !key.details.revocation_signatures.is_empty() {
        return Some("was revoked".to_owned());
    }
    // Others may have signed it too; only what it says of itself counts.
    let direct = key.details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
    let of_users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|s| s.verify_certification(primary, Tag::UserId, &user.id).is_ok())
    });
    let own = newest(direct.chain(of_users));
    let of_primary = terms(own, primary.created_at(), at);
    let Some(subkey) = subkey else {
        return of_primary.or_else(|| not_for_signing(own));
    };
    let bound = subkey.signatures.iter().filter(|s| s.verify_subkey_binding(primary, &subkey.key).is_ok());
    let of_kind = |kind| bound.clone().filter(move |signature| signature.typ() == Some(kind));
    if of_kind(SignatureType::SubkeyRevocation).next().is_some() {
        return Some("was revoked".to_owned());
    }
    let binding = newest(of_kind(SignatureType::SubkeyBinding));
    let of_subkey = terms(binding, subkey.key.created_at(), at).or_else(|| not_for_signing(binding));
    // The subkey's consent; gpg takes no signature of one that did not give it.
    let consent = binding.and_then(PgpSignature::embedded_signature);
    let consents = consent.is_some_and(|s| s.verify_primary_key_binding(&subkey.key, primary).is_ok());
    let no_consent = (!consents).then(|| "has not signed its primary key".to_owned());
    of_primary.or(of_subkey).or(no_consent)
}

fn not_for_signing(own: Option<&PgpSignature>) -> Option<String> {
    own.is_some_and(|own| !own.key_flags().sign()).then(|| "is not for signing".to_owned())
}

fn newest<'a>(signatures: impl Iterator<Item = &'a PgpSignature>) -> Option<&'a PgpSignature> {
    signatures.max_by_key(|signature| signature.created().map_or(0, PgpTime::as_secs))
}

/// Why a key with these terms could not sign at that time.
fn terms(own: Option<&PgpSignature>, created_at: PgpTime, at: Timestamp) -> Option<String> {
    let Some(own) = own else { return Some("has no valid signature of its own".to_owned()) };
    let created_at = i64::from(created_at.as_secs());
    let expires_after = own.key_expiration_time().map(PgpDuration::as_secs).filter(|after| *after != 0);
    let ends_at = expires_after.map(|after| created_at.saturating_add(i64::from(after)));
    match ends_at {
        _ if at.as_second() < created_at => Some("was made after this commit".to_owned()),
        Some(end) if end <= at.as_second() => Some("had expired when the commit was made".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_line_names_a_key_and_what_it_is_good_for() {
        let read = |line: &str| {
            let mut trusted = Trusted::default();
            trusted.add_allowed_signers(line).map(|()| trusted.ssh.len())
        };
        assert_eq!(read(&format!("# daemons\n\nlastgood@example.org {KEY} a comment\n")), Ok(1));
        assert_eq!(read(&format!("\"a b\" namespaces=\"git\" {KEY}")), Ok(1));
        assert_eq!(read(&format!("a namespaces=\"file\" {KEY}")), Ok(0));
        for (line, expected) in [
            (KEY.to_owned(), "line 1: it holds no key"),
            (
                format!("\na valid-before=\"20300101\" {KEY}"),
                "line 2: the option `valid-before=\"20300101\"`",
            ),
            (format!("a cert-authority {KEY}"), "the option `cert-authority`"),
            ("a ssh-ed25519 AAAA".to_owned(), "the key cannot be read"),
            ("a ssh-ed25519".to_owned(), "no key"),
        ] {
            let error = read(&line).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
