# Both programs in one image without a shell. The service is what starts; a node is
# `docker run --entrypoint /usr/local/bin/quorate-node IMAGE --name n1 ...`. The service is told its URL by
# `-e QUORATE_PUBLIC_URL=http://HOST:8087` and its zone files by `-v DIR:/zones:ro`.
#
# Releases pin both bases by digest: --build-arg RUST=rust@sha256:... --build-arg BASE=gcr.io/...@sha256:...
ARG RUST=docker.io/library/rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
WORKDIR /src
COPY rust-toolchain.toml Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY proto proto
COPY migrations migrations
COPY benches benches
COPY tests tests
COPY src src
RUN cargo build --release --locked --bins \
 && mkdir -p /data/quorate.data /zones

FROM ${BASE}
COPY --from=build /src/target/release/quorate /src/target/release/quorate-node /usr/local/bin/
COPY --from=build --chown=nonroot:nonroot /data /data
COPY --from=build --chown=nonroot:nonroot /zones /zones
USER nonroot
WORKDIR /data
VOLUME /data
# Token API and v2 keys, DNS; client and peer port of a node.
EXPOSE 8087/tcp 8053/udp 8053/tcp 2379/tcp 2380/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/quorate"]
CMD ["serve", "--data-dir=/data/quorate.data", "--zones-dir=/zones", "--http-addr=0.0.0.0:8087", "--dns-addr=0.0.0.0:8053"]
# There is no shell and no curl here: point the orchestrator's probe at GET /health on port 8087.
