use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use super::{DEADLINE, tools, wait};

/// A headless Chromium with one tab, driven by the `DevTools` protocol over a pipe.
///
/// Messages are JSON, each with a zero byte at its end; the browser reads them from descriptor 3 and
/// writes them to descriptor 4.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: mpsc::Receiver<Value>,
    session: Option<String>,
    asked: u64,
}

impl Browser {
    /// `None` when there is no Chromium.
    pub fn start(dir: &Path) -> Option<Self> {
        let program = tools::chromium()?;
        let log = std::fs::File::create(dir.join("chromium.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["lab", "guard", &std::process::id().to_string(), "--"])
            .args(["sh", "-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >&2"])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-pipe"])
            .arg("--disable-background-networking")
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let (to, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, from) = mpsc::channel();
        std::thread::spawn(move || read(output, &sender));
        let mut browser = Self { child, to, from, session: None, asked: 0 };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &target);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        Some(browser)
    }

    /// Calls a method of the protocol and waits for its result.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.as_mut().expect("it is open until the end").write_all(&bytes).unwrap();
        loop {
            let answer = self.from.recv_timeout(DEADLINE).expect("the browser answers");
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
        wait("the page to be loaded", || {
            let state = self.evaluate("document.readyState + ' ' + location.href");
            state.as_str().is_some_and(|state| state == format!("complete {url}")).then_some(())
        });
    }

    /// The value of an expression on the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", &parameters)["result"]["value"].clone()
    }

    /// The text that a reader sees.
    pub fn text(&mut self) -> String {
        let text = self.evaluate("document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }
}

fn read(mut output: ChildStdout, sender: &mpsc::Sender<Value>) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 65_536]);
    while let Ok(count @ 1..) = output.read(&mut chunk) {
        bytes.extend(&chunk[..count]);
        while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            let message: Vec<u8> = bytes.drain(..=end).collect();
            let message = serde_json::from_slice(&message[..end]).unwrap();
            if sender.send(message).is_err() {
                return;
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser whose pipe is closed ends, with all of its processes.
        self.to = None;
        let started = std::time::Instant::now();
        while started.elapsed() < DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(super::LOOK);
        }
        let _ = self.child.kill();
    }
}
