//! Signatures of OpenPGP keys, as `gpg --detach-sign --armor` makes them: the only ones that Argo CD checks.

use jiff::Timestamp;
use pgp::composed::{
    ArmorOptions, Deserializable as _, DetachedSignature, SignedSecretKey, SignedSecretSubKey,
};
use pgp::packet::{
    SecretKey, SecretSubkey, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use pgp::types::{
    Duration as PgpDuration, KeyDetails, KeyVersion, Password, S2kParams, SecretParams, SigningKey,
    StringToKey, Tag, Timestamp as PgpTime,
};

/// The key that signs, unlocked: a subkey that may sign, or the primary key.
pub(super) enum Key {
    Primary(Box<SecretKey>),
    Subkey(Box<SecretSubkey>),
}

impl Key {
    pub(super) fn read(text: &str, passphrase: Option<&str>, now: Timestamp) -> Result<Self, String> {
        let (key, _) = SignedSecretKey::from_string(text)
            .map_err(|e| format!("holds an OpenPGP key that cannot be read: {e}"))?;
        let mut chosen = choose(&key, seconds(now))?;
        chosen.unlock(passphrase)?;
        Ok(chosen)
    }

    fn unlock(&mut self, passphrase: Option<&str>) -> Result<(), String> {
        if !self.secret_params().is_encrypted() {
            return Ok(());
        }
        let name = self.public_name();
        let Some(passphrase) = passphrase else {
            return Err(format!("holds the {name} with a passphrase, but no `passphrase`"));
        };
        let password = Password::from(passphrase);
        let unlocked = match self {
            Self::Primary(key) => key.remove_password(&password),
            Self::Subkey(key) => key.remove_password(&password),
        };
        // What the crate says of it depends on the way the key is locked, and helps nobody.
        unlocked.map_err(|_| format!("holds the {name}, which its `passphrase` does not open"))
    }

    pub(super) fn sign(&self, content: &str, now: Timestamp) -> Result<String, String> {
        let signed = match self {
            Self::Primary(key) => sign(key.as_ref(), content, now),
            Self::Subkey(key) => sign(key.as_ref(), content, now),
        };
        signed.map_err(|e| format!("holds the {}, which cannot sign here: {e}", self.public_name()))
    }

    fn secret_params(&self) -> &SecretParams {
        match self {
            Self::Primary(key) => key.secret_params(),
            Self::Subkey(key) => key.secret_params(),
        }
    }

    pub(super) fn public_name(&self) -> String {
        match self {
            Self::Primary(key) => name(key.as_ref()),
            Self::Subkey(key) => name(key.as_ref()),
        }
    }
}

fn name(key: &impl KeyDetails) -> String {
    format!("OpenPGP key {:X}", key.fingerprint())
}

fn sign(key: &impl SigningKey, content: &str, now: Timestamp) -> pgp::errors::Result<String> {
    let mut config = SignatureConfig::v4(SignatureType::Binary, key.algorithm(), key.hash_alg());
    let made_at = SubpacketData::SignatureCreationTime(PgpTime::from_secs(seconds(now)));
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(made_at)?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    let signature = config.sign(key, &Password::empty(), content.as_bytes())?;
    // Without the checksum line, as new gpg writes it; nobody checks it.
    let options = ArmorOptions { headers: None, include_checksum: false };
    DetachedSignature::new(signature).to_armored_string(options)
}

fn seconds(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().max(0)).unwrap_or(u32::MAX)
}

/// Chooses as gpg does: the newest subkey that may sign now, else the primary key.
fn choose(key: &SignedSecretKey, now: u32) -> Result<Key, String> {
    let primary = &key.primary_key;
    if primary.version() != KeyVersion::V4 {
        return Err(format!(
            "holds the {}, which is of version {:?}; gpg, and so Argo CD, takes version 4",
            name(primary),
            primary.version()
        ));
    }
    let terms = primary_terms(key);
    let fault = if key.details.revocation_signatures.is_empty() {
        terms.fault(primary.created_at(), now)
    } else {
        Some("was revoked".to_owned())
    };
    if let Some(fault) = fault {
        return Err(format!("holds the {}, which {fault}", name(primary)));
    }
    let mut faults = Vec::new();
    let mut best: Option<&SignedSecretSubKey> = None;
    for subkey in &key.secret_subkeys {
        match subkey_fault(key, subkey, now) {
            Some(fault) => faults.push(format!("{:X} {fault}", subkey.key.fingerprint())),
            None if best.is_some_and(|best| best.key.created_at() > subkey.key.created_at()) => {}
            None => best = Some(subkey),
        }
    }
    if let Some(best) = best {
        return Ok(Key::Subkey(Box::new(best.key.clone())));
    }
    match () {
        () if !terms.may_sign => faults.insert(0, format!("{:X} is not for signing", primary.fingerprint())),
        () if is_stub(primary.secret_params()) => {
            faults.insert(0, format!("{:X} comes without its secret part", primary.fingerprint()));
        }
        () => return Ok(Key::Primary(Box::new(primary.clone()))),
    }
    Err(format!("holds an OpenPGP key of which no part may sign now: {}", faults.join(", ")))
}

