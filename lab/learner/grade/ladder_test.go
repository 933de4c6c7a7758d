package grade

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
	"fourways.example/lab/support/slow"
)

// TestMilestones checks that each case of each stage has exactly one milestone, and that each pattern is of use.
func TestMilestones(t *testing.T) {
	used := map[string]bool{}
	for stage := range stages.Dirs {
		if stage == 0 {
			continue
		}
		r := newReport(stage, []weight{{points: 1, category: "All", patterns: []string{"*", "pitfall/*/*"}}}, nil)
		for _, e := range r.Cases {
			var best []string // titles
			longest := 0
			for _, m := range milestones {
				for _, p := range m.patterns {
					switch {
					case m.from > stage || !hintMatches(p, e.Name):
					case len(p) > longest:
						longest, best = len(p), []string{m.title}
						used[p] = true
					case len(p) == longest:
						best = append(best, m.title)
					}
				}
			}
			if len(best) != 1 {
				t.Errorf("stage %d: %s has the milestones %q, want one", stage, e.Name, best)
			}
		}
		n := 0
		for i, g := range r.rungs(milestones) {
			if n += len(g.entries); g.number != i+1 {
				t.Errorf("stage %d: the milestone %q has the number %d, want %d", stage, g.title, g.number, i+1)
			}
		}
		if n != len(r.Cases) {
			t.Errorf("stage %d: %d of %d cases belong to a milestone", stage, n, len(r.Cases))
		}
	}
	for _, m := range milestones {
		for _, p := range m.patterns {
			if !used[p] && !slices.ContainsFunc(pitfalls.Scenarios(), func(sc scenario.Scenario) bool { return hintMatches(p, pitfallName(sc)) }) {
				t.Errorf("%s: the pattern %s decides about no case", m.title, p)
			}
		}
		if m.says == "" || len(wrapped(m.says, 0)) > 2 {
			t.Errorf("%s: %q should be a text of one or two lines", m.title, m.says)
		}
	}
}

// screen runs the ladder, and checks the size of what it prints.
func screen(t *testing.T, c Command) string {
	t.Helper()
	text, err := grade(t, c)
	if !errors.Is(err, errFailed) {
		t.Errorf("the exit status would be 0: %v", err)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > 20 {
		t.Errorf("%d lines, want at most 20:\n%s", len(lines), text)
	}
	for _, line := range lines {
		if len([]rune(line)) > 80 && !strings.HasPrefix(line, "  lab grade ") {
			t.Errorf("a line of more than 80 columns: %s", line)
		}
	}
	return text
}

// wants checks that the screen names the milestone that fails, and the reason.
func wants(t *testing.T, text, milestone string, reasons ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, want := range append([]string{" " + milestone + " ", "next: " + milestone, "lab grade --exec "}, reasons...) {
		if !strings.Contains(flat, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if i := strings.Index(flat, "FAIL"); i < 0 || !strings.HasPrefix(strings.TrimLeft(flat[i+len("FAIL"):], " 0123456789"), milestone) {
		t.Errorf("want FAIL at %q:\n%s", milestone, text)
	}
}

// flawed returns the program of testdata/flawed with one flaw.
func flawed(t *testing.T, flaw string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), flaw)
	if err := os.Symlink(badServer(t, "flawed"), link); err != nil {
		t.Fatal(err)
	}
	return link
}

// TestLadder checks that each bad server gets the right milestone and the right reason on the first screen.
func TestLadder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flaw, milestone string
		reasons         []string
	}{
		{"always-400", "one request", []string{"seen answered 400", "It answers 400 to everything"}},
		{"always-200", "a request in pieces", []string{"seen answered too early", "It answers 200 to everything"}},
		{"one-read", "a request in pieces", []string{"seen answered too early", "keep them in a buffer, and read on"}},
		{"one-client", "a request in pieces", []string{"the server ended: exit status 0", "accept the next one in a loop"}},
		{"no-keep-alive", "two on one connection", []string{"a connection stays open unless one side sends Connection: close"}},
		{"crlf-behind-bodies", "two on one connection", []string{"an empty line where the next answer should begin", "a line end follows the body"}},
		{"known-files", "a file", []string{"seen answered 404", "the name of this file is new in each run"}},
		{"crash-on-empty", "clients that leave", []string{
			"the server ended: exit status 2", "panic: the request line has no method", "The first recv(2) returns 0",
		}},
	} {
		t.Run(tt.flaw, func(t *testing.T) {
			t.Parallel() // they mostly wait
			wants(t, screen(t, Command{Exec: flawed(t, tt.flaw), Stage: 2}), tt.milestone, tt.reasons...)
		})
	}
	t.Run("exits", func(t *testing.T) {
		t.Parallel()
		text := screen(t, Command{Exec: badServer(t, "exits")})
		wants(t, text, "one request", "It never started", "| exits: cannot find my configuration")
		if !strings.HasPrefix(text, "0 of ") {
			t.Errorf("it has passed a milestone:\n%s", text)
		}
	})
}

