//! Signed JSON in one line of text: header, claims and signature, each in base64 (RFC 7515 §3.1).

use data_encoding::BASE64URL_NOPAD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{SigningKey, VerifyingKey};
use super::method::Method;

/// What of the header counts. That it says how to verify is what forgers have always used: it must say what this member
/// is configured for, and decides nothing.
#[derive(Deserialize)]
struct Head {
    alg: String,
}

/// The text; `None` when the key could not sign.
pub(super) fn sign(method: Method, key: &SigningKey, claims: &[u8]) -> Option<String> {
    let head = format!(r#"{{"typ":"JWT","alg":"{method}"}}"#);
    let mut text = BASE64.encode(head.as_bytes());
    text.push('.');
    BASE64.encode_append(claims, &mut text);
    let signed = key.sign(text.as_bytes())?;
    text.push('.');
    BASE64.encode_append(&signed, &mut text);
    Some(text)
}

/// The claims, if the text is signed by this method with the other half of this key.
pub(super) fn verify(method: Method, key: &VerifyingKey, text: &str) -> Option<Map<String, Value>> {
    let (message, signed) = text.rsplit_once('.')?;
    let (head, claims) = message.split_once('.')?;
    let head: Map<String, Value> = object(head)?;
    let head = Head::deserialize(Value::Object(head)).ok()?;
    let signed = BASE64.decode(signed.as_bytes()).ok()?;
    if head.alg.parse() != Ok(method) || !key.verify(message.as_bytes(), &signed) {
        return None;
    }
    object(claims)
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64.decode(part.as_bytes()).ok()?).ok()
}
