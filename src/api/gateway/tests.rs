use super::parse::whole;
use super::{descriptors, read, routes, write};

/// What a JSON request becomes, written again.
fn through(method: &str, json: &str) -> Result<String, String> {
    let kind = descriptors::method(method).unwrap().input();
    let message = read::message(&whole(json.as_bytes())?, &kind)?;
    let mut text = String::new();
    write::message(&message, &mut text);
    Ok(text)
}

#[test]
fn every_route_names_a_method() {
    for (path, name) in routes::ROUTES {
        assert!(descriptors::method(name).is_some(), "{path}: {name}");
    }
}

#[test]
fn every_method_but_range_stream_has_a_route() {
    for service in ["KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth"] {
        let any = routes::ROUTES.iter().find(|(_, name)| name.contains(&format!(".{service}/")));
        let any = descriptors::method(any.unwrap().1).unwrap();
        for method in any.parent_service().methods() {
            let full = format!("etcdserverpb.{service}/{}", method.name());
            let routed = routes::ROUTES.iter().any(|(_, name)| *name == full);
            assert_eq!(routed, method.name() != "RangeStream", "{full}");
        }
    }
}

#[test]
fn names_numbers_and_enumerations_have_several_spellings() {
    for (json, same) in [
        (r#"{"key":"Zm9v","rangeEnd":"Zm9w"}"#, r#"{"key":"Zm9v","range_end":"Zm9w"}"#),
        (r#"{"limit":5,"revision":"-7"}"#, r#"{"limit":"5","revision":"-7"}"#),
        (r#"{"sort_order":"DESCEND"}"#, r#"{"sort_order":"DESCEND"}"#),
        (r#"{"sortOrder":2,"sort_target":9}"#, r#"{"sort_order":"DESCEND","sort_target":9}"#),
        (r#"{"count_only":true,"countOnly":false,"unknown":[1,{}]}"#, "{}"),
        (r#"{"key":null,"limit":null}"#, "{}"),
        ("null", "{}"),
    ] {
        assert_eq!(through("etcdserverpb.KV/Range", json).as_deref(), Ok(same), "{json}");
    }
}

#[test]
fn oneofs_are_flat() {
    let json = r#"{"compare":[{"result":"EQUAL","target":"VERSION","key":"Zm9v","version":0}],
        "success":[{"requestPut":{"key":"Zm9v"}},{"request_range":{"key":"Zm9v"}}]}"#;
    let same = r#"{"compare":[{"key":"Zm9v","version":"0"}],"success":[{"request_put":{"key":"Zm9v"}},{"request_range":{"key":"Zm9v"}}]}"#;
    assert_eq!(through("etcdserverpb.KV/Txn", json).as_deref(), Ok(same));
}

/// Measured on etcd 3.5.1.
#[test]
fn wrong_requests_are_refused_in_the_words_of_go() {
    for (json, words) in [
        (r#"{"key":"Zm9"}"#, "illegal base64 data at input byte 0"),
        (r#"{"key":"Zm-_"}"#, "illegal base64 data at input byte 2"),
        (r#"{"key":7}"#, "json: cannot unmarshal number into Go value of type []uint8"),
        (r#"{"limit":"abc"}"#, "invalid character 'a' looking for beginning of value"),
        (r#"{"limit":""}"#, "unexpected end of JSON input"),
        (r#"{"limit":1.5}"#, "json: cannot unmarshal number 1.5 into Go value of type int64"),
        (r#"{"serializable":"yes"}"#, "json: cannot unmarshal string into Go value of type bool"),
        (
            r#"{"sort_order":"FOO"}"#,
            r#"unknown value "\"FOO\"" for enum etcdserverpb.RangeRequest.SortOrder"#,
        ),
        (
            r#"{"sort_order":[]}"#,
            "json: cannot unmarshal array into Go value of type protoreflect.EnumNumber",
        ),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]json.RawMessage"),
    ] {
        let refused = through("etcdserverpb.KV/Range", json).unwrap_err();
        assert_eq!(refused, words, "{json}");
    }
    let refused = through("etcdserverpb.Cluster/MemberAdd", r#"{"peerURLs":"x"}"#).unwrap_err();
    assert_eq!(refused, "json: cannot unmarshal string into Go value of type []json.RawMessage");
}

#[test]
fn texts_are_harmless_in_html() {
    let json = r#"{"name":"<a&\"\\\u2028\u0001>"}"#;
    let same = r#"{"name":"\u003ca\u0026\"\\\u2028\u0001\u003e"}"#;
    assert_eq!(through("etcdserverpb.Auth/UserAdd", json).as_deref(), Ok(same));
}
