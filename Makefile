# Each target is a few lines; what takes more is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help setup guests components templates payments demo test serve check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## install what building guests needs (wasm32-wasip2)
	@scripts/setup.sh guests

guests: setup ## build the example agents into target/guests
	@scripts/build-guests.sh

components: setup ## build the plugins into target/components
	@scripts/build-components.sh

templates: setup ## build what `hv new` makes projects from into target/templates
	@scripts/build-templates.sh

payments: ## install the payment tests' chain, facilitator and client
	@scripts/setup-payments.sh

demo: guests components payments ## encrypt, run, pay and verify against a local host
	cargo build --release --locked -p hypervisor -p hypervisor-client
	@scripts/compile-components.sh target/release/hypervisor
	scripts/demo.sh

test: guests components templates payments ## run all tests
	cargo build --workspace --bins --locked
	@scripts/compile-components.sh target/debug/hypervisor
	cargo test --workspace --locked
	cargo test --manifest-path guests/Cargo.toml --target-dir guests/target --locked -p payments -p arxiv -p http-kit -p ask-policy

serve: ## run the host with hypervisor.toml
	cargo run --release --locked -p hypervisor -- --config hypervisor.toml

check: ## format, lints, documentation, licences and advisories
	@scripts/check.sh

bench: guests components ## measure the host, beside its floors and peers
	@scripts/setup-bench.sh
	cargo build --release --locked -p hypervisor -p hypervisor-bench
	@scripts/compile-components.sh target/release/hypervisor
	cargo run --release --locked -p hypervisor-bench

clean: ## remove what was built, apart from the tools in .tools
	cargo clean
	rm -rf guests/target
