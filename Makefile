# Holdfast: everything a developer types is here. `make help` lists it.
# A fresh machine needs Go, git and make; `make test` and `make demo` bring the
# rest from the distribution's packages.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0-unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
PREFIX   ?= /usr/local
FUZZTIME ?= 30s
# Programs without which tests fail instead of being skipped.
REQUIRE  ?= runc,crun,busybox,criu

BINS := bin/holdfast bin/containerd-shim-holdfast-v2
# Static, and not position-independent: relocations would make read-only data
# private memory of every shim.
SHIM  := github.com/holdfast/holdfast/shim
BUILD := CGO_ENABLED=0 go build -trimpath -buildmode=exe \
	-ldflags "-s -w -X main.version=$(VERSION) -X $(SHIM).Version=$(VERSION) -X $(SHIM).Revision=$(REVISION)"
UNIT = $$(go list ./... | grep -v /integration)

.PHONY: build test check unit integration race bench fuzz proto demo install clean help setup $(BINS)

build: $(BINS) ## bin/holdfast and bin/containerd-shim-holdfast-v2, static

bin/holdfast:
	$(BUILD) -o $@ ./manager/cmd/holdfast

bin/containerd-shim-holdfast-v2:
	$(BUILD) -o $@ ./shim/cmd/containerd-shim-holdfast-v2

test: setup check unit integration race ## everything: set-up, checks, unit and integration tests (as root)

check: ## gofmt, vet, staticcheck, generated files up to date
	@files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$files" ]; then echo "not formatted:"; echo "$$files"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	go run ./proto/gen -check

unit: ## unit tests with the race detector
	go test -race -count=1 $(UNIT)

integration: setup ## the whole, on real runc and crun (as root); RUN=regexp picks tests
	REQUIRE=$(REQUIRE) go test -count=1 -timeout 20m $(if $(RUN),-v -run '$(RUN)') ./integration/...

race: setup ## the integration tests once more, on programs with the race detector
	RACE=1 REQUIRE=$(REQUIRE) go test -count=1 -timeout 20m $(if $(RUN),-v -run '$(RUN)') ./integration/...

bench: setup ## benchmarks: latency, memory, throughput
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

proto: ## regenerate the Go code of the .proto files
	integration/setup/packages.sh protoc
	go run ./proto/gen

demo: build ## a minute's tour on real containers (as root)
	integration/setup/packages.sh runc busybox script
	integration/demo/demo.sh

setup: ## install what tests need: runtimes, busybox, a criu for this kernel
	integration/setup/packages.sh
	integration/setup/criu.sh >/dev/null || true # tests that need it fail, and say so

install: build ## copy both programs to PREFIX/bin (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin

clean: ## remove what was built and downloaded
	rm -rf bin .cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.DEFAULT_GOAL := build
