# Builds, runs and tests this repository. `make` alone lists the targets.
# Go and a POSIX shell are enough. Tests that need another tool are skipped if it is missing;
# the last line of `make test` counts them.

GO       ?= go
PORT     ?= 8080
ROOT     ?= docs/site
FUZZTIME ?= 1m
# Further flags: for go test, as in TESTFLAGS='-run Conformance -v', and for the server of `make run`.
TESTFLAGS ?=
ARGS      ?=

modules := $(patsubst %/go.mod,%,$(sort $(wildcard */go.mod)))
stages  := $(sort $(wildcard stage[1-9]-*))
steps   := $(notdir $(wildcard stage4-epoll/testdata/steps/4?))
# STAGE selects one stage for run, test, race, microbench, spec, grade and handout: 2, 2-threadpool and stage2-threadpool
# mean the same. Without STAGE, run starts the last stage. For run, test and race it may also be a step from
# stage 3 to stage 4, such as 4a: a server.go that takes the place of the one of stage 4.
named   := $(patsubst stage%,%,$(STAGE:/=))
step    := $(and $(filter run test race,$(MAKECMDGOALS)),$(filter $(named),$(steps)))
one     := $(if $(STAGE),$(or $(filter stage$(named) stage$(named)-%,$(stages)),$(and $(step),stage4-epoll),$(error STAGE=$(STAGE): there is no such stage; there are $(stages); run and test also know $(steps))))
tested  := $(or $(one),$(modules))
# $(call number,FOLDER) is the number of a stage.
number   = $(patsubst stage%,%,$(firstword $(subst -, ,$(1))))

# $(call each,FOLDERS,COMMAND) runs a command in every folder, even if it fails in one of them.
# (`go test ./...` in the root of the workspace tests nothing: the root is not a module.)
each = bad=; for m in $(1); do echo "-- $$m: $(strip $(2))"; (cd $$m && $(2)) || bad="$$bad $$m"; done; \
	test -z "$$bad" || { echo "-- failed in:$$bad"; exit 1; }

# $(call gotest,FLAGS) runs the tests, and counts those that were skipped by reason. In a stage's folder there is
# only one package. go test is called without a package argument there, so that it prints progress at once.
gotest = @SERVERTEST_SKIPPED=$$(mktemp) || exit; export SERVERTEST_SKIPPED; \
	status=0; \
	($(call each,$(filter-out stage%,$(tested)),$(GO) test $(strip -count=1 $(1) $(TESTFLAGS)) ./...)) || status=1; \
	($(call each,$(filter stage%,$(tested)),$(if $(step),STEP=$(step) )$(GO) test $(strip -count=1 $(1) $(if $(step),-run '^TestStep$$') $(TESTFLAGS)))) || status=1; \
	sort "$$SERVERTEST_SKIPPED" | uniq -c | awk '{ n = $$1; sub(/^ *[0-9]+ /, ""); if (n > 1) sub(/^needs/, "need"); \
		all = all (all ? "; " : "") n " " $$0 } END { if (all) print "skipped: " all }'; \
	rm -f "$$SERVERTEST_SKIPPED"; exit $$status

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

help: ## lists the targets
	@echo 'make TARGET; TARGET is one of'
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## builds the servers and the lab in bin/
	@mkdir -p bin
	@$(call each,$(stages) $(wildcard lab),$(GO) build -o ../bin/$$m .)

# A demo account, unless the environment has one.
run: export USER_NAME ?= demo
run: export USER_PASS ?= demo
# The recipe reads ROOT from the environment, so that the path may have spaces in it.
run: export ROOT := $(ROOT)
run: name = $(or $(one),$(lastword $(stages)))
run: program = $(name)$(addprefix -,$(step))
# The server's stdout passes through a FIFO to a reader that adds the account after the start line. The server
# replaces the shell, so that it gets Ctrl-C and make gets its exit status. The reader ignores Ctrl-C, to
# print what the server still says while it stops.
run: ## starts a server for the site in ROOT=docs/site on PORT=8080; STAGE=n selects one, ARGS=… adds flags
	@mkdir -p bin
	@$(if $(step),echo '{"Replace": {"server.go": "testdata/steps/$(step)/server.go"}}' >bin/$(program).json)
	@cd $(name) && $(GO) build -o ../bin/$(program) $(if $(step),-overlay ../bin/$(program).json )
	@out=bin/run.$$$$; rm -f $$out; mkfifo $$out || exit; \
	( trap '' INT; exec <$$out; rm -f $$out; IFS= read -r line && printf '%s\n' "$$line" && \
	  echo "Log in as '$$USER_NAME' with the password '$$USER_PASS'$(if $(filter-out 0,$(PORT)), at http://127.0.0.1:$(PORT)/). Ctrl-C stops the server." && exec cat ) & \
	exec bin/$(program) -p $(PORT) -R "$$ROOT" $(ARGS) >$$out

