use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Uri};
use prost::Message;
use tokio::net::TcpStream;

/// The compression flag and the length before every gRPC message.
const PREFIX: usize = 5;
/// Large enough that no window ever closes.
const WINDOW: u32 = 16 << 20;

/// gRPC on bare HTTP/2: client and servers share the cores, so what the client spends is missing
/// from the measured rates of all of them.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    origin: String,
}

impl Connection {
    pub(crate) async fn open(endpoint: &str) -> Self {
        let address = endpoint.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream)
            .await
            .unwrap();
        // It ends with the server.
        tokio::spawn(async { drop(connection.await) });
        Self { send, origin: endpoint.to_owned() }
    }

    /// `count` connections to each endpoint.
    pub(crate) async fn open_all(endpoints: &[String], count: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for endpoint in std::iter::repeat_n(endpoints, count).flatten() {
            all.push(Self::open(endpoint).await);
        }
        all
    }

    /// One request, one answer; `None` when it is refused.
    pub(crate) async fn call<A: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Option<A> {
        let mut call = self.begin(method).await?;
        call.send(request, true);
        let answer = call.next().await?;
        call.ended_well().await.then_some(answer)
    }

    /// Opens a call whose messages are sent one by one.
    pub(crate) async fn begin(&self, method: &str) -> Option<Call> {
        let mut send = self.send.clone().ready().await.ok()?;
        let uri = Uri::try_from(format!("{}/etcdserverpb.{method}", self.origin)).ok()?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
        headers.insert("te", http::HeaderValue::from_static("trailers"));
        let (response, sending) = send.send_request(request, false).ok()?;
        Some(Call { sending, answer: Answer::Awaited(response), buffer: BytesMut::new() })
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call {
    sending: SendStream<Bytes>,
    answer: Answer,
    buffer: BytesMut,
}

#[derive(Debug)]
enum Answer {
    Awaited(ResponseFuture),
    Body(RecvStream),
}

impl Call {
    pub(crate) fn send(&mut self, message: &impl Message, last: bool) {
        let length = message.encoded_len();
        let mut frame = BytesMut::with_capacity(PREFIX + length);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(length).unwrap());
        message.encode(&mut frame).unwrap();
        // A closed stream shows when the answer is read.
        let _ = self.sending.send_data(frame.freeze(), last);
    }

    async fn body(&mut self) -> Option<&mut RecvStream> {
        if let Answer::Awaited(response) = &mut self.answer {
            self.answer = Answer::Body(response.await.ok()?.into_body());
        }
        match &mut self.answer {
            Answer::Body(body) => Some(body),
            Answer::Awaited(_) => None,
        }
    }

    /// The next message; `None` at the end.
    pub(crate) async fn next<A: Message + Default>(&mut self) -> Option<A> {
        A::decode(self.next_bytes().await?).ok()
    }

    /// The next message as it came.
    pub(crate) async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            if self.buffer.len() >= PREFIX {
                let mut prefix = &self.buffer[1..PREFIX];
                let length = prefix.get_u32() as usize;
                if self.buffer.len() >= PREFIX + length {
                    self.buffer.advance(PREFIX);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            let body = self.body().await?;
            let data = body.data().await?.ok()?;
            // A window that stays closed would show as a call that never ends.
            let _ = body.flow_control().release_capacity(data.len());
            self.buffer.extend_from_slice(&data);
        }
    }

    /// Waits for the status.
    async fn ended_well(&mut self) -> bool {
        let Some(body) = self.body().await else { return false };
        while let Some(Ok(_)) = body.data().await {}
        let trailers: Option<HeaderMap> = body.trailers().await.ok().flatten();
        trailers.is_some_and(|it| it.get("grpc-status").is_some_and(|status| status == "0"))
    }
}
