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

	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
)

// built has the programs that build has compiled, so that each is compiled once.
var built = struct {
	mu   sync.Mutex
	dir  string
	done map[string]string
}{done: map[string]string{}}

func TestMain(m *testing.M) {
	netns.Enter() // a pitfall starts its server through this program, to take IPv6 from the server
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil { // more than there are CPUs: most tests only wait
		panic(err)
	}
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// build compiles the package in a folder of the repository.
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

// badServer builds a program of testdata.
func badServer(t *testing.T, name string) string { return build(t, "lab/learner/grade/testdata/"+name) }

// grade runs the command and returns its output.
func grade(t *testing.T, c Command) (text string, err error) {
	t.Helper()
	var out strings.Builder
	c.out = &out
	err = c.Run(context.Background())
	return out.String(), err
}

// graded runs the command with --json and returns its report.
func graded(t *testing.T, c Command) (Report, error) {
	t.Helper()
	c.JSON = true
	text, err := grade(t, c)
	var r Report
	if jsonErr := json.Unmarshal([]byte(text), &r); jsonErr != nil {
		t.Fatalf("%v, %v:\n%s", err, jsonErr, text)
	}
	return r, err
}

// TestStages checks that each stage gets full points for a sample of its claims, with some of each category. The
// stages' own tests run all cases.
func TestStages(t *testing.T) {
	t.Parallel()
	for i, name := range stages.Dirs[1:] {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sample := []string{
				"cli-port*", "cli-bind*", "start-line*", "stop-idle*", "conn-persistent*", "conn-pipeline*", "conn-first-eof",
				"timeout-header", "refuse-4*", "line-*", "target-dotdot*", "chunk-data*", "expect-*", "resp-*", "type-*", "range-*", "cond-etag*",
				"token-none", "api-login*", "pitfall/leftover",
			}
			sample = append(sample, []string{"conn-head-of-line", "conn-ipv6", "conn-idle-500"}[:i]...) // what each stage adds
			wantFullPoints(t, i+1, Command{Exec: build(t, name), Case: sample})
		})
	}
}

// wantFullPoints checks that a command grades a stage with all points and without a finding.
func wantFullPoints(t *testing.T, stage int, c Command) {
	t.Helper()
	r, err := graded(t, c)
	if err != nil {
		t.Errorf("%v", err)
		for _, e := range r.Cases {
			if e.Outcome != passed {
				t.Errorf("%s %s: %s", e.Outcome, e.Name, e.Log)
			}
		}
	}
	if r.Stage != stage {
		t.Errorf("graded as stage %d, want %d", r.Stage, stage)
	}
	if len(r.Findings) > 0 || r.Points != r.Max || r.Points == 0 {
		t.Errorf("%v of %v points, findings %q; want all points and no findings", r.Points, r.Max, r.Findings)
	}
	for _, c := range r.Categories {
		if c.Passed != c.Cases || c.Cases == 0 {
			t.Errorf("not every case of the category passed: %+v", *c)
		}
	}
}

// TestBadPrograms checks that a bad server gets few points, the right diagnosis, and a quick report.
func TestBadPrograms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, reason, more string }{
		{"exits", "It never started", "exit status 3"},
		{"hangs", "It hangs", "accepts connections"},
		{"deaf", "It never listens", "the port that -p gave it"},
		{"always200", "It answers 200 to everything", "a line that is not HTTP"},
		{"always400", "It answers 400 to everything", "a line that is not HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // these programs mostly wait
			start := time.Now()
			r, err := graded(t, Command{Exec: badServer(t, tt.name)})
			if !errors.Is(err, errFailed) {
				t.Errorf("the exit status would be 0: %v", err)
			}
			if r.Points > r.Max/20 || r.Max < 50 {
				t.Errorf("%v of %v points, want at most 5 %%", r.Points, r.Max)
			}
			if n := strings.Count(strings.Join(r.Findings, "\n"), tt.reason); n != 1 {
				t.Errorf("%q occurs %d times in %q, want once", tt.reason, n, r.Findings)
			}
			if !strings.Contains(strings.Join(r.Findings, "\n"), tt.more) {
				t.Errorf("no %q in %q", tt.more, r.Findings)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("stderr is shown", func(t *testing.T) {
		text, _ := grade(t, Command{Exec: badServer(t, "exits"), All: true})
		if !strings.Contains(text, "cannot find my configuration") || strings.Contains(text, "\nFAIL ") {
			t.Errorf("the report lacks the stderr of the program, or has failed cases:\n%s", text)
		}
	})
}

// TestBriefAnswer grades a server whose whole answer is 21 bytes. The answer is wrong, but it shows that the
// server is alive.
func TestBriefAnswer(t *testing.T) {
	t.Parallel()
	r, err := graded(t, Command{Exec: badServer(t, "brief"), Case: []string{"conn-first-eof", "conn-reset-in-response", "conn-persistent"}})
	if !errors.Is(err, errFailed) {
		t.Errorf("the exit status would be 0: %v", err)
	}
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0], `"HTTP/1.0 200 OK" is not of HTTP/1.1`) {
		t.Errorf("findings: %q", r.Findings)
	}
	for name, want := range map[string]string{"conn-first-eof": passed, "conn-reset-in-response": passed, "conn-persistent": failed} {
		if e := r.entry(name); e == nil || e.Outcome != want || strings.Contains(e.Log, "a fresh client is not served") {
			t.Errorf("%s: got %+v, want %s", name, e, want)
		}
	}
}