test: ## runs all tests, or those of STAGE=n; a stage's pitfalls come first
	$(call gotest)

race: ## runs the same tests under the race detector (needs a C compiler)
	$(call gotest,-race)

# One package at a time: most of these tests start browsers or servers, and measure time.
slow: export SLOW := 1
slow: ## runs the tests of lab that take too long for `make test`
	cd lab && $(GO) test -count=1 -p 1 -run '^TestSlow' $(TESTFLAGS) ./...

fuzz: ## runs every fuzz target for FUZZTIME=1m
	@for m in $(modules); do \
		(cd $$m && for p in $$($(GO) list ./...); do \
			all=$$($(GO) test -list '^Fuzz' $$p) || { echo "$$all"; exit 1; }; \
			for f in $$(echo "$$all" | grep '^Fuzz'); do \
				echo "-- $$p $$f"; \
				$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
			done; \
		done) || exit 1; \
	done

# The stages are built by the lab, from this tree.
bench: ## measures the stages, net/http, fasthttp, nginx, h2o: 25 minutes, or two with QUICK=1; writes docs/bench, or bin/bench; BENCH='-w churn' adds flags
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab bench $(if $(QUICK),--quick -o bin/bench) $(BENCH)

compare: ## shows the four stages side by side with the same clients: one minute, a table and a picture
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab compare $(BENCH)

live: ## opens a page with the four stages side by side: what each thread waits for, while you add clients; ARGS='--port 0' adds flags
	@cd lab && $(GO) build -o ../bin/lab .
	@exec bin/lab live $(ARGS)

learn: ## guides you through exercises in a working copy beside this folder; ARGS='list', 'start ID', 'hint' and others: see bin/lab learn -h
	@cd lab && $(GO) build -o ../bin/lab .
	@exec bin/lab learn $(ARGS)

handout: ## makes a tree for students up to STAGE=n, with the exercises cut; OUT=dir
	@$(if $(one),,$(error STAGE=n is missing))
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab handout --stage $(call number,$(one)) $(if $(OUT),--out '$(OUT)')

microbench: ## runs all Go benchmarks six times, for benchstat
	@$(call each,$(tested),$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...)

spec: build ## checks each claim of docs/spec.md against every stage, or STAGE=n
	@bad=; for m in $(or $(one),$(stages)); do bin/lab spec --exec bin/$$m || bad=1; done; test -z "$$bad"

pitfall: ## plays a pitfall, P=short-read, against a server with the bug and the real one; without P lists all
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab pitfall $(if $(P),'$(P)',--list)

trace: ## draws the system calls of the four stages with three clients, or of STAGE=n; P=short-read draws a pitfall (needs strace)
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab trace $(if $(P),'$(P)') $(if $(one),--stage $(call number,$(one))) $(ARGS)

traces: ## draws every pitfall, broken above right, into bin/trace: two minutes (needs strace)
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab trace --every

matrix: ## plays every pitfall against every server, and writes docs/pitfalls.md
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab matrix

# CHECK=1 is what CI wants. It also runs the console blocks, for which it starts the servers.
book: ## makes the book: weaves code into docs/book, writes the pages in docs/site/book; CHECK=1 compares, and runs the console blocks
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab book $(if $(CHECK),--check)

mutants: ## makes 200 small changes in common/ and the stages, and lists those that no test notices; MUTANTS='--sample 12' adds flags
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab mutants --seed 1 --sample 200 --jobs 2 --state bin/mutants.state --json bin/mutants.json $(MUTANTS)

