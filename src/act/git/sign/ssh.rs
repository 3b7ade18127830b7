//! Signatures of SSH keys, as `ssh-keygen -Y sign` makes them.

use rsa::pkcs1v15;
use rsa::rand_core::OsRng;
use rsa::sha2::Sha512;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use rsa::{BigUint, RsaPrivateKey};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, Signature, SshSig};

/// What a signature is for, so that it cannot be taken for one of something else.
pub(super) const NAMESPACE: &str = "git";

/// A private key, unlocked.
pub(super) struct Key(PrivateKey);

/// What to say of a key that is not understood.
fn unreadable(error: &ssh_key::Error) -> String {
    let error = error.to_string();
    // This version of `ssh-key` wants all bytes of the number, and OpenSSH leaves zeros at its beginning out.
    let hint = match error.as_str() {
        "length invalid" => {
            "; if it is an ECDSA key, its number is one of the few with a zero first: make another"
        }
        _ => "",
    };
    format!("holds an SSH key that cannot be read: {error}{hint}")
}

impl Key {
    pub(super) fn read(text: &str, passphrase: Option<&str>) -> Result<Self, String> {
        // The form ends with a line break, which a Secret's value may have lost.
        let key = PrivateKey::from_openssh(format!("{text}\n")).map_err(|e| unreadable(&e))?;
        let key = match (key.is_encrypted(), passphrase) {
            (false, _) => key,
            (true, None) => {
                return Err("holds an SSH key with a passphrase, but no `passphrase`".to_owned());
            }
            (true, Some(passphrase)) => key.decrypt(passphrase).map_err(|e| match e {
                ssh_key::Error::Encoding(_) => unreadable(&e),
                _ => "holds an SSH key that its `passphrase` does not open".to_owned(),
            })?,
        };
        let key = Self(key);
        // A key on a hardware token, or of a kind that is not known, is found out now and not at the first revert.
        key.sign("")?;
        Ok(key)
    }

    pub(super) fn sign(&self, content: &str) -> Result<String, String> {
        let signed = match self.0.key_data() {
            KeypairData::Rsa(key) => self.sign_rsa(key, content.as_bytes()),
            _ => self.0.sign(NAMESPACE, HashAlg::Sha512, content.as_bytes()),
        };
        let pem = signed.and_then(|signature| signature.to_pem(LineEnding::LF));
        pem.map_err(|e| {
            format!("holds an SSH key of type {}, which cannot sign here: {e}", self.0.algorithm())
        })
    }

    // By hand: this version of `ssh-key` makes an RSA key of the same prime twice, which is none.
    fn sign_rsa(&self, key: &RsaKeypair, content: &[u8]) -> ssh_key::Result<SshSig> {
        let number = |mpint: &ssh_key::Mpint| mpint.as_positive_bytes().map(BigUint::from_bytes_be);
        let (public, private) = (&key.public, &key.private);
        let numbers = [&public.n, &public.e, &private.d, &private.p, &private.q].map(number);
        let [Some(modulus), Some(exponent), Some(secret), Some(prime), Some(other)] = numbers else {
            return Err(ssh_key::Error::Crypto);
        };
        let key = RsaPrivateKey::from_components(modulus, exponent, secret, vec![prime, other]);
        let key = key.map_err(|_| ssh_key::Error::Crypto)?;
        let signed = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, content)?;
        // With random numbers the time that it takes tells nothing of the key.
        let signature = pkcs1v15::SigningKey::<Sha512>::new(key).try_sign_with_rng(&mut OsRng, &signed);
        let signature = signature.map_err(|_| ssh_key::Error::Crypto)?.to_vec();
        let signature = Signature::new(Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, signature)?;
        SshSig::new(self.0.public_key().key_data().clone(), NAMESPACE, HashAlg::Sha512, signature)
    }

    pub(super) fn public_name(&self) -> String {
        format!("SSH key {}", self.0.fingerprint(HashAlg::Sha256))
    }
}
