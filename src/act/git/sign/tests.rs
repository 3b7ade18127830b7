use super::*;

#[track_caller]
fn wrong(key: &str, expected: &str) {
    let key = KeyText { origin: "the Secret `s`".into(), key: Secret::new(key), passphrase: None };
    let error = Signer::read(&key, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
    assert!(error.starts_with("the Secret `s` holds ") && error.contains(expected), "{error}");
}

// Real keys are in tests/git/signed.rs.
#[test]
fn a_text_that_is_no_key_is_named() {
    wrong(" \n", "an empty key");
    wrong("s3cret", "no private key in OpenSSH's form or in OpenPGP's");
    wrong("ssh-ed25519 AAAA me", "a public key");
    wrong("-----BEGIN PGP PUBLIC KEY BLOCK-----", "no private key");
    wrong("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\ns3cret", "an OpenPGP key that cannot be read");
    wrong("-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret", "an SSH key that cannot be read");
}

#[test]
fn no_secret_shows() {
    let (key, passphrase) = (Secret::new("s3cret"), Some(Secret::new("s3cret")));
    let key = KeyText { origin: "the Secret `s`".into(), key, passphrase };
    let error = Signer::read(&key, Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(!format!("{key:?} {error:?} {error}").contains("s3cret"));
}
