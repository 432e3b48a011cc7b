# Each target is a few lines; what takes more is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help setup guests components templates packages payments mcp a2a metrics kubernetes browser registry tpm fleet demo release reproduce image image-boot image-test trusted test serve check bench fuzz loads load soak chaos pictures conformance clean deb deb-test dist

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install what building guests needs (wasm32-wasip2)
	@scripts/setup.sh guests

guests: setup ## build the example agents into target/guests
	@scripts/build-guests.sh

components: setup ## build the plugins into target/components
	@scripts/build-components.sh

templates: setup ## build what `hv new` makes projects from into target/templates
	@scripts/build-templates.sh

packages: setup ## build what authors of components take from registries into target/packages
	cargo build --locked -p hypervisor-tests --bin wit-package
	@scripts/build-packages.sh target/debug/wit-package

payments: ## install the payment tests' chain, facilitator and client
	@scripts/setup-payments.sh

mcp: ## install the official MCP clients and conformance suite, for the tests
	@scripts/setup-mcp.sh

a2a: ## install the official A2A clients, for the tests
	@scripts/setup-a2a.sh

metrics: ## install what tests read metrics, alert rules and the dashboard with, a collector of OpenTelemetry, and Prometheus
	@scripts/setup-metrics.sh

kubernetes: ## install the schemas of Kubernetes and the Compose Specification, for the tests of what is in deploy/
	@scripts/setup-kubernetes.sh

browser: ## install the browser that tests look at the operator's page with
	@scripts/setup-browser.sh

registry: ## install the registry of OCI artifacts that tests push to
	@scripts/setup.sh registry

tpm: ## install the TPM in software that tests quote with
	@scripts/setup.sh tpm

fleet: ## install the database, the router and the pooler that tests of several hosts start
	@scripts/setup.sh fleet

demo: guests components payments mcp a2a ## encrypt, run, pay and verify against a local host
	cargo build --profile demo --locked -p hypervisor -p hypervisor-ctl -p hypervisor-client
	@scripts/compile-components.sh target/demo/hypervisor-ctl
	scripts/demo.sh

release: ## build what ships into target/release: the same bytes wherever and beside whatever it is built; FEATURES=peers for keys by peers
	@scripts/build-release.sh

deb: release ## make the Debian packages of the host and of the client into target/deb
	@scripts/deb.sh

deb-test: guests ## make the Debian packages of target/debug, or of the folder DEB_BINARIES, and try them
	@DEB_BINARIES=$${DEB_BINARIES:-target/debug} scripts/deb-test.sh

dist: ## put what is published of a release into target/dist: binaries, packages, SBOM, provenance, digests; RELEASE_KEY signs them
	@scripts/dist.sh

reproduce: ## build the host, the guests and the plugins in two folders and compare
	@scripts/reproduce.sh

image: components release ## build a guest image of image/production, or of the folder IMAGE, into target/image
	@scripts/image.sh build

image-boot: guests components ## start the guest image with simulated quotes in QEMU, without hardware virtualisation
	@scripts/setup-image.sh
	cargo build --profile demo --locked -p hypervisor -p hypervisor-ctl -p hypervisor-client -p hypervisor-image
	@scripts/image.sh simulated target/image/simulated
	@IMAGE=target/image/simulated IMAGE_HOST=target/demo/hypervisor IMAGE_TOOL=target/demo/hypervisor-image scripts/image.sh build
	@scripts/image-boot.sh target/image/simulated.efi

image-test: guests components ## build the image with simulated quotes twice, start it, compare what is measured with what was predicted
	@scripts/setup-image.sh
	cargo build --profile demo --locked -p hypervisor -p hypervisor-ctl -p hypervisor-client -p hypervisor-image
	@scripts/image-test.sh target/demo

trusted: ## what is in the host's binary: lines of this project's Rust, and crates
	@scripts/trusted.sh

# One build for everything that the tests start, are and need: features are those of the whole workspace at each step. Two tests for each
# core: they wait for the processes that they start as long as they compute.
test: guests components templates payments mcp a2a metrics kubernetes browser registry tpm fleet ## run all tests
	cargo build --workspace --bins --tests --locked
	@scripts/compile-components.sh target/debug/hypervisor-ctl
	@scripts/build-packages.sh target/debug/wit-package
	@scripts/try-packages.sh
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(getconf _NPROCESSORS_ONLN)))} cargo test --workspace --locked
	cargo test --manifest-path image/init/Cargo.toml --target-dir target/image/check --locked
	cargo test --manifest-path guests/Cargo.toml --target-dir guests/target --locked -p arxiv -p http-kit -p ask-policy -p a2a-everything -p mcp-everything
	cargo test --manifest-path components/Cargo.toml --target-dir guests/target --locked -p payments -p mcp -p front -p a2a -p strict-json -p status

serve: ## run the host with hypervisor.toml
	cargo run --release --locked -p hypervisor -- --config hypervisor.toml

check: ## format, lints, documentation, the shape of the tree, licences and advisories
	@scripts/check.sh

bench: guests components templates ## measure the host, beside its floors and peers
	@scripts/setup-bench.sh
	cargo build --release --locked -p hypervisor -p hypervisor-ctl -p hypervisor-bench
	@scripts/compile-components.sh target/release/hypervisor-ctl
	cargo run --release --locked -p hypervisor-bench

fuzz: ## fuzz every decoder for FUZZ_SECONDS (60) each, or the TARGET alone
	@scripts/fuzz.sh $(TARGET)

loads: guests components payments
	cargo build --release --locked -p hypervisor -p hypervisor-ctl -p hypervisor-bench
	@scripts/compile-components.sh target/release/hypervisor-ctl

load: loads ## 200 calls of nine kinds at once for three minutes, then twice the queue
	target/release/hypervisor-load load
	target/release/hypervisor-load overload

soak: loads ## the same mix at a moderate rate for an hour, or for MINUTES
	target/release/hypervisor-load soak --minutes $${MINUTES:-60}

chaos: loads ## kills, faults and exhaustion; SCENARIOS names some: kill facilitator rpc disk-full clock descriptors memory
	@scripts/setup-load.sh
	target/release/hypervisor-load chaos $(SCENARIOS)

pictures: guests components browser ## make the pictures of the documentation: hv in a terminal, the operator's page
	cargo build --profile demo --locked -p hypervisor -p hypervisor-ctl -p hypervisor-client
	@scripts/compile-components.sh target/demo/hypervisor-ctl
	@scripts/pictures.sh

conformance: components ## run test262 in the JavaScript component and in the same engine by itself, and compare
	cargo build --workspace --bins --locked
	@scripts/compile-components.sh target/debug/hypervisor-ctl
	@scripts/conformance.sh

clean: ## remove what was built, apart from the tools in .tools
	cargo clean
	rm -rf guests/target
