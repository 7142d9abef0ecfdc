use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::{DEADLINE, Process, free_port, wait};

/// A running `quorate serve`.
#[derive(Debug)]
pub struct Service {
    pub http_port: u16,
    pub dns_port: u16,
    dir: PathBuf,
    flags: Vec<String>,
    pub process: Process,
}

impl Service {
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// With flags besides those for its data, zones and addresses.
    pub fn start_with(dir: &Path, more: &[&str]) -> Self {
        let (http_port, dns_port) = (free_port(), free_port());
        std::fs::create_dir_all(dir.join("zones")).unwrap();
        let mut flags = vec![
            "serve".to_owned(),
            format!("--data-dir={}", dir.join("quorate.data").display()),
            format!("--zones-dir={}", dir.join("zones").display()),
            format!("--http-addr=127.0.0.1:{http_port}"),
            format!("--dns-addr=127.0.0.1:{dns_port}"),
        ];
        // Tests make tokens faster than people do.
        if !more.iter().any(|flag| flag.starts_with("--new-rate")) {
            flags.push("--new-rate=off".to_owned());
        }
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let process = Self::spawn(dir, &flags);
        let service = Self { http_port, dns_port, dir: dir.to_owned(), flags, process };
        service.wait_until_healthy();
        service
    }

    fn spawn(dir: &Path, flags: &[String]) -> Process {
        Process::start("quorate", Path::new(env!("CARGO_BIN_EXE_quorate")), flags, &[], dir)
    }

    /// The same service again after it ended or was killed.
    pub fn restart(&mut self) {
        self.process = Self::spawn(&self.dir, &self.flags);
        self.wait_until_healthy();
    }

    fn wait_until_healthy(&self) {
        wait("the service's health", || {
            http("GET", &self.url("/health"), None).ok().filter(|answer| answer.status == 200)
        });
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// A fresh discovery URL.
    pub fn new_token(&self, size: usize) -> String {
        let answer = http("GET", &self.url(&format!("/new?size={size}")), None).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body.trim().to_owned()
    }

    pub fn get(&self, path: &str) -> Answer {
        http("GET", &self.url(path), None).unwrap()
    }

    /// How many polls and watches are held at this moment.
    pub fn waiters(&self) -> usize {
        let metrics = self.get("/metrics").body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("quorate_waiters "));
        line.expect("the metric").parse().unwrap()
    }

    /// A registration is seen before its node knows of it; a node that waits has had its answer.
    pub fn wait_for_waiters(&self, count: usize) {
        wait(&format!("{count} nodes to wait"), || (self.waiters() == count).then_some(()));
    }

    pub fn put(&self, path: &str, form: &str) -> Answer {
        http("PUT", &self.url(path), Some(form)).unwrap()
    }
}

/// What an HTTP server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// A header by its name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// One request on a connection of its own; HTTP/1.0, so the body ends with the connection.
pub fn http(method: &str, url: &str, form: Option<&str>) -> io::Result<Answer> {
    http_with(method, url, &[], form)
}

/// The same with more headers.
pub fn http_with(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    form: Option<&str>,
) -> io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("tests speak plain HTTP");
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if let Some(form) = form {
        request += "Content-Type: application/x-www-form-urlencoded\r\n";
        request += &format!("Content-Length: {}\r\n", form.len());
    }
    request += "\r\n";
    request += form.unwrap_or_default();
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let no_answer = || io::Error::new(io::ErrorKind::UnexpectedEof, "no HTTP answer");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_answer)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(no_answer)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
