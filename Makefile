# pixseal. `make cluster`, then `make stress N=2000`. Everything else: `make help`.

NODES ?= 3
N ?= 2000
# Folders and files of the cluster that `make cluster` starts.
RUN ?= run
IMAGES ?= images
SECRETS ?= secrets
FIRST_PORT ?= 8001
# `make cluster TLS=1`: a cluster that speaks TLS. While it is there, the programs are built so that they can, too.
TLS ?=
features = $(if $(or $(TLS),$(wildcard $(RUN)/ca.pem)),--features tls)
SERVER := target/release/server
STRESS := target/release/stress_test

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

.PHONY: build
build: ## server, client, seal and stress_test in target/release; with TLS=1 they can speak TLS
	cargo build --release --locked $(features)

.PHONY: check
check: ## formatting, lints, documentation, licences
	cargo fmt --all --check
	cargo clippy --workspace --locked -- -D warnings
	cargo clippy --workspace --all-targets --locked --features tls -- -D warnings
	@# Private items are documented too, so links to them are no mistake.
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
		cargo doc --workspace --no-deps --locked --document-private-items
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check licenses bans sources; \
	else echo "check: cargo-deny is not installed (cargo install cargo-deny), licences were not checked"; fi

.PHONY: test
test: ## unit, property, simulation and real-process tests, and the real Tink if it can be had
	@tests/interop/run.sh
	cargo test --workspace --locked --features tls

SEEDS ?= 100000
.PHONY: sim
sim: ## simulate SEEDS=100000 clusters under every fault; SEED=17 replays one as a transcript
	@$(if $(SEED),SIM_SEED=$(SEED),SIM_SEEDS=$(SEEDS)) cargo test --release --locked --test election laws_hold -- --nocapture

.PHONY: truth
truth: ## stop, kill and pause nodes under load for SECONDS=600 and check all answers (NODES=3 DOWN=1 SHARED=1 SEED=)
	@PIXSEAL_TRUTH_SECONDS=$(or $(SECONDS),600) PIXSEAL_TRUTH_NODES=$(NODES) PIXSEAL_TRUTH_DOWN=$(DOWN) \
	PIXSEAL_TRUTH_SEED=$(SEED) PIXSEAL_TRUTH_SHARED=$(SHARED) PIXSEAL_TRUTH_CALM=$(CALM) \
	PIXSEAL_TRUTH_CONDITIONS=$(CONDITIONS) \
	cargo test --release --locked --test truth an_acknowledged_write_is_never_undone -- --exact --nocapture

.PHONY: browser-test
browser-test: ## the page of three nodes in a real chromium (from Debian; Selenium goes into target/), or says SKIPPED
	@tests/browser/run.sh $(ARGS)

.PHONY: interop
interop: ## the real Tink opens what we seal and the other way round (installs it into target/, or says SKIPPED)
	@tests/interop/run.sh

.PHONY: verify-with-tink
verify-with-tink: ## open every sealed image in IMAGES with the real Tink, in constant memory
	@tests/interop/run.sh verify $(SECRETS)/keyset.json $(IMAGES)

SECONDS_EACH ?= 10
.PHONY: fuzz
fuzz: ## one minute over all fuzz targets (SECONDS_EACH=10); needs nightly Rust and cargo-fuzz, and says so
	@fuzz/run.sh $(SECONDS_EACH)

.PHONY: bench
bench: ## seal, open, PNG check, head, target, name and balancer, beside the hashes that they consist of
	cargo bench --locked --bench seal --bench image --bench micro

.PHONY: bench-system
bench-system: ## three nodes against the bare pipeline and nginx; ARGS="--help" names the sections (tls: with TLS=1)
	cargo bench --locked $(features) --bench system -- $(ARGS)

.PHONY: bench-failover
bench-failover: ## 50 kills and 50 pauses, idle and saturated, and what was seen that was not there
	@cargo bench --locked --bench failover

.PHONY: bench-handover
bench-handover: ## a third of N=100000 images is written while a node is away: how it gets them
	@cargo bench --locked --bench handover -- $(if $(filter command line,$(origin N)),$(N),100000)

.PHONY: bench-crowd
bench-crowd: ## what membership costs with 3, 9, 30 and more nodes
	@cargo bench --locked --bench failover -- crowd

.PHONY: bench-flood
bench-flood: ## heartbeats while each node gets 10,000 hostile datagrams a second, and a verdict
	@cargo bench --locked --bench failover -- flood

.PHONY: soak
soak: ## saturate three nodes for SECONDS=600: no false suspicion or death, no image lost
	@cargo bench --locked --bench failover -- soak $(or $(SECONDS),600)

.PHONY: proxy-test
proxy-test: ## the recipes of docs/proxy.md with the real nginx, Caddy, curl, and Python's requests
	cargo test --locked --test proxy -- --ignored --nocapture

