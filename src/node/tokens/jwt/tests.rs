use super::*;

const TTL: Duration = Duration::from_secs(600);

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("src/node/tokens/testdata/{name}")).unwrap()
}

fn jwt(method: &str, public: Option<&str>, private: Option<&str>) -> Result<Jwt, JwtError> {
    let (public, private) = (public.map(file), private.map(file));
    Jwt::new(method.parse().unwrap(), public.as_deref(), private.as_deref(), TTL)
}

#[test]
fn every_method_signs_what_it_verifies() {
    let cases = [
        ("HS256", None, "rsa.pub"),
        ("HS384", None, "rsa.pub"),
        ("HS512", None, "rsa.pub"),
        ("RS256", Some("rsa.pub"), "rsa-pkcs8.pem"),
        ("RS384", Some("rsa.crt"), "rsa-pkcs1.pem"),
        ("RS512", None, "rsa-pkcs1.pem"),
        ("PS256", Some("rsa.pub"), "rsa-pkcs8.pem"),
        ("PS384", Some("rsa.pub"), "rsa-pkcs8.pem"),
        ("PS512", Some("rsa.pub"), "rsa-pkcs8.pem"),
        ("ES256", Some("ec256.pub"), "ec256-sec1.pem"),
        ("ES256", None, "ec256-pkcs8.pem"),
        ("ES384", Some("ec384.pub"), "ec384-sec1.pem"),
        ("ES384", Some("ec384.pub"), "ec384-pkcs8.pem"),
        ("ES512", Some("ec521.pub"), "ec521-sec1.pem"),
        ("ES512", Some("ec521.pub"), "ec521-pkcs8.pem"),
        ("EdDSA", Some("ed25519.pub"), "ed25519-pkcs8.pem"),
    ];
    let now = SystemTime::now();
    for (method, public, private) in cases {
        let signer = jwt(method, public, Some(private)).unwrap();
        let token = signer.sign("alice", 7, now).unwrap();
        let holder = Holder { user: "alice".into(), revision: Some(7) };
        assert_eq!(signer.holder(&token, now), Some(holder.clone()), "{method}");
        assert_eq!(signer.holder(&token, now + TTL), None, "{method}: it has run out");
        let tampered = token.replace('.', "x.");
        assert_eq!(signer.holder(&tampered, now), None, "{method}");
        if let Some(public) = public {
            let checker = jwt(method, Some(public), None).unwrap();
            assert_eq!(checker.holder(&token, now), Some(holder), "{method}: public key alone");
            assert_eq!(checker.sign("alice", 7, now), Err(JwtError::VerifyOnly));
        }
    }
}

#[test]
fn a_token_of_another_method_or_key_is_no_token() {
    let now = SystemTime::now();
    let signer = jwt("RS256", None, Some("rsa-pkcs8.pem")).unwrap();
    let other = jwt("RS512", None, Some("rsa-pkcs8.pem")).unwrap();
    assert_eq!(other.holder(&signer.sign("alice", 7, now).unwrap(), now), None);
    // The public key as a secret: the classic confusion.
    let confused = jwt("HS256", None, Some("rsa.pub")).unwrap();
    assert_eq!(signer.holder(&confused.sign("root", 7, now).unwrap(), now), None);
    // `{"alg":"none"}` with the claims of root.
    let none = "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6OX0.";
    for text in ["", "a.b.c", "abc", none] {
        assert_eq!(signer.holder(text, now), None, "{text}");
    }
}

#[test]
fn the_claims_are_those_of_etcd() {
    let signer = jwt("HS256", None, Some("rsa.pub")).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let token = signer.sign("alice", 7, now).unwrap();
    let (head, rest) = token.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    // {"typ":"JWT","alg":"HS256"} and {"username":"alice","revision":7,"exp":1000000600}
    assert_eq!(head, "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9");
    let wanted = "eyJ1c2VybmFtZSI6ImFsaWNlIiwicmV2aXNpb24iOjcsImV4cCI6MTAwMDAwMDYwMH0";
    assert_eq!(claims, wanted);
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let missing = Err(JwtError::MissingKey);
    assert_eq!(jwt("RS256", None, None).map(drop), missing);
    assert_eq!(jwt("HS256", Some("rsa.pub"), None).map(drop), missing);
    let other =
        Jwt::new(Method::Rs(Bits::B256), Some(&file("rsa.pub")), Some(&file("rsa-other.pem")), TTL);
    assert_eq!(other.map(drop), Err(JwtError::KeyMismatch));
    for (method, public, private) in [
        ("RS256", None, Some("ec256-sec1.pem")),
        ("ES256", None, Some("rsa-pkcs1.pem")),
        ("ES384", None, Some("ec256-sec1.pem")),
        ("EdDSA", None, Some("ec256-pkcs8.pem")),
        ("RS256", None, Some("rsa.pub")),
        ("RS256", Some("rsa-pkcs8.pem"), None),
        ("RS256", Some("ec256.pub"), None),
        ("ES256", Some("ec384.pub"), None),
        ("ES384", Some("rsa.pub"), None),
        ("ES512", Some("ec384.pub"), None),
        ("ES512", None, Some("ec384-sec1.pem")),
        ("ES384", None, Some("ec521-pkcs8.pem")),
        ("ES256", Some("ec521.pub"), None),
        ("EdDSA", Some("ec256.pub"), None),
    ] {
        let refused = jwt(method, public, private).map(drop);
        assert!(matches!(refused, Err(JwtError::BadKey { .. })), "{method}: {refused:?}");
    }
}

/// As golang-jwt has it, measured on etcd 3.4.23 and 3.5.1.
#[test]
fn a_token_of_somebody_else_may_have_a_beginning_and_an_end() {
    let signer = jwt("HS256", None, Some("rsa.pub")).unwrap();
    let method = Method::Hs(Bits::B256);
    let key = SigningKey::read(method, &file("rsa.pub")).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let valid = |times: &str| {
        let claims = format!(r#"{{"username":"alice","revision":7{times}}}"#);
        let token = jws::sign(method, &key, claims.as_bytes()).unwrap();
        signer.holder(&token, now).is_some()
    };
    for (times, wanted) in [
        ("", true),
        (r#","exp":1000000001"#, true),
        (r#","exp":1000000000"#, false),
        (r#","exp":0"#, true),
        (r#","exp":-5"#, false),
        (r#","exp":null"#, true),
        (r#","exp":"1000000001""#, false),
        (r#","nbf":1000000000"#, true),
        (r#","nbf":1000000001"#, false),
        (r#","nbf":0"#, true),
        (r#","nbf":"0""#, false),
        (r#","iat":1000000001"#, true),
    ] {
        assert_eq!(valid(times), wanted, "{times}");
    }
}
