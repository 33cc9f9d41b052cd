# Static programs in an image of nothing else: no shell, no libraries, not root. compose.yaml starts three nodes of it.
#
#   docker build --tag pixseal .

FROM rust:1.95-alpine AS build
# For AWS-LC, which the feature tls brings along.
# hadolint ignore=DL3018
RUN apk add --no-cache cmake g++ make musl-dev perl
WORKDIR /src
COPY . .
# For musl, programs are linked statically unless one asks for something else.
RUN cargo build --release --locked --features tls \
    && mkdir -p /image/usr/bin /image/data/images \
    && mkdir -m 700 /image/data/secrets \
    && cp target/release/server /image/usr/bin/pixseal-server \
    && cp target/release/client /image/usr/bin/pixseal-client \
    && cp target/release/seal /image/usr/bin/pixseal-seal \
    && cp target/release/stress_test /image/usr/bin/pixseal-stress-test

FROM scratch
COPY --from=build --chown=65532:65532 /image/ /
USER 65532:65532
WORKDIR /data
VOLUME ["/data/images", "/data/secrets"]
# HTTP, and heartbeats.
EXPOSE 8001/tcp 8001/udp
ENTRYPOINT ["/usr/bin/pixseal-server"]
CMD ["--help"]