faults: build ## makes system calls of the servers fail under strace, and writes the tables in docs/security.md; ARGS=--check compares
	@$(if $(ARGS),,bin/lab faults --bounds)
	@bin/lab faults $(ARGS)

hostile: build ## puts stage 4 under hostile loads, and shows what a normal client notices; ARGS='--clients 500' adds flags
	@bin/lab hostile $(ARGS)

grade: export EXEC := $(EXEC)
grade: ## tries any program, milestone by milestone: EXEC=./prog, STAGE=n for the claims that it makes; ARGS=--all gives points
	@$(if $(EXEC),,$(error EXEC=./prog is missing))
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab grade --exec "$$EXEC" $(if $(one),--stage $(call number,$(one))) $(ARGS)

autograder: ## makes bin/autograder-stageN.zip, which grades submissions for STAGE=n at Gradescope; ARGS='--weights FILE' adds flags
	@$(if $(one),,$(error STAGE=n is missing))
	@cd lab && CGO_ENABLED=0 $(GO) build -o ../bin/lab .
	@bin/lab autograder --stage $(call number,$(one)) $(ARGS)

doctor: ## shows what this machine offers, and which tests it must skip
	@cd lab && $(GO) build -o ../bin/lab .
	@bin/lab doctor

check: fmt vet lint tidy race ## runs all checks before a commit: format, vet, staticcheck, go.mod, race, a little fuzzing
	@$(MAKE) fuzz FUZZTIME=5s

# The tools are in the go.mod of lab, so that the servers do not depend on the modules of the tools.
bin/tools/%: lab/go.mod lab/go.sum
	@mkdir -p bin/tools
	@cd lab && GOWORK=off $(GO) build -o ../bin/tools/ tool

# gofumpt looks into a folder testdata only if it is named.
fmt: bin/tools/gofumpt ## lists the files that are not formatted
	@bad=$$(bin/tools/gofumpt -l $(modules) stage4-epoll/testdata/steps); test -z "$$bad" || { echo "not formatted; run bin/tools/gofumpt -w on:"; echo "$$bad"; exit 1; }

vet: ## runs go vet
	@$(call each,$(modules),$(GO) vet ./...)

lint: bin/tools/staticcheck ## runs staticcheck
	@$(call each,$(modules),../bin/tools/staticcheck ./...)

tidy: ## checks that every go.mod is tidy and that every module builds on its own
	@$(call each,$(modules),GOWORK=off $(GO) mod tidy -diff)
	@$(call each,$(modules),GOWORK=off $(GO) build -o /dev/null ./...)

# The code of two stages without their tests, in colour and in a pager if stdout is a terminal.
# A hunk's header names the declaration around it.
diff = @show() { diff -ruN $$1 -F '^\(func\|type\)' -x '*_test.go' -x '*.md' -x 'go.*' -x testdata $(1) $(2) || test $$? = 1; }; \
	if test -t 1 && command -v less >/dev/null; then show --color=always | less -FRX; else show; fi
# $(call side,PAIR,N) is the folder of the N-th stage of "1-2". If one of the two is a step, both sides are
# files: a step has only a server.go.
name-in = $(word $(2),$(subst -, ,$(1)))
only    = $(if $(filter $(subst -, ,$(1)),$(steps)),/server.go)
side    = $(or $(filter stage$(call name-in,$(1),$(2))-%,$(stages)),$(addprefix stage4-epoll/testdata/steps/,$(filter \
	$(call name-in,$(1),$(2)),$(steps))),$(error diff-$(1): want diff-A-B with the numbers of two stages, or of steps: $(steps)))$(only)

diff-1-2: ## shows what turns one connection at a time into a pool of threads
diff-2-3: ## shows what adds IPv6
diff-3-4: ## shows what turns blocking threads into event loops; in steps: diff-3-4a, diff-4a-4b, diff-4b-4c, diff-4c-4
diff-%: always ## compares any two stages, as diff-1-3, diff-2-4 or diff-1-4
	$(call diff,$(call side,$*,1),$(call side,$*,2))
# The prerequisite `always` takes the place of .PHONY: make tries no pattern rule for a phony target.
always:

clean: ## removes bin/
	rm -rf bin

.PHONY: help build run test race slow fuzz bench compare live learn handout microbench spec pitfall trace traces matrix book mutants faults hostile grade autograder doctor check fmt vet lint tidy always clean
