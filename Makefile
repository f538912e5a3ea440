# Waxwing. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := build

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=cross/tools.mod

UI := dashboard/dist/index.html
UI_SOURCES := $(shell find dashboard/src dashboard/index.html dashboard/package.json dashboard/package-lock.json dashboard/vite.config.ts -type f 2>/dev/null) server/api/openapi.yaml

.PHONY: help build dashboard agents deb demo test check lint bench bench-site deps generate clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

build: dashboard ## bin/waxwing-server, bin/waxwing and bin/waxwing-agent
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./server/cmd/waxwing-server ./server/cmd/waxwing
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -tags nethttpomithttp2 -o bin/ ./agent/cmd/waxwing-agent

dashboard: $(UI) ## the browser's part, into dashboard/dist
$(UI): $(UI_SOURCES)
	cd dashboard && npm ci --no-audit --no-fund && npm run build

agents: ## cross/out/<target>/waxwing-agent for every target, stripped and reproducible
	cross/build.sh "$(VERSION)"

deb: agents ## Debian packages of the agent, into cross/out
	cross/deb.sh "$(VERSION)"

demo: build ## everything from nothing: a server, 8 devices, three releases (ONCE=1: ends by itself)
	cross/deps.sh mke2fs debugfs
	$(GO) run ./examples/fleet/cmd/demo -bin bin $(if $(ONCE),-once)

test: deps dashboard ## every test; on Debian as root it installs what they need
	CI=$(CI) $(GO) test ./...
	cd dashboard && npm test

check: lint test ## what CI runs

lint: $(UI) ## golangci-lint, biome and tsc
	$(TOOL) golangci-lint run ./...
	cd dashboard && npm run lint

bench: ## benchmarks, then updates of real images side by side with other tools (BENCH=-short: small ones)
	$(GO) test -run '^$$' -bench . -benchmem ./firmware/... ./signing/...
	cross/deps.sh casync xdelta3 zstd bsdiff mke2fs debugfs mksquashfs dpkg-deb
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./server/cmd/waxwing
	$(GO) run ./examples/bench/cmd/bench -bin bin $(BENCH)

bench-site: ## what a rollout costs a site, as root (N=20 RATE=20mbit SCENARIO=together RUNS=3 BYTES=16777216 SPREAD=60s)
	@[ "$$(id -u)" = 0 ] || { echo "a site is made of network namespaces, and those need root: sudo make bench-site" >&2; exit 1; }
	cross/deps.sh ip tc
	-cross/deps.sh nft $(if $(findstring all,$(SCENARIO))$(findstring bittorrent,$(SCENARIO)),aria2c nginx)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./server/cmd/waxwing-server ./server/cmd/waxwing
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -tags nethttpomithttp2 -o bin/ ./agent/cmd/waxwing-agent
	CGO_ENABLED=0 $(GO) build -o bin/ ./examples/site/cmd/bench-site ./examples/site/cmd/hostile
	bin/bench-site -bin bin -n $(or $(N),20) -rate $(or $(RATE),20mbit) -scenario $(or $(SCENARIO),together) -runs $(or $(RUNS),3) \
		-bytes $(or $(BYTES),16777216) -spread $(or $(SPREAD),60s)

deps: ## what the tests need besides Go and Node
	cross/deps.sh

generate: ## code made from server/api/openapi.yaml
	$(GO) generate ./server/api/...
	cd dashboard && npm run generate

clean: ## remove everything that was built
	rm -rf bin cross/out dashboard/dist dashboard/node_modules