.PHONY: clients-test
clients-test: ## the blocks of docs/clients.md with curl, wget, requests, httpx, Node.js and rclone, on a cluster of their own
	@tests/clients/run.sh

.PHONY: api-test
api-test: ## docs/openapi.yaml against a cluster of its own, with requests that schemathesis makes up (installed into target/)
	@tests/api/run.sh

.PHONY: readme-test
readme-test: ## the commands of README, one after the other, in a clone of what is committed (N=40)
	@N=$(or $(filter-out 2000,$(N)),40) tests/readme/run.sh

.PHONY: metrics-test
metrics-test: build ## promtool looks at the metrics of a node under load, and at deploy/alerts.yml; says SKIPPED without it
	@tests/metrics/run.sh $(SERVER) $(STRESS)

.PHONY: attack
attack: ## thousands of idle, slow and greedy connections, and what a normal client notices; TLS=1: over TLS
	@cargo bench --locked $(features) --bench attack -- $(if $(TLS),--tls) $(ARGS)

.PHONY: slowhttp
slowhttp: build ## slowhttptest (Debian package) in all its modes against a node of its own; says SKIPPED without it
	@sh scripts/slowhttp $(or $(PORT),8090) $(or $(CONNECTIONS),500) $(or $(SECONDS),25)

.PHONY: drill-net
drill-net: ## as root: three network namespaces; cut, one-way, lossy and slow networks, and a verdict
	@cargo bench --locked --bench drill

.PHONY: drill-faults
drill-faults: ## doubles, lost incarnations, wrong keys and cluster files, a moved node: what is said, and how long it takes to heal
	@cargo bench --locked --bench faults

.PHONY: drill-members
drill-members: ## three nodes become five and three again under 25 uploads a second: nothing may fail
	@cargo bench --locked --bench members

.PHONY: drill-disk
drill-disk: ## as root: the disk of one of three nodes fills up under 25 uploads a second, and has room again
	@cargo bench --locked --bench disk

.PHONY: dist
dist: ## a tar.gz of static programs and documents in target/dist, and its SHA-256
	@scripts/dist

.PHONY: deb
deb: ## a Debian package in target/debian; needs cargo-deb (cargo install cargo-deb)
	@cargo deb --version >/dev/null 2>&1 || { echo 'deb: cargo-deb is missing: cargo install cargo-deb' >&2; exit 1; }
	cargo build --release --locked --features tls
	cargo deb --no-build --locked

.PHONY: deploy-test
deploy-test: ## systemd unit, container files, Kubernetes manifest and package, each checked by the tool that reads it
	@scripts/deploy-test

.PHONY: cluster
cluster: build ## start NODES=3 nodes in the background and wait for their leader; TLS=1 by a test authority
	@TLS=$(TLS) sh scripts/cluster start $(asked_nodes) $(FIRST_PORT) $(RUN) $(IMAGES) $(SECRETS)

.PHONY: status
status: ## who is alive, who leads, what each node holds, and what is wrong
	@[ -x target/release/client ] || { echo 'status: nothing is built yet, so no cluster runs: make cluster' >&2; exit 1; }
	@target/release/client status $(cluster_file)

.PHONY: stop
stop: ## stop the cluster that `make cluster` started
	@sh scripts/cluster stop $(asked_nodes) $(FIRST_PORT) $(RUN) $(IMAGES) $(SECRETS)

.PHONY: stress
stress: build ## offer N=2000 images to the cluster and judge it; starts one (NODES=3) if none is up
	@TLS=$(TLS) sh scripts/cluster up $(asked_nodes) $(FIRST_PORT) $(RUN) $(IMAGES) $(SECRETS)
	@$(STRESS) -n $(N) --yes $(cluster_file) $(ARGS)

.PHONY: drill
drill: build ## kill the leader, pause a node and restart each, in the middle of a run
	@$(STRESS) -n $(N) --max-size 1000 --spawn 3 --yes --drill kill:leader@30% $(ARGS)
	@$(STRESS) -n $(N) --max-size 1000 --spawn 3 --yes --drill pause:1@30%..60% $(ARGS)
	@$(STRESS) -n $(N) --max-size 1000 --spawn 3 --yes --drill restart:each $(ARGS)

.PHONY: clean-images
clean-images: ## remove the sealed images of the stress test
	@find $(IMAGES) -maxdepth 1 -name 'encrypted_stress_image_*.png' -delete
	@echo "sealed images of the stress test removed from $(IMAGES)/"

# Looked up by the shell when it is used: make would look before `scripts/cluster` has written it.
cluster_file = $$([ ! -f $(RUN)/cluster.toml ] || echo --cluster $(RUN)/cluster.toml; [ ! -f $(RUN)/ca.pem ] || echo --ca $(RUN)/ca.pem)
# How many nodes somebody has asked for; a cluster that runs already need not have the default number of them.
asked_nodes = $(if $(filter file,$(origin NODES)),any,$(NODES))
