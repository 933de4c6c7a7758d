package grade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/suite"
)

// built builds a program of this repository once, for all tests.
var built = struct {
	mu   sync.Mutex
	dir  string
	done map[string]string
}{done: map[string]string{}}

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // most of them wait for bad programs, and do not work
		panic(err)
	}
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// build compiles the package in a folder, named from the root of the repository.
func build(t *testing.T, folder string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if path, ok := built.done[folder]; ok {
		return path
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "grade-test-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	out := filepath.Join(built.dir, filepath.Base(folder))
	cmd := exec.Command("go", "build", "-o", out, ".")
	cmd.Dir = filepath.Join("..", "..", "..", folder)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", folder, err, said)
	}
	built.done[folder] = out
	return out
}

func bad(t *testing.T, name string) string { return build(t, "lab/learner/grade/testdata/"+name) }

// grade runs the command.
func grade(t *testing.T, c Command) (text string, err error) {
	t.Helper()
	var out strings.Builder
	c.out = &out
	err = c.Run(context.Background())
	return out.String(), err
}

// graded is grade with a report that can be looked at.
func graded(t *testing.T, c Command) (Report, error) {
	t.Helper()
	c.JSON = true
	text, err := grade(t, c)
	var r Report
	if bad := json.Unmarshal([]byte(text), &r); bad != nil {
		t.Fatalf("%v, %v:\n%s", err, bad, text)
	}
	return r, err
}

var stages = []string{"stage1-iterative", "stage2-threadpool", "stage3-dualstack", "stage4-epoll"}

// TestStages gives each stage full marks for what it claims. Every stage is graded by a sample of each
// category; all cases against all stages are what the stages' own tests are, and GRADE=all here.
func TestStages(t *testing.T) {
	for i, name := range stages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Command{Exec: build(t, name), Case: []string{
				"cli-port*", "cli-bind*", "start-line*", "stop-idle*", "conn-persistent*", "conn-pipeline*", "conn-first-eof",
				"timeout-header", "refuse-4*", "line-*", "target-dotdot*", "chunk-data*", "expect-*", "resp-*", "type-*", "range-*", "cond-etag*",
				"token-none", "api-login*", "pitfall/leftover",
			}}
			c.Case = append(c.Case, []string{"conn-head-of-line", "conn-ipv6", "conn-idle-500"}[:i]...) // what each adds
			if os.Getenv("GRADE") == "all" {
				c.Case = nil
			} else {
				t.Log("a sample of the cases; GRADE=all has all of them")
			}
			r, err := graded(t, c)
			if err != nil {
				t.Errorf("%v", err)
				for _, e := range r.Cases {
					if e.Outcome != passed {
						t.Errorf("%s %s: %s", e.Outcome, e.Name, e.Log)
					}
				}
			}
			if r.Stage != i+1 {
				t.Errorf("graded as stage %d", r.Stage)
			}
			if len(r.Findings) > 0 || r.Points != r.Max || r.Points == 0 {
				t.Errorf("%v of %v points; %q", r.Points, r.Max, r.Findings)
			}
			for _, c := range r.Categories {
				if c.Passed != c.Cases || c.Cases == 0 {
					t.Errorf("%+v", *c)
				}
			}
		})
	}
}