// TestSlowLadder is TestLadder for servers that answer slowly, or that are built from the sources with a patch.
func TestSlowLadder(t *testing.T) {
	slow.Test(t)
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shop.Close)
	t.Run("stage 4", func(t *testing.T) { // alone: ten thousand clients are too much beside others
		text, err := grade(t, Command{Exec: build(t, stages.Dirs[4])})
		if err != nil || !strings.Contains(text, "All milestones are passed") {
			t.Errorf("%v\n%s", err, text)
		}
	})
	for _, tt := range []struct {
		name      string
		server    Command
		milestone string
		reasons   []string
	}{
		{
			"slow",
			Command{Exec: flawed(t, "slow"), Stage: 2},
			"one client after the other",
			[]string{"each client waits 1", "something in the server waits before each answer"},
		},
		{"no-length", Command{Exec: flawed(t, "no-length"), Stage: 2}, "one request", []string{"Content-Length is missing"}},
		{"deaf", Command{Exec: badServer(t, "deaf")}, "one request", []string{"It never listens"}},
		{"hangs", Command{Exec: badServer(t, "hangs")}, "one request", []string{"It hangs"}},
		{"IPv4 only", Command{Exec: build(t, stages.Dirs[2]), Stage: 3}, "IPv4 and IPv6", // as stage 2 is
			[]string{"nobody listens at this address (connection refused)", "family AF_INET"}},
		{
			"a pool as event loops",
			Command{Exec: build(t, stages.Dirs[3]), Stage: 4},
			"event loops",
			[]string{"500 idle clients do not delay", "in recv(2) or poll(2), and no thread is left"},
		},
		{
			"thread-per-connection", pitfallServer(t, repo, shop, "thread-per-connection"), "many clients at once",
			[]string{"threads stay at the pool", "the number of clients determines the number of threads"},
		},
		{
			"blocking-fd", pitfallServer(t, repo, shop, "blocking-fd"), "event loops",
			[]string{"500 idle clients do not delay", "an event loop waits in recv(2) for one client", "set O_NONBLOCK"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			wants(t, screen(t, tt.server), tt.milestone, tt.reasons...)
		})
	}
}

// pitfallServer builds the server with the bug of a pitfall.
func pitfallServer(t *testing.T, repo *variants.Repo, shop *variants.Workshop, id string) Command {
	t.Helper()
	all, err := pitfalls.All(repo)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p pitfalls.Pitfall) bool { return p.ID == id })
	prog, err := shop.Broken(context.Background(), &all[i].Variant)
	if err != nil {
		t.Fatal(err)
	}
	return Command{Exec: prog.Path, Stage: prog.Stage}
}

// TestLadderOfPython checks that a first server in 20 lines of Python gets the first milestone, and is told the second.
func TestLadderOfPython(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		record.Missing(t, "needs python3: %v", err)
	}
	text := screen(t, Command{Exec: filepath.Join("testdata", "first.py"), Stage: 1})
	wants(t, text, "a request in pieces", "ok 1 one request", "keep them in a buffer")
}

// TestSlowOwnPoints checks that a missing Date or Content-Type costs only the cases about it: those that name the
// claim, those about the type of a file or an echo, and those that find the ranges of a body by the type.
func TestSlowOwnPoints(t *testing.T) {
	slow.Test(t)
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shop.Close)
	for name, own := range map[string][]string{
		"no-date":         {"resp-date"},
		"no-content-type": {"resp-content-type", "type-*", "api-echo", "range-several*", "range-16"},
	} {
		prog, err := shop.Broken(t.Context(), &variants.Variant{Name: name, Base: 4, Dir: filepath.Join("testdata", name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := graded(t, Command{Exec: prog.Path, Stage: 4})
			if !errors.Is(err, errFailed) || r.entry(own[0]).Outcome != failed {
				t.Errorf("%s passes: %v", own[0], err)
			}
			var others []string
			for _, e := range r.Cases {
				if (e.Outcome == failed || e.Outcome == untried) && !slices.ContainsFunc(own, func(p string) bool { return hintMatches(p, e.Name) }) {
					others = append(others, e.Name)
				}
			}
			if len(others) > 10 {
				t.Errorf("it costs %d other cases, such as %q", len(others), others[:10])
			}
			for _, e := range others { // on a busy machine a case may fail for another reason
				if text, err := grade(t, Command{Exec: prog.Path, Stage: 4, Case: []string{e}}); err != nil {
					t.Errorf("it costs %s:\n%s", e, text)
				}
			}
		})
	}
}
