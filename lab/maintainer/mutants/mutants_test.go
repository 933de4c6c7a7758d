package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/variants"
)

var update = flag.Bool("update", false, "write the golden file anew")

// toy returns a world that is small enough to test within seconds.
func toy(t *testing.T, patterns ...string) *world {
	t.Helper()
	root, err := filepath.Abs("testdata/toy")
	if err != nil {
		t.Fatal(err)
	}
	quick := func(p *listed) bool { return p.Name != "main" }
	return &world{
		root: root, env: []string{"GOWORK=off", "GOFLAGS="}, patterns: patterns, grace: 4 * time.Second,
		quick:   quick,
		mutable: func(p *listed) []string { return p.GoFiles },
		suites:  []suite{{name: "conformance", path: "toy/prog", run: "^TestConformance$"}},
	}
}

func load(t *testing.T, w *world) []*mutant {
	t.Helper()
	if err := w.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w.mutants()
}

// TestOperators compares the mutants of testdata/toy/ops, and whether they compile, with the golden file.
func TestOperators(t *testing.T) {
	w := toy(t, "toy/ops")
	var got strings.Builder
	for _, m := range load(t, w) {
		if !w.compiles(m) {
			got.WriteString("does not compile: ")
		}
		before, after := m.lines()
		got.WriteString(strconv.Itoa(m.Line) + " " + m.key() + "\n\t- " + before + "\n\t+ " + after + "\n")
	}
	const golden = "testdata/toy/ops/mutants.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("not the same as in %s (-update writes it anew):\n%s", golden, got.String())
	}
}

func TestSample(t *testing.T) {
	w := toy(t, "toy/...")
	all := load(t, w)
	keys := func(ms []*mutant) []string {
		var keys []string
		for _, m := range ms {
			keys = append(keys, m.key())
		}
		return keys
	}
	one := keys(w.draw(all, 20, 1))
	if again := keys(w.draw(all, 20, 1)); !slices.Equal(one, again) {
		t.Errorf("the same seed gives two samples:\n%q\n%q", one, again)
	}
	if other := keys(w.draw(all, 20, 2)); slices.Equal(one, other) {
		t.Error("another seed gives the same sample")
	}
	if len(one) != 20 {
		t.Errorf("%d mutants, want 20", len(one))
	}
	for _, dir := range []string{"calc/", "prog/", "ops/"} {
		if !slices.ContainsFunc(one, func(k string) bool { return strings.HasPrefix(k, dir) }) {
			t.Errorf("no mutant of %s", dir)
		}
	}
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.key()] {
			t.Errorf("two mutants with the description %s", m.key())
		}
		seen[m.key()] = true
	}
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		sizes map[string]int
		n     int
		want  map[string]int
	}{
		{map[string]int{"a": 100, "b": 300}, 40, map[string]int{"a": 10, "b": 30}},
		{map[string]int{"a": 2, "b": 998}, 100, map[string]int{"a": 2, "b": 98}},
		{map[string]int{"a": 10, "b": 990}, 100, map[string]int{"a": 5, "b": 95}},
		{map[string]int{"a": 2, "b": 3}, 100, map[string]int{"a": 2, "b": 3}},
		{map[string]int{"a": 2, "b": 3}, 0, map[string]int{"a": 2, "b": 3}},
	} {
		if got := shares(c.sizes, c.n); !maps.Equal(got, c.want) {
			t.Errorf("%d of %v: %v, want %v", c.n, c.sizes, got, c.want)
		}
	}
}

const (
	capMore  = "calc/calc.go Cap constant: return make([]int, 0, 8) → return make([]int, 0, 9)"
	sumLess  = "calc/calc.go Sum boundary: i <= n → i < n"
	halfMore = "calc/calc.go Half constant: return n / 2 → return n / 3"
	untested = "calc/calc.go Untested boundary: return a < b → return a <= b"
	endless  = "calc/calc.go Forever drop: done = true → nothing"
	dear     = "prog/server.go text negate: shop.Price(4) == 2 → shop.Price(4) != 2"
)