// TestBadPrograms gives few points, for the right reason, and soon.
func TestBadPrograms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, reason, more string }{
		{"exits", "It never started", "exit status 3"},
		{"hangs", "It hangs", "accepts connections"},
		{"deaf", "It never listens", "the port that -p gave it"},
		{"always200", "It answers 200 to everything", "a line that is no HTTP"},
		{"always400", "It answers 400 to everything", "a line that is no HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			start := time.Now()
			r, err := graded(t, Command{Exec: bad(t, tt.name)})
			if !errors.Is(err, errFailed) {
				t.Errorf("the exit status would be 0: %v", err)
			}
			if r.Points > r.Max/20 || r.Max < 50 {
				t.Errorf("%v of %v points", r.Points, r.Max)
			}
			if n := strings.Count(strings.Join(r.Findings, "\n"), tt.reason); n != 1 {
				t.Errorf("%q is said %d times in %q", tt.reason, n, r.Findings)
			}
			if !strings.Contains(strings.Join(r.Findings, "\n"), tt.more) {
				t.Errorf("no %q in %q", tt.more, r.Findings)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("exits, and its words", func(t *testing.T) {
		text, _ := grade(t, Command{Exec: bad(t, "exits")})
		if !strings.Contains(text, "cannot find my configuration") || strings.Contains(text, "\nFAIL ") {
			t.Errorf("the report is\n%s", text)
		}
	})
}

// TestSingleCase plays a case even where the whole is hopeless, and teaches.
func TestSingleCase(t *testing.T) {
	t.Parallel()
	text, err := grade(t, Command{Exec: bad(t, "always200"), Case: []string{"host-missing"}})
	if !errors.Is(err, errFailed) {
		t.Errorf("%v", err)
	}
	for _, want := range []string{
		"FAIL host", "claimed  host-missing: HTTP/1.1 without Host is 400.", "sent: \"GET /", "This usually means:", "0.0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "cases/") {
		t.Errorf("it names the suite's own sources:\n%s", text)
	}
}

// TestCrash tells of a server that ends in the middle of a case, by its signal and its last words.
func TestCrash(t *testing.T) {
	r := newReport(4, []weight{{points: 10, category: "All", patterns: []string{"*", "pitfall/*/*"}}}, nil)
	if err := r.pick([]string{"host-missing", "conn-persistent"}); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Cases {
		r.take(suite.Result{
			Case: suite.Case{Name: e.Name}, Outcome: suite.Failed,
			Log: "cases/request_head.go:12: nothing came", Crash: "signal: segmentation fault\n\t| at last",
		})
	}
	r.settle()
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0], "It crashed, and ended with signal: segmentation fault") ||
		!strings.Contains(r.Findings[0], "2 cases") {
		t.Errorf("%q", r.Findings)
	}
	var out strings.Builder
	if err := r.print(&out, false, true); err != nil || !strings.Contains(out.String(), "CRASHED") || !strings.Contains(out.String(), "| at last") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestWrapper finds the server behind a shell that stays its parent, as behind one that execs.
func TestWrapper(t *testing.T) {
	server := build(t, "stage4-epoll")
	for name, line := range map[string]string{"parent": `"$SERVER" "$@"; exit $?`, "exec": `exec "$SERVER" "$@"`} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SERVER", server)
			wrapper := filepath.Join(t.TempDir(), "wrapper")
			if err := os.WriteFile(wrapper, []byte("#!/bin/sh\n"+line+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(t.TempDir(), "output")
			// Descriptors, threads, signals and an exit status: each by the server's number.
			r, err := graded(t, Command{Exec: wrapper, Output: log, Case: []string{"timeout-write", "cli-workers", "stop-idle", "conn-persistent"}})
			if err != nil {
				for _, e := range r.Cases {
					t.Logf("%s %s: %s", e.Outcome, e.Name, e.Log)
				}
				t.Error(err)
			}
			if said, err := os.ReadFile(log); err != nil || !strings.Contains(string(said), "stage4-epoll: serving ") {
				t.Errorf("the output is %q, %v", said, err)
			}
		})
	}
}

// TestStraceWrapper grades through strace, and finds the calls in what it writes.
func TestStraceWrapper(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		record.Missing(t, "needs strace: apt-get install strace")
	}
	t.Setenv("SERVER", build(t, "stage1-iterative"))
	t.Setenv("TRACE", filepath.Join(t.TempDir(), "trace"))
	r, err := graded(t, Command{Exec: "../../support/wrappers/strace-wrapper", Case: []string{"conn-persistent", "stop-idle"}})
	if err != nil || r.Stage != 1 {
		t.Errorf("stage %d, %v: %+v", r.Stage, err, r.Findings)
	}
	files, err := filepath.Glob(os.Getenv("TRACE") + ".*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	found := slices.ContainsFunc(files, func(name string) bool {
		b, _ := os.ReadFile(name)
		return strings.Contains(string(b), `"GET /healthz HTTP/1.1`) && strings.Contains(string(b), "recvfrom(")
	})
	if !found {
		t.Errorf("no request in %q", files)
	}
}

// TestComplete has a category for every case, and claims that are in the contract.
func TestComplete(t *testing.T) {
	weights, err := readWeights("")
	if err != nil {
		t.Fatal(err)
	}
	words, err := readClaims("")
	if err != nil || len(words) == 0 {
		t.Fatalf("docs/spec.md is not found: %v", err)
	}
	sum := 0.0
	for stage := 1; stage <= 4; stage++ {
		r := newReport(stage, weights, words)
		sum = 0
		for _, e := range r.Cases {
			if e.Category == "" || e.Max <= 0 {
				t.Errorf("stage %d: %s has no category in weights.txt", stage, e.Name)
			}
			sum += e.Max
			for _, id := range e.ids {
				if words[id] == "" {
					t.Errorf("no words for %s", id)
				}
			}
		}
	}
	if sum < 99.99 || sum > 100.01 {
		t.Errorf("there are %v points in all, want 100", sum)
	}
}