// TestStaleServer warns about a server in bin/ that is older than its sources.
func TestStaleServer(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	server := filepath.Join(root, "bin", "stage4-epoll")
	program, err := os.ReadFile(badServer(t, "exits"))
	if err != nil {
		t.Fatal(err)
	}
	sources := []string{"common/h1/conn.go", "stage4-epoll/server.go", "stage3-dualstack/server.go", "common/h1/conn_test.go", "common/servertest/wire/client.go"}
	built := time.Now().Add(-time.Hour)
	for _, name := range append(sources, "bin/stage4-epoll") {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, built, built); err != nil {
			t.Fatal(err)
		}
	}
	for i, source := range sources {
		file := filepath.Join(root, source)
		if err := os.Chtimes(file, built, built.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		want := ""
		if i < 2 {
			want = "lab: warning: " + server + " is older than " + source + "; rebuild it with `make build`\n"
		}
		var warned strings.Builder
		_, err := graded(t, Command{Exec: server, Case: []string{"host-missing"}, warn: &warned})
		if !errors.Is(err, errFailed) {
			t.Errorf("%s: %v", source, err)
		}
		if warned.String() != want {
			t.Errorf("%s is newer: got the warning %q, want %q", source, warned.String(), want)
		}
		if err := os.Chtimes(file, built, built); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSingleCase runs a case that -t names, even against a hopeless program. The report explains the failure.
func TestSingleCase(t *testing.T) {
	t.Parallel()
	text, err := grade(t, Command{Exec: badServer(t, "always200"), Case: []string{"host-missing"}})
	if !errors.Is(err, errFailed) {
		t.Errorf("%v", err)
	}
	for _, want := range []string{
		"FAIL host", "claimed  host-missing: an HTTP/1.1 request without Host is 400.", "sent: \"GET /", "This usually means:", "0.0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "cases/") {
		t.Errorf("the report has positions in the sources of the suite:\n%s", text)
	}
}

// TestCrash checks that the report shows the signal and the last lines on stderr of a server that crashed.
func TestCrash(t *testing.T) {
	r := newReport(4, []weight{{points: 10, category: "All", patterns: []string{"*", "pitfall/*/*"}}}, nil)
	if err := r.selectCases([]string{"host-missing", "conn-persistent"}); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Cases {
		r.addResult(suite.Result{
			Case: suite.Case{Name: e.Name}, Outcome: suite.Failed,
			Log: "cases/request_head.go:12: no answer", Crash: "signal: segmentation fault\n\t| the last line",
		})
	}
	r.finish()
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0], "It crashed, and ended with signal: segmentation fault") ||
		!strings.Contains(r.Findings[0], "3 cases") {
		t.Errorf("findings %q, want one about the crash", r.Findings)
	}
	var out strings.Builder
	if err := r.print(&out, true); err != nil || !strings.Contains(out.String(), "CRASHED") || !strings.Contains(out.String(), "| the last line") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestWrapper finds the process of the server if a wrapper stays its parent, and if it calls exec.
func TestWrapper(t *testing.T) {
	server := build(t, "stage4-epoll")
	wrappers := map[string]string{}
	for name, line := range map[string]string{"parent": `"$SERVER" "$@"; exit $?`, "exec": `exec "$SERVER" "$@"`} {
		wrappers[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(wrappers[name], []byte("#!/bin/sh\nSERVER='"+server+"'\n"+line+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Not before: a process that another test starts meanwhile may inherit a script that is open for writing, and
	// the script could not be executed then.
	t.Parallel()
	for name, wrapper := range wrappers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := filepath.Join(t.TempDir(), "output")
			// These cases need the server's process ID: for descriptors, threads, signals and the exit status.
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

// TestStraceWrapper grades a server under strace, and finds the system calls in the traces.
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
		t.Errorf("no trace in %q shows the request", files)
	}
}

// TestComplete checks that every case has a category and that docs/spec.md has all of its claims.
func TestComplete(t *testing.T) {
	weights, err := readWeights("")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := readClaims("")
	if err != nil || len(claims) == 0 {
		t.Fatalf("docs/spec.md was not found: %v", err)
	}
	sum := 0.0
	for stage := 1; stage <= 4; stage++ {
		r := newReport(stage, weights, claims)
		sum = 0
		for _, e := range r.Cases {
			if e.Category == "" || e.Max <= 0 {
				t.Errorf("stage %d: %s has no category in weights.txt", stage, e.Name)
			}
			sum += e.Max
			for _, id := range e.ids {
				if claims[id] == "" {
					t.Errorf("docs/spec.md has no claim %s", id)
				}
			}
		}
	}
	if sum < 99.99 || sum > 100.01 {
		t.Errorf("the points add up to %v, want 100", sum)
	}
}

// TestHints checks that each pattern in hints.txt matches a claim, and that typical failures get the right hint.
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
				t.Errorf("the pattern %s matches no claim: %s", p, h.text)
			}
		}
	}
	for log, want := range map[string]string{
		"the server does not start: /x -p 0 -a: it exits at start: exit status 2\n| error: unrecognized arguments: -a": "does not know a flag",
		`response: "\r\nHTTP/1.1 200 OK" is no status line`:                                                            "the previous response is longer",
		`response: "HTTP/1.0 404 File not found" is not of HTTP/1.1`:                                                   "the status line says HTTP/1.0",
		"read tcp: i/o timeout": "the server waits too",
	} {
		if got := hintFor([]string{"some-claim"}, log); !strings.Contains(got, want) {
			t.Errorf("%q gets the hint %q, want %q", log, got, want)
		}
	}
}

