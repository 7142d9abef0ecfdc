use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode};
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::{self, Answer, Failure, Node};
use crate::discovery::roll::Entry;
use crate::discovery::token_error::Error;
use crate::discovery::{Pace, http as shared};
use crate::membership::MemberId;
use crate::v2::X_ETCD_INDEX;

/// Answers longer than this are no registrations.
const MAX_BODY_BYTES: usize = 4 << 20;
const MAX_REDIRECTS: usize = 10;

/// The v2 client of one token: one endpoint, one directory.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Scheme, host and port.
    base: Url,
    /// Path of the token's directory; the trailing slash is kept for the directory itself only.
    path: String,
    /// The query of the discovery URL; it goes along with every request.
    query: Vec<(String, String)>,
    pace: Pace,
}

/// A change below the directory.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) modified_index: Option<u64>,
    /// The registration it made; `None` when it took one away.
    pub(super) entry: Option<Entry>,
}

impl Client {
    pub(super) fn new(text: &str, proxy: Option<&str>, pace: Pace) -> Result<Self, Error> {
        let mut base =
            Url::parse(text).map_err(|source| Error::Url { text: text.to_owned(), source })?;
        let path = clean(base.path());
        let query = base.query_pairs().into_owned().collect();
        base.set_query(None);
        base.set_fragment(None);
        base.set_path("");
        // etcd does not send what stands before the `@`; these fail only for URLs without a host.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        let http = shared::client(proxy, None, None).map_err(|source| Error::Client { source })?;
        Ok(Self { http, base, path, query, pace })
    }

    /// How many members the cluster has.
    pub(super) async fn size(&self) -> Result<usize, Failure> {
        let read = [("quorum", "false"), ("recursive", "false"), ("sorted", "false")];
        let answer = self.get(&self.below("_config/size"), &read, self.pace.request).await;
        let node = match answer {
            Ok(Some(answer)) => answer.node,
            Ok(None) => return Err(Failure::Final(Error::EmptyBody)),
            Err(Failure::Final(Error::InvalidJson)) => {
                return Err(Failure::Final(Error::BadEndpoint));
            }
            Err(failure) => return Err(failure),
        };
        let text = node.value.unwrap_or_default();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(size) if digits && size > 0 => Ok(size),
            _ => Err(Failure::Final(Error::BadSize)),
        }
    }

    /// All registrations, and the index up to which they are complete.
    pub(super) async fn entries(&self) -> Result<(Vec<Entry>, u64), Failure> {
        let read = [("quorum", "false"), ("recursive", "false"), ("sorted", "false")];
        let answer = self.get(&self.path, &read, self.pace.request).await?;
        let Some(Answer { node, index, .. }) = answer else {
            return Err(Failure::Final(Error::EmptyBody));
        };
        // Without the header the newest index in the answer is the best that is known: what came
        // later has a greater one.
        let newest = |node: &Node| node.modified_index.max(node.created_index).unwrap_or_default();
        let shown = node.nodes.iter().flatten().map(newest).max().unwrap_or_default();
        let index = index.unwrap_or_else(|| shown.max(newest(&node)));
        let entries = node.nodes.unwrap_or_default().into_iter().map(Node::into_entry).collect();
        Ok((entries, index))
    }

    /// Registers a member that must not be registered yet; the created index, if it is told.
    pub(super) async fn register(&self, id: MemberId, value: &str) -> Result<Option<u64>, Failure> {
        let url = self.url(&self.below(&id.to_string()), &[("prevExist", "false")]);
        let form = Serializer::new(String::new()).append_pair("value", value).finish();
        match self.send(&Method::PUT, url, Some(form), self.pace.request).await? {
            Some(answer) => Ok(answer.node.created_index.or(answer.node.modified_index)),
            None => Ok(None),
        }
    }

    /// Sees the own registration in the history.
    pub(super) async fn own(&self, id: MemberId, created: u64) -> Result<(), Failure> {
        let index = created.to_string();
        let watch = [("recursive", "false"), ("wait", "true"), ("waitIndex", index.as_str())];
        self.get(&self.below(&id.to_string()), &watch, self.pace.request).await.map(drop)
    }

    /// Waits for the first change from that index on; `None` when the service ends the wait.
    pub(super) async fn next_event(&self, from: u64) -> Result<Option<Event>, Failure> {
        let index = from.to_string();
        let watch = [("recursive", "true"), ("wait", "true"), ("waitIndex", index.as_str())];
        let answer = self.get(&self.path, &watch, self.pace.poll).await?;
        Ok(answer.map(|Answer { node, gone, .. }| Event {
            modified_index: node.modified_index,
            entry: (!gone).then(|| node.into_entry()),
        }))
    }

    async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Option<Answer>, Failure> {
        self.send(&Method::GET, self.url(path, query), None, limit).await
    }

    /// The path of something in the directory.
    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.path.trim_end_matches('/'))
    }

    /// Parameters go in the order of their names, those of the discovery URL among them.
    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut pairs: Vec<(&str, &str)> = query.to_vec();
        pairs.extend(self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        pairs.sort_unstable();
        let mut url = self.base.clone();
        url.set_path(path);
        url.query_pairs_mut().extend_pairs(pairs);
        url
    }

    async fn send(
        &self,
        method: &Method,
        url: Url,
        form: Option<String>,
        limit: Duration,
    ) -> Result<Option<Answer>, Failure> {
        tokio::time::timeout(limit, self.follow(method, url, form))
            .await
            .unwrap_or(Err(Failure::Silent))
    }

    /// Sends a request and follows redirects with method and form kept.
    async fn follow(
        &self,
        method: &Method,
        mut url: Url,
        form: Option<String>,
    ) -> Result<Option<Answer>, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let address = url.authority().to_owned();
            let failed = |error: reqwest::Error| Failure::Passing(shared::reason(&error, &address));
            let mut request = self.http.request(method.clone(), url.clone());
            if let Some(form) = &form {
                request = request
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.clone());
            }
            let response = request.send().await.map_err(failed)?;
            let status = response.status();
            if status.is_redirection() {
                url = target(&url, &response)?;
                continue;
            }
            return self.judge(status, response).await;
        }
        Err(Failure::Passing("client: too many redirects".to_owned()))
    }

    async fn judge(
        &self,
        status: StatusCode,
        response: reqwest::Response,
    ) -> Result<Option<Answer>, Failure> {
        let endpoint = self.base.as_str().trim_end_matches('/');
        let index = response.headers().get(X_ETCD_INDEX);
        let index = index.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let body = shared::body(response, MAX_BODY_BYTES)
            .await
            .map_err(|error| Failure::Passing(shared::reason(&error, endpoint)))?;
        let body = body.ok_or(Failure::Final(Error::InvalidJson))?;
        answer::judge(status, index.as_deref(), &body, endpoint)
    }
}

