//! The doors for people: the page in a real browser, and what other programs ask of `/new`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use quorate::membership::MemberId;
use serde_json::Value;

use crate::harness::{
    Answer, Browser, DEADLINE, Process, Service, free_port, http, http_with, scratch, tools, wait,
};

/// Registers a member as a node does that was given this URL.
fn register(url: &str, name: &str, port: u16) -> Answer {
    let peer = format!("http://127.0.0.1:{port}");
    let id = MemberId::derive([peer.as_str()], url);
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let value = format!("value={name}%3Dhttp%3A%2F%2F127.0.0.1%3A{port}");
    http("PUT", &format!("{url}/{id}?prevExist=false"), Some(&value)).unwrap()
}

#[test]
fn the_page_follows_registrations_in_a_browser() {
    let dir = scratch();
    let Some(mut browser) = Browser::start(dir.path()) else { return };
    let service = Service::start(dir.path());
    let url = service.new_token(3);
    let token = url.rsplit('/').next().unwrap();
    browser.open(&url);
    let text = browser.text();
    for shown in ["0 of 3 members", "Member 1 of 3 is missing", "--discovery"] {
        assert!(text.contains(shown), "{shown} is not shown: {text}");
    }
    // A mark that a reload would lose.
    browser.evaluate("window.same = true");
    assert_eq!(register(&url, "n1", 3001).status, 201);
    let hostile = "<i>n2</i>";
    assert_eq!(register(&url, hostile, 3002).status, 201);
    assert_eq!(register(&url, "n1", 3003).status, 403);
    wait("the page to show both and the refusal", || {
        let text = browser.text();
        let all = ["2 of 3 members", "127.0.0.1:3001", hostile, "Q1030"];
        all.iter().all(|shown| text.contains(shown)).then_some(())
    });
    assert_eq!(register(&url, "n3", 3003).status, 201);
    wait("the page to be complete", || browser.text().contains("Complete").then_some(()));
    let told = browser.evaluate("document.getElementById('live').textContent");
    assert!(told.as_str().unwrap().starts_with("Complete: all 3 members"), "{told}");
    assert_eq!(browser.evaluate("window.same"), true, "the page was not loaded again");
    let marked = browser.evaluate("document.querySelectorAll('#state i').length");
    assert_eq!(marked, 0, "names are text");
    let title = browser.evaluate("document.title").as_str().unwrap().to_owned();
    assert!(title.starts_with("3 of 3: ") && !title.contains(token), "{title}");
    let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    let phone = serde_json::json!({
        "width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": true
    });
    browser.call("Emulation.setDeviceMetricsOverride", &phone);
    assert_eq!(browser.evaluate(wide), false, "a phone must not scroll sideways");

    let view = browser.evaluate("document.querySelector('.share code').textContent");
    let view = view.as_str().unwrap().to_owned();
    browser.open(&view);
    let shown = browser.evaluate("document.documentElement.outerHTML");
    let shown = shown.as_str().unwrap();
    assert!(shown.contains("127.0.0.1:3001") && shown.contains("Q1030"), "{shown}");
    assert!(!shown.contains(token), "the page for looking has no secret");
}

#[test]
fn a_form_makes_a_token_without_a_script() {
    let dir = scratch();
    let Some(mut browser) = Browser::start(dir.path()) else { return };
    let service = Service::start(dir.path());
    let off = serde_json::json!({ "value": true });
    browser.call("Emulation.setScriptExecutionDisabled", &off);
    browser.open(&service.url("/"));
    browser.evaluate(
        "document.getElementById('size').value = '2'; document.getElementById('name').value = \
         'prod'; document.forms[0].submit()",
    );
    let url = wait("the page of the token", || {
        let url = browser.evaluate("document.readyState + location.href");
        let url = url.as_str()?.strip_prefix("complete")?.to_owned();
        (url != service.url("/") && !url.ends_with("/new")).then_some(url)
    });
    assert!(browser.text().contains("0 of 2 members"), "{}", browser.text());
    assert_eq!(browser.evaluate("document.querySelectorAll('.copy').length"), 0, "no script ran");
    assert_eq!(register(&url, "n1", 3001).status, 201);
    wait("the page to reload itself", || browser.text().contains("1 of 2 members").then_some(()));
}

/// Sends these very bytes and reads one answer of a stated length.
fn raw(service: &Service, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", service.http_port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.expect("the length is said").parse::<usize>().unwrap() {
                return text;
            }
        }
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the connection broke off after: {text}");
        answer.extend(&chunk[..count]);
    }
}

/// Magnum asks with Python's requests and keeps the body as it is; Terraform's `http` data source
/// asks with Go's client and wants a type that is text.
#[test]
fn magnum_and_terraform_get_a_bare_url() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let agents = [
        "User-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n\
         Connection: keep-alive\r\n",
        "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
        "User-Agent: curl/8.5.0\r\nAccept: */*\r\n",
    ];
    for agent in agents {
        let answer = raw(&service, &format!("GET /new?size=3 HTTP/1.1\r\nHost: h\r\n{agent}\r\n"));
        let (head, url) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(head.contains("Content-Type: text/plain; charset=utf-8"), "{head}");
        assert!(url.starts_with(&service.url("/")) && !url.ends_with('\n'), "{url:?}");
        // Magnum then asks for the size.
        let size = http("GET", &format!("{url}/_config/size"), None).unwrap();
        let size: Value = serde_json::from_str(&size.body).unwrap();
        assert_eq!(size["node"]["value"], "3");
        let path = url.strip_prefix(&service.url("")).unwrap();
        let page = raw(&service, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n{agent}\r\n"));
        assert!(page.contains("Content-Type: application/json"), "no HTML for programs: {page}");
    }
}