/// What a key's own signature says about its use.
#[derive(Default)]
struct Terms {
    may_sign: bool,
    /// Seconds after its creation; none is for ever.
    expires_after: Option<u32>,
    signed: bool,
}

impl Terms {
    fn of(signature: Option<&Signature>) -> Self {
        let Some(signature) = signature else { return Self::default() };
        let expires_after = signature.key_expiration_time().map(PgpDuration::as_secs);
        Self {
            may_sign: signature.key_flags().sign(),
            expires_after: expires_after.filter(|after| *after != 0),
            signed: true,
        }
    }

    fn fault(&self, created_at: PgpTime, now: u32) -> Option<String> {
        let created_at = created_at.as_secs();
        let expires_at = self.expires_after.map(|after| created_at.saturating_add(after));
        let date = |seconds: u32| Timestamp::from_second(seconds.into()).unwrap_or_default();
        match expires_at {
            _ if !self.signed => Some("has no valid signature of its own".to_owned()),
            Some(at) if at <= now => Some(format!("expired at {}", date(at))),
            _ if created_at > now => Some(format!("is valid only from {} on", date(created_at))),
            _ => None,
        }
    }
}

/// The terms of the primary key: those of the newest signature that it made over itself and its users.
fn primary_terms(key: &SignedSecretKey) -> Terms {
    let public = key.primary_key.public_key();
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|signature| signature.verify_key(public).is_ok());
    let of_users = key.details.users.iter().filter_map(|user| {
        let own = user.signatures.iter();
        let own = own.filter(|s| s.verify_certification(public, Tag::UserId, &user.id).is_ok());
        newest(own).filter(|s| s.typ() != Some(SignatureType::CertRevocation))
    });
    Terms::of(newest(direct.chain(of_users)))
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created().map_or(0, PgpTime::as_secs))
}

/// Why a subkey may not sign; none when it may.
fn subkey_fault(key: &SignedSecretKey, subkey: &SignedSecretSubKey, now: u32) -> Option<String> {
    let (primary, public) = (key.primary_key.public_key(), subkey.key.public_key());
    let own = subkey.signatures.iter().filter(|s| s.verify_subkey_binding(primary, public).is_ok());
    let of_kind = |kind| own.clone().filter(move |signature| signature.typ() == Some(kind));
    if of_kind(SignatureType::SubkeyRevocation).next().is_some() {
        return Some("was revoked".to_owned());
    }
    let binding = newest(of_kind(SignatureType::SubkeyBinding));
    let terms = Terms::of(binding);
    if let Some(fault) = terms.fault(subkey.key.created_at(), now) {
        return Some(fault);
    }
    // The subkey's consent; gpg takes no signature of one that did not give it.
    let consent = binding.and_then(Signature::embedded_signature);
    if !terms.may_sign {
        Some("is not for signing".to_owned())
    } else if consent.is_none_or(|s| s.verify_primary_key_binding(public, primary).is_err()) {
        Some("has not signed its primary key".to_owned())
    } else if is_stub(subkey.key.secret_params()) {
        Some("comes without its secret part".to_owned())
    } else {
        None
    }
}

/// Whether gpg left the secret part out: it is on a card, or was not exported.
fn is_stub(secret: &SecretParams) -> bool {
    let SecretParams::Encrypted(secret) = secret else { return false };
    match secret.string_to_key_params() {
        S2kParams::Cfb { s2k, .. } | S2kParams::MalleableCfb { s2k, .. } | S2kParams::Aead { s2k, .. } => {
            matches!(s2k, StringToKey::Private { .. })
        }
        S2kParams::Unprotected | S2kParams::LegacyCfb { .. } => false,
    }
}