/// Where a redirect points to.
fn target(from: &Url, response: &reqwest::Response) -> Result<Url, Failure> {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        return Err(Failure::Passing("client: location header not set".to_owned()));
    };
    let url = from.join(location).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| Failure::Passing(format!("the redirect to `{location}` leads nowhere")))
}

/// Removes empty, `.` and `..` segments; one trailing slash stays.
fn clean(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let trailing = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{trailing}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spelled_as_etcd_spells_them() {
        let cases = [
            (
                "http://h:1/T",
                "/T?recursive=true&wait=true",
                "/T/_config/size?recursive=true&wait=true",
            ),
            (
                "http://h:1/T/",
                "/T/?recursive=true&wait=true",
                "/T/_config/size?recursive=true&wait=true",
            ),
            (
                "http://h:1//a/./b/../T",
                "/a/T?recursive=true&wait=true",
                "/a/T/_config/size?recursive=true&wait=true",
            ),
            (
                "http://u:p@h:1/T?sa=b#f",
                "/T?recursive=true&sa=b&wait=true",
                "/T/_config/size?recursive=true&sa=b&wait=true",
            ),
        ];
        for (text, directory, size) in cases {
            let client = Client::new(text, None, Pace::default()).unwrap();
            let query = [("recursive", "true"), ("wait", "true")];
            let url = |path: &str| client.url(path, &query).as_str().replacen("http://h:1", "", 1);
            assert_eq!(url(&client.path), directory, "{text}");
            assert_eq!(url(&client.below("_config/size")), size, "{text}");
        }
    }
}