#[test]
fn new_prints_settings_for_every_place() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let print = |more: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["new", "--service", &service.url("/")])
            .args(more)
            .output()
            .unwrap();
        let (out, error) = (output.stdout, output.stderr);
        (output.status.code(), String::from_utf8(out).unwrap() + &String::from_utf8(error).unwrap())
    };
    let (code, json) = print(&["-o", "json", "--name", "prod", "--client-port", "4001"]);
    assert_eq!(code, Some(0), "{json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["size"], &json["name"]), (&3.into(), &"prod".into()));
    let start = &json["start"];
    let v3 = start["etcd-3.6"]["command"].as_str().unwrap();
    let expected = format!("--discovery-token={}", json["token"].as_str().unwrap());
    assert!(v3.contains(&expected) && v3.contains("$ADDRESS:4001"), "{v3}");
    assert_eq!(start["etcd-3.5"]["settings"]["discovery"], json["url"]);
    let (_, env) = print(&["-o", "env"]);
    assert!(env.starts_with("ETCD_DISCOVERY=\"http://127.0.0.1:"), "{env}");
    let (_, flags) = print(&["-o", "flags", "--etcd", "3.7"]);
    let endpoint = format!("--discovery-endpoints=127.0.0.1:{}", service.http_port);
    assert!(flags.contains("--discovery-token=") && flags.contains(&endpoint), "{flags}");
    let (_, yaml) = print(&["-o", "yaml", "--etcd", "3.6"]);
    assert!(yaml.starts_with("discovery-config:\n  token: "), "{yaml}");
    for (wrong, named) in [
        (["--etcd", "3.3"], "`3.3`"),
        (["--client-port", "x"], "`x`"),
        (["--ttl", "soon"], "`soon`"),
        (["--name", "No"], "`No`"),
    ] {
        let (code, text) = print(&wrong);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(named), "{named} is not named: {text}");
    }
}

/// What etcd 3.4 itself prints when its URL is spelled in another way than the service's.
#[test]
fn each_other_spelling_is_refused_in_the_log_of_a_real_etcd() {
    let Some(etcd) = tools::etcd34() else { return };
    let dir = scratch();
    let second = free_port();
    let more = format!("--http-addr=127.0.0.1:{second}");
    let plain = Service::start_with(&dir.path().join("plain"), &[&more]);
    let secure = format!("--public-url=https://127.0.0.1:{}", plain.http_port + 1);
    let secure = Service::start_with(&dir.path().join("secure"), &[&secure]);
    let url = plain.new_token(1);
    let behind_tls = secure.new_token(1);
    let path = behind_tls.rsplit('/').next().unwrap().to_owned();
    let cases = [
        ("alias", url.replace("127.0.0.1", "localhost"), &url),
        ("slash", format!("{url}/"), &url),
        ("port", url.replace(&plain.http_port.to_string(), &second.to_string()), &url),
        ("scheme", secure.url(&format!("/{path}")), &behind_tls),
    ];
    for (what, used, canonical) in cases {
        let (peer, client) = (free_port(), free_port());
        let flags = [
            format!("--name={what}"),
            format!("--data-dir={}", dir.path().join(what).display()),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--listen-client-urls=http://127.0.0.1:{client}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client}"),
            format!("--discovery={used}"),
        ];
        let mut node = Process::start(what, &etcd, &flags, &[], dir.path());
        wait("etcd to end", || (!node.is_running()).then_some(()));
        let log = node.log();
        for part in ["Q1021", &format!("follows from {used}"), &format!("--discovery {canonical}")]
        {
            assert!(log.contains(part), "{what}: {part} is not in etcd's log: {log}");
        }
    }
}

#[test]
fn nothing_in_the_page_comes_from_elsewhere_and_nothing_is_inline() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(1);
    assert_eq!(register(&url, "<script>alert(1)</script>", 3001).status, 201);
    let browser = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let page = http_with("GET", &url, &browser, None).unwrap();
    assert_eq!(page.status, 200);
    assert!(page.body.contains("&#60;script&#62;alert(1)"), "{}", page.body);
    assert!(page.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    for refused in ["<script>", "style=", "onclick", "onload", "src=\"http", "href=\"http"] {
        assert!(!page.body.contains(refused), "{refused} is in {}", page.body);
    }
    assert!(page.body.contains("<noscript><meta http-equiv=\"refresh\""), "{}", page.body);
    for file in page.body.split("=\"").filter_map(|text| text.split_once('"')) {
        if let Some(name) = file.0.strip_prefix("/assets/") {
            assert_eq!(service.get(&format!("/assets/{name}")).status, 200, "{name}");
        }
    }
}