// TestHints are all reachable and of use: each pattern matches some claim.
func TestHints(t *testing.T) {
	r := newReport(4, []weight{{points: 1, category: "All", patterns: []string{"*", "pitfall/*/*"}}}, nil)
	var ids []string
	for _, e := range r.Cases {
		ids = append(ids, e.ids...)
	}
	if len(hints) < 20 {
		t.Errorf("%d hints", len(hints))
	}
	for _, h := range hints {
		for _, p := range h.patterns {
			if p != "*" && !slices.ContainsFunc(ids, func(id string) bool { return hintMatches(p, id) }) {
				t.Errorf("the pattern %s matches no claim: %s", p, h.words)
			}
		}
	}
	for log, want := range map[string]string{
		"the server does not start: /x -p 0 -a: it exits at start: exit status 2\n| error: unrecognized arguments: -a": "does not know a flag",
		`response: "\r\nHTTP/1.1 200 OK" is no status line`:                                                            "bytes lie behind",
		`response: "HTTP/1.0 404 File not found" is not of HTTP/1.1`:                                                   "every answer begins with",
		"read tcp: i/o timeout": "the server waits too",
	} {
		if got := hintFor([]string{"some-claim"}, log); !strings.Contains(got, want) {
			t.Errorf("%q is hinted at with %q", log, got)
		}
	}
}

// TestHintOfTheFirstCause: what the suite says of the server behind a case is not why the case failed. A hint
// is printed once.
func TestHintOfTheFirstCause(t *testing.T) {
	r := newReport(4, []weight{{points: 1, category: "All", patterns: []string{"*", "pitfall/*/*"}}}, nil)
	const own, after = "answered 200 OK, want 408: i/o timeout", "after the case: it still holds 2 sockets more than at its start"
	for name, log := range map[string]string{"host": own + "\n" + after, "conn-persistent": after, "conn-close": after} {
		r.put(name, &entry{Outcome: failed, Log: log})
	}
	if got := r.entry("host").Hint; strings.Contains(got, "close(2)") || got == "" {
		t.Errorf("%q is hinted at with %q", own, got)
	}
	var out bytes.Buffer
	if err := r.print(&out, false, true); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "close(2): look at"); n != 1 || !strings.Contains(out.String(), "the same as in conn-") {
		t.Errorf("the hint is printed %d times:\n%s", n, out.String())
	}
}

// TestWeights reads a course's own file, and names the line that is wrong.
func TestWeights(t *testing.T) {
	all, err := parseWeights("w", strings.NewReader("# mine\n2.5  All of it  conn-*\n\n1  One  conn-ipv6 host-*\n"))
	if err != nil || len(all) != 2 || all[0].category != "All of it" {
		t.Fatalf("%v, %v", all, err)
	}
	for subject, want := range map[string]int{"conn-close": 0, "conn-ipv6": 1, "host-two": 1, "other": -1} {
		if got := categoryOf(all, subject); got != want {
			t.Errorf("%s is in %d, want %d", subject, got, want)
		}
	}
	for _, text := range []string{"", "ten  A  x-*", "1 A x-*", "-1  A  x", "1  A  [x", "NaN  A  x"} {
		if _, err := parseWeights("w", strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestMistakes of the one who grades: each message says what to do.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	plain, script := filepath.Join(dir, "plain"), filepath.Join(dir, "script")
	for name, mode := range map[string]os.FileMode{plain: 0o644, script: 0o755} {
		if err := os.WriteFile(name, []byte("print(1)\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		c    Command
		want string
	}{
		{Command{}, "--exec PROGRAM is missing"},
		{Command{Exec: dir}, "is a folder"},
		{Command{Exec: filepath.Join(dir, "none")}, "no such file"},
		{Command{Exec: plain}, "chmod +x"},
		{Command{Exec: script}, "#!"},
		{Command{Exec: "/bin/true", Stage: 5}, "stages 1 to 4"},
		{Command{Exec: "/bin/true", Case: []string{"no-such-case"}}, "-l lists"},
		{Command{Exec: "/bin/true", Weights: plain}, "plain:1"},
	} {
		if _, err := grade(t, tt.c); err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, errFailed) {
			t.Errorf("%+v: %v, want %s", tt.c, err, tt.want)
		}
	}
}

// TestList adds up, and knows what a stage claims.
func TestList(t *testing.T) {
	for stage, want := range map[int]bool{1: false, 2: true} {
		text, err := grade(t, Command{Stage: stage, List: true})
		if err != nil || strings.Contains(text, " conn-head-of-line ") != want || !strings.Contains(text, fmt.Sprintf("stage %d: ", stage)) {
			t.Errorf("stage %d: %v\n%s", stage, err, text)
		}
	}
}

// TestPoints never rounds a loss away.
func TestPoints(t *testing.T) {
	for x, want := range map[float64]string{0: "0.0", 99.99: "99.9", 100: "100.0", 0.3: "0.3", 0.04: "0.04"} {
		if got := points(x); got != want {
			t.Errorf("%v is %s, want %s", x, got, want)
		}
	}
}
