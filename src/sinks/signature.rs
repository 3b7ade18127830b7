//! Signatures of Standard Webhooks: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use ring::hmac;

/// How a key is marked.
const PREFIX: &str = "whsec_";

/// Bytes of a key, by the standard.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Base64 as people hand keys out: filled up to whole groups or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Keys that requests are signed with, each. No `Debug`.
#[derive(Clone)]
pub(super) struct Keys(Vec<hmac::Key>);

impl Keys {
    /// Reads keys that are divided by blanks or lines; the error does not repeat them.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let key = |word: &str| {
            let bytes = BASE64
                .decode(word.strip_prefix(PREFIX).unwrap_or(word))
                .map_err(|_| "`webhookSecret` holds something that is not `whsec_` and base64")?;
            if !KEY_BYTES.contains(&bytes.len()) {
                let why = "a key in `webhookSecret` has {} bytes; the standard wants 24 to 64";
                return Err(why.replace("{}", &bytes.len().to_string()));
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        };
        let keys: Vec<_> = text.split_whitespace().map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err("`webhookSecret` is empty".to_owned()) } else { Ok(Self(keys)) }
    }

    /// `webhook-signature` for a request: one signature for each key.
    pub(super) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let mut signed = format!("{id}.{}.", at.as_second()).into_bytes();
        signed.extend_from_slice(body);
        let one = |key| format!("v1,{}", BASE64.encode(hmac::sign(key, &signed)));
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// The id as it is signed: without full stops, which divide what is signed.
pub(super) fn webhook_id(id: &str) -> String {
    id.replace('.', "%2E")
}

/// Base64 with padding (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &str) -> String {
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let keys = Keys::read(secrets).unwrap_or_else(|why| panic!("{why}"));
        keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#)
    }

    /// The vector of the standard's own libraries (`test_sign_function`).
    #[test]
    fn a_signature_is_that_of_the_standard() {
        assert_eq!(sign(SECRET), SIGNED);
        assert_eq!(sign("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SIGNED);
    }

    #[test]
    fn while_a_key_is_exchanged_both_sign() {
        let new = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let both = sign(&format!("{new}\n{SECRET}\n"));
        assert_eq!(both.split(' ').collect::<Vec<_>>(), [sign(new).as_str(), SIGNED]);
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_repeated() {
        for (text, expected) in
            [("", "is empty"), ("whsec_a!c", "not `whsec_` and base64"), ("whsec_c2hvcnQ=", "5 bytes")]
        {
            let why = Keys::read(text).err().unwrap();
            assert!(why.contains(expected) && !why.contains("c2hvcnQ"), "{why}");
        }
    }
}