// TestRun runs the whole command on the toy world, and then again with the saved state.
func TestRun(t *testing.T) {
	before := tree(t, "testdata/toy")
	dir := t.TempDir()
	only := strings.Join([]string{
		regexp.QuoteMeta(capMore), regexp.QuoteMeta(sumLess), regexp.QuoteMeta(halfMore),
		regexp.QuoteMeta(untested), regexp.QuoteMeta(endless), regexp.QuoteMeta(dear),
	}, "|")
	c := &Command{
		Seed: 1, Only: "^(" + only + ")$", Jobs: 2, Min: 90, Limit: 5 * time.Minute, Timeout: time.Minute,
		State: filepath.Join(dir, "state"), JSON: filepath.Join(dir, "report.json"),
	}
	known := capMore + "\n\ta hint\n" + "calc/calc.go Gone drop: x → nothing\n\tit was\n"
	var out bytes.Buffer
	err := c.run(t.Context(), toy(t, "toy/calc", "toy/shop", "toy/prog"), known, &out)
	if err == nil || !strings.Contains(err.Error(), "80.0 %") {
		t.Errorf("4 of 5 are killed: got the error %v, want one with 80.0 %%", err)
	}
	rep := readReport(t, c.JSON)
	if len(rep.Results) != 6 || rep.Rate != 80 {
		t.Errorf("%d results, %v %%", len(rep.Results), rep.Rate)
	}
	for key, want := range map[string]result{
		capMore:  {Status: equivalent, Why: "a hint"},
		sumLess:  {Status: killed, By: "tests of calc", Why: failing + "TestSum"},
		halfMore: {Status: killed, By: "tests of shop", Why: failing + "TestPrice"},
		untested: {Status: survived},
		endless:  {Status: killed, By: "tests of calc", Why: tooLong},
		dear:     {Status: killed, By: "conformance", Why: failing + "TestConformance/text/cheap"},
	} {
		i := slices.IndexFunc(rep.Results, func(r *result) bool { return r.Mutant == key })
		if i < 0 {
			t.Errorf("no result for %s", key)
			continue
		}
		if got := rep.Results[i]; got.Status != want.Status || got.By != want.By || got.Why != want.Why {
			t.Errorf("%s: %s by %q: %q, want %+v", key, got.Status, got.By, got.Why, want)
		}
	}
	for _, want := range []string{
		"note: equivalent.txt has a mutant that does not exist any more: calc/calc.go Gone drop",
		"\nsurvivor: calc/calc.go:24\n  - func Untested(a, b int) bool { return a < b }\n  + func Untested(a, b int) bool { return a <= b }\n",
		"\nequivalent: calc/calc.go:20\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
	if after := tree(t, "testdata/toy"); !maps.Equal(before, after) {
		t.Error("the run has changed the sources")
	}
	t.Run("with the saved state", func(t *testing.T) {
		var out bytes.Buffer
		c.Min = 80
		if err := c.run(t.Context(), toy(t, "toy/calc", "toy/shop", "toy/prog"), known, &out); err != nil {
			t.Errorf("--min 80: %v", err)
		}
		if n := strings.Count(out.String(), ", kept\n"); n != 5 {
			t.Errorf("%d results are kept, want 5:\n%s", n, out.String())
		}
	})
}

// TestLimit checks that the command fails if the time limit is reached before any mutant is tested.
func TestLimit(t *testing.T) {
	c := &Command{Seed: 1, Only: "boundary", Jobs: 2, Limit: time.Nanosecond, Timeout: time.Minute}
	var out bytes.Buffer
	err := c.run(t.Context(), toy(t, "toy/calc"), "", &out)
	if err == nil || !strings.Contains(err.Error(), "not tested") {
		t.Errorf("%v", err)
	}
}

// TestState checks which saved results are still valid.
func TestState(t *testing.T) {
	w := toy(t, "toy/calc")
	all := load(t, w)
	path := filepath.Join(t.TempDir(), "state")
	s, err := openState(path, w)
	if err != nil {
		t.Fatal(err)
	}
	for i, st := range []status{killed, survived} {
		res := all[i].result()
		res.Status = st
		if err := s.keep(all[i], res); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.file.WriteString("\n{\"Sour"); err != nil { // an incomplete line, from a run that was killed
		t.Fatal(err)
	}
	s.close()
	if s, err = openState(path, w); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	recalls := func(i int) bool { return s.recall(all[i], all[i].result()) }
	if !recalls(0) || !recalls(1) || recalls(2) {
		t.Errorf("got the saved results %v, %v, %v; want true, true, false", recalls(0), recalls(1), recalls(2))
	}
	s.tree = "a test was added"
	if !recalls(0) || recalls(1) {
		t.Errorf("after a test was added: got the saved results %v, %v; want only the kill", recalls(0), recalls(1))
	}
	all[0].src = append(slices.Clone(all[0].src), "// changed\n"...)
	if recalls(0) {
		t.Error("the mutated file has changed, but the kill is still valid")
	}
}

func TestReadEquivalent(t *testing.T) {
	got, err := readEquivalent("# words\na.go F drop: x → nothing\n\tone\n\ttwo\n\nb.go G swap: y → z\n  three\n")
	want := map[string]string{"a.go F drop: x → nothing": "one two", "b.go G swap: y → z": "three"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"a\n", "\treason\n", "a\n\tx\na\n\ty\n"} {
		if _, err := readEquivalent(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// TestKnown checks that every entry of equivalent.txt is a mutant.
func TestKnown(t *testing.T) {
	known, err := readEquivalent(equivalentText)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	w := repoWorld(repo.Root, []int{4, 2})
	all := load(t, w)
	for _, key := range stale(known, all) {
		t.Errorf("equivalent.txt has a mutant that does not exist any more; look at the code, then correct or remove the entry:\n%s", key)
	}
	if len(w.packages) != 14 || len(all) < 1000 {
		t.Errorf("%d mutants in %d packages: some were not found", len(all), len(w.packages))
	}
}

// TestSteps checks which tests run for a mutant, and in which order.
func TestSteps(t *testing.T) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	w := repoWorld(repo.Root, []int{4, 2})
	load(t, w)
	for dir, want := range map[string]string{
		"common/inbox": "tests of common/inbox, conformance of stage 4, pitfalls of stage 4",
		"common/stream": "tests of common/stream, tests of common/accesslog, tests of common/cli, tests of common/h1, tests of common/site, " +
			"conformance of stage 4, conformance of stage 2, pitfalls of stage 1, pitfalls of stage 2, pitfalls of stage 3, pitfalls of stage 4",
		"stage3-dualstack": "conformance of stage 3, pitfalls of stage 3, tests of stage 3",
	} {
		i := slices.IndexFunc(w.packages, func(u *unit) bool { return u.dir == dir })
		var names []string
		for _, s := range w.steps(w.packages[i]) {
			names = append(names, s.name)
		}
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("%s: %s\nwant %s", dir, got, want)
		}
	}
}

// TestRunKillsGroup checks that run kills a process that its command has started.
func TestRunKillsGroup(t *testing.T) {
	for name, script := range map[string]string{
		"ends":  "sleep 300 >/dev/null & echo $!",
		"hangs": "sleep 300 & echo $!; wait",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			said, _ := run(ctx, ".", nil, "sh", "-c", script)
			pid, err := strconv.Atoi(strings.TrimSpace(said))
			if err != nil {
				t.Fatalf("the output is %q, want a process ID", said)
			}
			for range 100 {
				if unix.Kill(pid, 0) == unix.ESRCH || zombie(pid) {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			t.Errorf("process %d is still running", pid)
		})
	}
}

// zombie reports whether a process is gone or has ended without being waited for.
func zombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestTail(t *testing.T) {
	x := &tail{}
	for range 1000 {
		if n, err := x.Write(bytes.Repeat([]byte("x"), 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = x.Write([]byte("end"))
	if s := x.String(); len(s) > 3*kept || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d bytes are kept", len(s))
	}
}

func TestReason(t *testing.T) {
	for said, want := range map[string]string{
		"--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/b (0.1s)\n        --- FAIL: TestA/b/c (0.1s)\n--- FAIL: TestD (0s)\nFAIL": failing + "TestA/b/c",
		"--- FAIL: TestA (0.1s)\npanic: oh [recovered]\n\npanic: oh\n":                                                         "panic: oh [recovered]",
		"fatal error: all goroutines are asleep - deadlock!\n":                                                                 "fatal error: all goroutines are asleep - deadlock!",
	} {
		if got := reason(said, nil); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

func readReport(t *testing.T, path string) *report {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rep := &report{}
	if err := json.Unmarshal(b, rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

// tree returns the contents of the files in a folder, by path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
