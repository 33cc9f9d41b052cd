# pixseal. `make cluster`, then `make stress N=2000`. Everything else: `make help`.

NODES ?= 3
N ?= 2000
# Folders and files of the cluster that `make cluster` starts.
RUN ?= run
IMAGES ?= images
SECRETS ?= secrets
FIRST_PORT ?= 8001
SERVER := target/release/server
STRESS := target/release/stress_test

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

.PHONY: build
build: ## server, client, seal and stress_test in target/release
	cargo build --release --locked

.PHONY: check
check: ## formatting, lints, documentation, licences and advisories
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check licenses bans sources; \
	else echo "check: cargo-deny is not installed (cargo install cargo-deny), licences were not checked"; fi

.PHONY: test
test: ## unit, property, simulation and real-process tests
	cargo test --workspace --locked

.PHONY: sim
sim: ## simulate 100,000 clusters under every fault (SEEDS=…), or replay one (SEED=…)
	$(if $(SEED),SIM_SEED=$(SEED),SIM_SEEDS=$(or $(SEEDS),100000)) cargo test --release --locked --test election chaos -- --nocapture

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
bench: ## seal, open and the PNG check beside the hashes that they consist of
	cargo bench --locked --bench seal --bench image

.PHONY: bench-system
bench-system: ## three nodes against the bare pipeline and nginx; ARGS="--help" names the sections
	cargo bench --locked --bench system -- $(ARGS)

.PHONY: cluster
cluster: build ## start NODES=3 nodes in the background and wait for their leader
	@sh scripts/cluster start $(NODES) $(FIRST_PORT) $(RUN) $(IMAGES) $(SECRETS)

.PHONY: status
status: ## who is alive, who leads, what each node has taken
	@target/release/client status $(call cluster_file)

.PHONY: stop
stop: ## stop the cluster that `make cluster` started
	@sh scripts/cluster stop $(NODES) $(FIRST_PORT) $(RUN) $(IMAGES) $(SECRETS)

.PHONY: stress
stress: build ## offer N=2000 images to the cluster and judge it; starts one if none is up
	@sh scripts/cluster up $(NODES) $(FIRST_PORT) $(RUN) $(IMAGES) $(SECRETS)
	@$(STRESS) -n $(N) --yes $(call cluster_file) $(ARGS)

.PHONY: drill
drill: build ## kill the leader, pause a node and restart each, in the middle of a run
	@$(STRESS) -n $(N) --max-size 1000 --spawn 3 --yes --drill kill:leader@30% $(ARGS)
	@$(STRESS) -n $(N) --max-size 1000 --spawn 3 --yes --drill pause:1@30%..60% $(ARGS)
	@$(STRESS) -n $(N) --max-size 1000 --spawn 3 --yes --drill restart:each $(ARGS)

.PHONY: clean-images
clean-images: ## remove the sealed images of the stress test
	@find $(IMAGES) -maxdepth 1 -name 'encrypted_stress_image_*.png' -delete
	@echo "sealed images of the stress test removed from $(IMAGES)/"

cluster_file = $(if $(wildcard $(RUN)/cluster.toml),--cluster $(RUN)/cluster.toml)
