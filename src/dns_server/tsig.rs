//! Messages signed with a shared key (RFC 8945): who may have zones, and that nobody changed them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::ProtoError;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, make_tsig_record};
use hickory_proto::rr::{Name, TSigResponseContext, TSigner};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use crate::zone;

/// Clocks may differ by so many seconds.
const FUDGE: u16 = 300;
/// The place of the count of additional records in a header.
const ADDITIONAL_COUNT: usize = 10;

/// A key that two servers share.
#[derive(Clone)]
pub struct Key(TSigner);

/// Why a text holds no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "there is no key in it; write: key \"name\" {{ algorithm hmac-sha256; secret \"base64\"; }};"
    )]
    None,
    #[error("key `{name}`: the algorithm is none of hmac-sha256, hmac-sha384, hmac-sha512")]
    Algorithm { name: String },
    #[error("key `{name}`: the secret is no base 64")]
    Secret { name: String },
    #[error("key `{name}` has no name that DNS could carry")]
    Name { name: String },
}

/// What a signature of a request turned out to be.
pub(super) enum Signed {
    Not,
    /// By this key; the answer has to be signed too.
    By(Box<Signer>),
    /// By this key, but too long ago or in the future.
    Late(Box<Signer>),
    /// By a key that is not known, or wrongly.
    Wrong(TSigResponseContext),
}

/// Signs the messages of one answer, each with the one before it in it (RFC 8945 §5.3.1).
#[derive(Clone)]
pub(super) struct Signer {
    key: TSigner,
    id: u16,
    /// The code of the request, then of the last message.
    previous: Vec<u8>,
    first: bool,
    /// The time in a request that came too late, to be said again (RFC 8945 §5.2.3).
    late: Option<u64>,
}

/// Reads keys in the form in which BIND's tools write them.
pub fn read_keys(text: &str) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("key ") {
        rest = &rest[at + 4..];
        let Some((name, body)) = rest.split_once('{') else { break };
        let Some((body, behind)) = body.split_once('}') else { break };
        rest = behind;
        let name = name.trim().trim_matches('"').to_owned();
        let field = |wanted: &str| {
            let mut statements = body.split(';').map(str::trim);
            let value = statements.find_map(|it| it.strip_prefix(wanted)?.strip_prefix(' '));
            value.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let algorithm = match field("algorithm").as_deref() {
            Some("hmac-sha256") => TsigAlgorithm::HmacSha256,
            Some("hmac-sha384") => TsigAlgorithm::HmacSha384,
            Some("hmac-sha512") => TsigAlgorithm::HmacSha512,
            _ => return Err(KeyError::Algorithm { name }),
        };
        let secret = field("secret").and_then(|secret| zone::base64(secret.as_bytes()));
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
            return Err(KeyError::Secret { name });
        };
        let Ok(owner) = Name::from_ascii(&name) else { return Err(KeyError::Name { name }) };
        match TSigner::new(secret, algorithm, owner.to_lowercase(), FUDGE) {
            Ok(signer) => keys.push(Key(signer)),
            Err(_unsupported) => return Err(KeyError::Algorithm { name }),
        }
    }
    if keys.is_empty() { Err(KeyError::None) } else { Ok(keys) }
}

/// Judges the signature of a request, if it has one.
pub(super) fn verify(keys: &[Key], request: &Message, packet: &[u8]) -> Signed {
    let Some(record) = &request.signature else { return Signed::Not };
    let (id, now) = (request.metadata.id, now());
    let Some(Key(key)) = keys.iter().find(|Key(key)| {
        *key.signer_name() == record.name && *key.algorithm() == record.data.algorithm
    }) else {
        return Signed::Wrong(TSigResponseContext::unknown_key(id, now, record.name.clone()));
    };
    // The library subtracts one from the other.
    if record.data.time < u64::from(record.data.fudge) {
        return Signed::Wrong(TSigResponseContext::bad_signature(id, now, key.clone()));
    }
    match key.verify_message_byte(packet, None, true) {
        Ok((previous, time, span)) => {
            let late = (!(span.start..=span.end).contains(&now)).then_some(time);
            let signer = Box::new(Signer { key: key.clone(), id, previous, first: true, late });
            if late.is_some() { Signed::Late(signer) } else { Signed::By(signer) }
        }
        Err(_wrong) => Signed::Wrong(TSigResponseContext::bad_signature(id, now, key.clone())),
    }
}

impl Key {
    /// Signs a message that is no answer.
    pub(super) fn sign_request(&self, request: &mut Message) -> Result<(), ProtoError> {
        request.finalize(&self.0, now()).map(drop)
    }
}

