# Everything that is done with this repository. `make` alone prints what there is.
# Needs Go and a POSIX shell; tests that need another tool say so where it is missing.

GO       ?= go
PORT     ?= 8080
ROOT     ?= docs/site
FUZZTIME ?= 1m
# More for `go test`, as in TESTFLAGS='-run Conformance -v'; and for the server of `make run`.
TESTFLAGS ?=
ARGS      ?=

modules := $(patsubst %/go.mod,%,$(sort $(wildcard */go.mod)))
stages  := $(sort $(wildcard stage[1-9]-*))
# STAGE=2 narrows run, test, race, bench and spec to one stage; run's default is the last.
one     := $(if $(STAGE),$(or $(wildcard stage$(STAGE)-*),$(error STAGE=$(STAGE): there is no such stage; there are $(stages))))
tested  := $(or $(one),$(modules))

# $(call each,FOLDERS,COMMAND) runs a command in each folder, in all of them even if it
# fails in one. (`go test ./...` at the root of a workspace does nothing: that is in no module.)
each = @bad=; for m in $(1); do echo "-- $$m: $(2)"; (cd $$m && $(2)) || bad="$$bad $$m"; done; \
	test -z "$$bad" || { echo "-- failed in:$$bad"; exit 1; }

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

help: ## this list
	@echo 'make TARGET; TARGET is one of'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## the servers and the lab, in bin/
	@mkdir -p bin
	$(call each,$(stages) $(wildcard lab),$(GO) build -o ../bin/$$m .)

# A demo account, unless the environment has one.
run: export USER_NAME ?= demo
run: export USER_PASS ?= demo
run: name = $(or $(one),$(lastword $(stages)))
run: ## a server with the site of ROOT=docs/site on PORT=8080; STAGE=n picks one, ARGS=… adds flags
	@mkdir -p bin
	@cd $(name) && $(GO) build -o ../bin/$(name) .
	@echo "http://127.0.0.1:$(PORT)/, where '$$USER_NAME' logs in with the password '$$USER_PASS'; Ctrl-C stops. (make run PORT=n ROOT=folder)"
	@exec bin/$(name) -p $(PORT) -R $(ROOT) $(ARGS)

test: ## all tests, or those of STAGE=n
	$(call each,$(tested),$(GO) test -count=1 $(strip $(TESTFLAGS) ./...))

race: ## the same under the race detector (needs a C compiler)
	$(call each,$(tested),$(GO) test -count=1 -race $(strip $(TESTFLAGS) ./...))

fuzz: ## every fuzz target for FUZZTIME=1m
	@for m in $(modules); do \
		(cd $$m && for p in $$($(GO) list ./...); do \
			all=$$($(GO) test -list '^Fuzz' $$p) || { echo "$$all"; exit 1; }; \
			for f in $$(echo "$$all" | grep '^Fuzz'); do \
				echo "-- $$p $$f"; \
				$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
			done; \
		done) || exit 1; \
	done

bench: ## all benchmarks, six times each, for benchstat
	$(call each,$(tested),$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...)

spec: build ## docs/spec.md, claim by claim, against every stage or STAGE=n
	@bad=; for m in $(or $(one),$(stages)); do bin/lab spec --exec bin/$$m || bad=1; done; test -z "$$bad"

pitfall: ## one pitfall, P=short-read: the bug beside the real server; without P the list
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab pitfall $(if $(P),'$(P)',--list)

matrix: ## every pitfall against every server; writes docs/pitfalls.md
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab matrix

mutants: ## 200 small changes of common/ and the stages: which does no test notice? MUTANTS='--sample 12' adds flags
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab mutants --seed 1 --sample 200 --jobs 2 --state bin/mutants.state --json bin/mutants.json $(MUTANTS)

grade: ## points for any program: EXEC=./prog, and STAGE=n for what it claims
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab grade --exec $(or $(EXEC),$(error EXEC=./prog is missing)) $(if $(STAGE),--stage $(STAGE)) $(ARGS)

doctor: ## what this machine offers, and what its lack skips
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab doctor

check: fmt vet lint tidy race ## all that must hold before a commit: format, vet, staticcheck, go.mod, race, a little fuzzing
	@$(MAKE) fuzz FUZZTIME=5s

# The tools of go.mod in lab: that keeps what they depend on away from the servers.
bin/tools/%: lab/go.mod lab/go.sum
	@mkdir -p bin/tools
	@cd lab && GOWORK=off $(GO) build -o ../bin/tools/ tool

fmt: bin/tools/gofumpt ## which files are not formatted
	@bad=$$(bin/tools/gofumpt -l $(modules)); test -z "$$bad" || { echo "not formatted; run bin/tools/gofumpt -w on:"; echo "$$bad"; exit 1; }

vet: ## go vet
	$(call each,$(modules),$(GO) vet ./...)

lint: bin/tools/staticcheck ## staticcheck
	$(call each,$(modules),../bin/tools/staticcheck ./...)

tidy: ## whether every go.mod is tidy and every module builds on its own
	$(call each,$(modules),GOWORK=off $(GO) mod tidy -diff)
	$(call each,$(modules),GOWORK=off $(GO) build -o /dev/null ./...)

# The code of two neighbours without their tests; in colour and paged on a terminal.
# A hunk is headed by the declaration that it lies in.
diff = @show() { diff -ruN $$1 -F '^\(func\|type\)' -x '*_test.go' -x '*.md' -x 'go.*' -x testdata $(wildcard stage$(1)-*) $(wildcard stage$(2)-*) || test $$? = 1; }; \
	if test -t 1 && command -v less >/dev/null; then show --color=always | less -FRX; else show; fi

diff-1-2: ## what turns one connection at a time into a pool of threads
	$(call diff,1,2)

diff-2-3: ## what adds IPv6
	$(call diff,2,3)

diff-3-4: ## what turns blocking threads into event loops
	$(call diff,3,4)

clean: ## remove bin/
	rm -rf bin

.PHONY: help build run test race fuzz bench spec pitfall matrix mutants grade doctor check fmt vet lint tidy diff-1-2 diff-2-3 diff-3-4 clean
