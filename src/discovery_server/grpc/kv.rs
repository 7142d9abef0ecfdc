use std::net::IpAddr;
use std::time::Instant;

use axum::http::HeaderMap;
use tonic::{Request, Response, Status};

use super::keys::{self, Leaf, Scope};
use super::{Service, refuse};
use crate::admission::{ClusterSize, Refusal};
use crate::discovery_server::asked;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;
use crate::registry::{self, NewToken, Outcome};
use crate::token::TokenPath;

/// Reading and writing the keys of a token.
#[derive(Debug)]
pub(super) struct Kv(pub(super) Service);

impl Kv {
    /// Makes sure that a token which another service made a moment ago is known.
    async fn ensure_known(&self, key: &bytes::Bytes) {
        let scope = Scope::of(key, &bytes::Bytes::new());
        self.0.registry().ensure_known(scope.iter().filter_map(Scope::token)).await;
    }

    fn read(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        if request.key == keys::HEALTH && request.range_end.is_empty() {
            return Err(refuse::health());
        }
        let scope = Scope::of(&request.key, &request.range_end)?;
        if let Some((used, token)) = scope.not_bare() {
            let refusal = Refusal::NotBare { used, token };
            return Err(self.0.status(&registry::Error::Refused(refusal)));
        }
        let snapshot = self.0.snapshot(scope.token());
        let founding = snapshot.founding.as_deref();
        let mut response = keys::range(&scope, request, founding, snapshot.revision)?;
        response.header = self.0.header(snapshot.revision);
        Ok(response)
    }

    async fn write(
        &self,
        request: &pb::PutRequest,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<pb::PutResponse, Status> {
        let scope = Scope::of(&request.key, &bytes::Bytes::new())?;
        let options = [
            ("lease", request.lease != 0),
            ("ignore_value", request.ignore_value),
            ("ignore_lease", request.ignore_lease),
        ];
        if let Some((name, _)) = options.iter().find(|(_, given)| *given) {
            return Err(refuse::option(name));
        }
        let value = String::from_utf8_lossy(&request.value);
        let (revision, held) = match scope.leaf()? {
            (token, Leaf::Size) => self.create(token, &value, headers, from).await?,
            (token, Leaf::Member(id)) => self.register(token, id, &value, from).await?,
        };
        let prev_kv = held.filter(|_| request.prev_kv);
        Ok(pb::PutResponse { header: self.0.header(revision), prev_kv })
    }

    /// Makes a token by writing its size.
    async fn create(
        &self,
        token: &TokenPath,
        value: &str,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<(u64, Option<KeyValue>), Status> {
        let size = ClusterSize::parse(value.trim(), self.0.config().max_size)
            .map_err(|error| self.0.status(&Refusal::Size(error).into()))?;
        // Writing a size that is there makes nothing.
        if self.0.registry().founding(token).is_none() {
            let known = self.0.config().accounts.is_some();
            let asker = self.0.asker(headers, from, known).map_err(refuse::turned_away)?;
            self.0.spend(&asker).map_err(refuse::turned_away)?;
        }
        let wanted =
            NewToken { path: token.clone(), size, label: None, ttl: None, client_port: None, from };
        let created = self.0.create(wanted).await.map_err(|error| self.0.status(&error))?;
        Ok(if created.existed {
            (self.0.snapshot(Some(token)).revision, Some(keys::size(&created.founding)))
        } else {
            (created.founding.index, None)
        })
    }

    /// Registers a node. An identical repeat while the token is open changes nothing, so that the
    /// node keeps its place.
    async fn register(
        &self,
        token: &TokenPath,
        id: &str,
        value: &str,
        from: Option<IpAddr>,
    ) -> Result<(u64, Option<KeyValue>), Status> {
        if self.0.snapshot(Some(token)).founding.is_none() {
            return Err(match self.0.registry().founding(token) {
                Some(_) => self.0.status(&registry::Error::Refused(Refusal::Expired)),
                None => refuse::unknown(),
            });
        }
        let registered = self.0.register(token, id, value, &self.0.v3_door(from)).await;
        let registration = registered.map_err(|error| self.0.status(&error))?;
        Ok(if registration.outcome == Outcome::Resumed {
            let held = keys::member(token, &registration.registered);
            (self.0.snapshot(Some(token)).revision, Some(held))
        } else {
            (registration.founding.index, None)
        })
    }
}

refuse::service! {
    impl pb::kv_server::Kv for Kv {
        async fn range(
            &self,
            request: Request<pb::RangeRequest>,
        ) -> Result<Response<pb::RangeResponse>, Status> {
            let began = Instant::now();
            let answer = match self.0.admit(request.metadata()) {
                Ok(()) => {
                    self.ensure_known(&request.get_ref().key).await;
                    self.read(request.get_ref())
                }
                Err(refused) => Err(refused),
            };
            self.0.metrics().answered("v3_range", began.elapsed());
            answer.map(Response::new)
        }

        async fn put(
            &self,
            request: Request<pb::PutRequest>,
        ) -> Result<Response<pb::PutResponse>, Status> {
            let began = Instant::now();
            let answer = match self.0.admit(request.metadata()) {
                Ok(()) => {
                    self.ensure_known(&request.get_ref().key).await;
                    let from = asked::client(request.extensions());
                    self.write(request.get_ref(), request.metadata().as_ref(), from).await
                }
                Err(refused) => Err(refused),
            };
            self.0.metrics().answered("v3_put", began.elapsed());
            answer.map(Response::new)
        }

        type RangeStreamStream = tokio_stream::Empty<Result<pb::RangeStreamResponse, Status>>;

        async fn range_stream(
            &self,
            _: Request<pb::RangeRequest>,
        ) -> Result<Response<Self::RangeStreamStream>, Status> {
            Err(refuse::absent())
        }
    }
    absent {
        delete_range: DeleteRangeRequest -> DeleteRangeResponse,
        txn: TxnRequest -> TxnResponse,
        compact: CompactionRequest -> CompactionResponse,
    }
}