impl Signer {
    /// The most bytes that a signature adds.
    pub(super) const ROOM: usize = 512;

    /// Puts a signature behind the message.
    pub(super) fn sign(&mut self, message: &mut Vec<u8>) {
        let name = self.key.signer_name();
        let algorithm = self.key.algorithm().clone();
        let (time, error, other) = match self.late {
            Some(time) => (time, Some(TsigError::BadTime), now().to_be_bytes()[2..].to_vec()),
            None => (now(), None, Vec::new()),
        };
        let tsig = TSIG::new(algorithm, time, FUDGE, Vec::new(), self.id, error, other);
        let mut covered = Vec::with_capacity(message.len() + Self::ROOM);
        let length = u16::try_from(self.previous.len()).expect("codes have at most 64 bytes");
        covered.extend(length.to_be_bytes());
        covered.extend(&self.previous);
        covered.extend(message.iter());
        if std::mem::take(&mut self.first) {
            let mut variables = Vec::new();
            let mut encoder = BinEncoder::new(&mut variables);
            tsig.emit_tsig_for_mac(&mut encoder, name).expect("names and numbers fit");
            covered.extend(variables);
        } else {
            covered.extend(&tsig.time.to_be_bytes()[2..]);
            covered.extend(tsig.fudge.to_be_bytes());
        }
        self.previous = self.key.sign(&covered).expect("the algorithm was accepted with the key");
        append(message, &make_tsig_record(name.clone(), tsig.set_mac(self.previous.clone())));
    }
}

/// Puts the record that says what was wrong with the signature behind the message.
pub(super) fn refuse(context: TSigResponseContext, message: &mut Vec<u8>) {
    if let Ok(record) = context.sign(message) {
        append(message, &*record);
    }
}

fn append(message: &mut Vec<u8>, record: &impl BinEncodable) {
    message.extend(record.to_bytes().expect("a signature fits"));
    let count = &mut message[ADDITIONAL_COUNT..ADDITIONAL_COUNT + 2];
    let number = u16::from_be_bytes([count[0], count[1]]) + 1;
    count.copy_from_slice(&number.to_be_bytes());
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl fmt::Debug for Key {
    /// The name and nothing else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.signer_name())
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::RecordType;
    use hickory_proto::serialize::binary::BinDecodable;

    use super::*;

    /// Who asks too late learns what the time is (RFC 8945 §5.2.3), with a signature.
    #[test]
    fn a_late_request_is_told_the_time() {
        let text = "key a { algorithm hmac-sha256; secret c2VjcmV0; };";
        let keys = read_keys(text).unwrap();
        let verified = |time: u64| {
            let mut request = Message::new(7, MessageType::Query, OpCode::Query);
            request.add_query(Query::query(Name::from_ascii("a.test.").unwrap(), RecordType::SOA));
            request.finalize(&keys[0].0, time).unwrap();
            let packet = request.to_bytes().unwrap();
            verify(&keys, &Message::from_bytes(&packet).unwrap(), &packet)
        };
        let long_ago = now() - u64::from(FUDGE) - 10;
        assert!(matches!(verified(now()), Signed::By(_)));
        let Signed::Late(mut signer) = verified(long_ago) else { panic!("it was too late") };
        let mut answer = Message::new(7, MessageType::Response, OpCode::Query).to_bytes().unwrap();
        signer.sign(&mut answer);
        let answer = Message::from_bytes(&answer).unwrap();
        let signature = answer.signature.unwrap().data;
        assert_eq!(signature.time, long_ago);
        assert_eq!(signature.error, Some(TsigError::BadTime));
        assert_eq!((signature.other.len(), signature.mac.len()), (6, 32));
    }

    #[test]
    fn keys_are_read_as_the_tools_of_bind_write_them() {
        let text = "key \"one.\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n\
                    key two { algorithm hmac-sha512; secret c2VjcmV0; };\n";
        let keys = read_keys(text).unwrap();
        assert_eq!(format!("{keys:?}"), "[Key(one.), Key(two.)]");
        assert_eq!(keys[0].0.key(), b"secret");
        for (text, wanted) in [
            ("", KeyError::None),
            (
                "key a { algorithm hmac-md5; secret c2VjcmV0; };",
                KeyError::Algorithm { name: "a".to_owned() },
            ),
            (
                "key a { algorithm hmac-sha256; secret \"%\"; };",
                KeyError::Secret { name: "a".to_owned() },
            ),
        ] {
            assert_eq!(read_keys(text).unwrap_err(), wanted, "{text}");
        }
    }
}