// TestHintForOwnFailure checks that the hint is about the failure of the case itself, not about the server's state
// after it, and that the report prints each hint once.
func TestHintForOwnFailure(t *testing.T) {
	r := newReport(4, []weight{{points: 1, category: "All", patterns: []string{"*", "pitfall/*/*"}}}, nil)
	const own, after = "answered 200 OK, want 408: i/o timeout", "after the case: it still holds 2 sockets more than at its start"
	for name, log := range map[string]string{"host": own + "\n" + after, "conn-persistent": after, "conn-close": after} {
		r.setResult(name, &entry{Outcome: failed, Log: log})
	}
	if got := r.entry("host").Hint; strings.Contains(got, "close(2)") || got == "" {
		t.Errorf("%q gets the hint %q", own, got)
	}
	var out bytes.Buffer
	if err := r.print(&out, true); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "without close(2)"); n != 1 || !strings.Contains(out.String(), "the same as in conn-") {
		t.Errorf("the hint is printed %d times, want once:\n%s", n, out.String())
	}
}

// TestWeights parses a file of weights, and rejects bad lines.
func TestWeights(t *testing.T) {
	all, err := parseWeights("w", strings.NewReader("# mine\n2.5  All of it  conn-*\n\n1  One  conn-ipv6 host-*\n"))
	if err != nil || len(all) != 2 || all[0].category != "All of it" {
		t.Fatalf("%v, %v", all, err)
	}
	for subject, want := range map[string]int{"conn-close": 0, "conn-ipv6": 1, "host-two": 1, "other": -1} {
		if got := categoryOf(all, subject); got != want {
			t.Errorf("%s is in category %d, want %d", subject, got, want)
		}
	}
	for _, text := range []string{"", "ten  A  x-*", "1 A x-*", "-1  A  x", "1  A  [x", "NaN  A  x"} {
		if _, err := parseWeights("w", strings.NewReader(text)); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

// TestMistakes checks that the message for each bad command line says what to do.
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
		{Command{Exec: "/bin/true", Stage: 5}, "the stages are 1 to 4"},
		{Command{Exec: "/bin/true", Case: []string{"no-such-case"}}, "-l lists"},
		{Command{Exec: "/bin/true", Weights: plain}, "plain:1"},
	} {
		if _, err := grade(t, tt.c); err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, errFailed) {
			t.Errorf("%+v: %v, want %s", tt.c, err, tt.want)
		}
	}
}

// TestList checks that -l lists the cases of the given stage only, with their total.
func TestList(t *testing.T) {
	for stage, want := range map[int]bool{1: false, 2: true} {
		text, err := grade(t, Command{Stage: stage, List: true})
		if err != nil || strings.Contains(text, " conn-head-of-line ") != want || !strings.Contains(text, fmt.Sprintf("stage %d: ", stage)) {
			t.Errorf("stage %d: %v\n%s", stage, err, text)
		}
	}
}

// TestPoints checks that a loss never disappears by rounding.
func TestPoints(t *testing.T) {
	for x, want := range map[float64]string{0: "0.0", 99.99: "99.9", 100: "100.0", 0.3: "0.3", 0.04: "0.04"} {
		if got := points(x); got != want {
			t.Errorf("%v is %s, want %s", x, got, want)
		}
	}
}
