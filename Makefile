# The default target lists the others.
.DEFAULT_GOAL := help
.PHONY: help build demo test check tools fmt vet race unit lint tidy fuzz bench test-clients test-js test-stores clean

GO       ?= go
PKG      ?= ./...
FUZZTIME ?= 30s
GOLANGCI ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# A process built with -race sleeps for a second before it exits, and the tests
# start many: the default is for reports of races at the very end.
export GORACE := atexit_sleep_ms=100 $(GORACE)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## build bin/stevedore
	$(GO) build -trimpath -o bin/stevedore ./cmd/stevedore

demo: ## run one real job on a real S3 server, start to report
	$(GO) run ./cmd/stevedore demo

test: tools fmt vet race ## install what the tests need, then format, vet and test with the race detector: what CI runs

check: test lint tidy ## test, and everything a change is read for

tools: ## install a C compiler, the AWS CLI and boto3 where they are missing (Debian)
	@.ci/tools

fmt: ## fail if a file is not formatted
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt -w needed:"; echo "$$files"; exit 1; }

# With -race like the tests: the dependencies, etcd above all, are compiled only once.
vet: ## go vet
	$(GO) vet -race $(PKG)

race: ## the tests of PKG (default: all) with the race detector
	$(GO) test -race $(PKG)

unit: ## the tests of PKG without the race detector: quicker, for the edit loop
	$(GO) test $(PKG)

lint: ## golangci-lint (built on first use: some minutes) and the modernizers of go fix
	$(GO) run $(GOLANGCI) run
	$(GO) fix -diff $(PKG)

tidy: ## fail if go.mod or go.sum is not tidy
	$(GO) mod tidy -diff

fuzz: ## run each fuzz target for FUZZTIME (default 30s)
	@grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | \
	while IFS=: read -r file _ func; do \
		$(GO) test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null || exit 1; \
	done

bench: ## the benchmarks of PKG (default: all)
	$(GO) test -run '^$$' -bench . -benchmem $(PKG)

test-clients: tools ## only the tests that drive the real binary with real clients
	$(GO) test -race -count=1 ./internal/e2e/...

# Not part of test: it takes npm, and packages from npm's registry.
test-js: ## drive the real binary with the AWS SDK for JavaScript (node 20, npm)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(GO) build -o "$$dir/stevedore" ./cmd/stevedore && cp -r internal/e2e/js/. "$$dir" && cd "$$dir" && \
	npm ci --silent && STEVEDORE="$$dir/stevedore" node --test

# Not part of test: it takes S3 servers, the first time minutes to build, and root for Ceph's packages.
test-stores: ## every operation on every S3 server that can be had here (ARGS: -stores NAMES, -update)
	$(GO) vet -race -tags stores ./internal/e2e/stores
	$(GO) test -race -tags stores -count=1 -timeout 60m ./internal/e2e/stores -args -get $(ARGS)

clean: ## remove what was built
	rm -rf bin dist
