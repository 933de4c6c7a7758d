// Package pitfalls holds the catalogue of pitfalls, and plays them.
//
// A pitfall is a bug that a reasonable person writes, kept in three places:
//
//   - stageN-…/testdata/pitfalls/ID/README.md: half a page. The symptom first, then the cause, the
//     fix, and where the code is free of it, by file and function.
//   - stageN-…/testdata/pitfalls/ID/bug.patch: a unified diff that breaks the working stage or
//     common/, with paths from the root of the repository. Where a stage before is the bug, a file
//     named previous-stage instead, which holds the name of that stage's folder.
//   - a [Scenario] in stageN.go of this package: what a client does, and the one named assertion that the
//     broken server fails.
//
// [Run], called by TestPitfalls of each stage, plays the stage's scenarios against both: the broken
// server must fail the named assertion (and nothing else), the real one must pass.
//
// # How to add one
//
// Write the bug into a copy of the file, and keep the difference. Small is good: a patch is as
// stable as the lines it touches and the two around them. Line numbers do not matter, lines do.
//
//	cp common/h1/conn.go /tmp/conn.go; $EDITOR /tmp/conn.go
//	mkdir stage1-iterative/testdata/pitfalls/ID
//	diff -U2 --label a/common/h1/conn.go --label b/common/h1/conn.go common/h1/conn.go /tmp/conn.go \
//		> stage1-iterative/testdata/pitfalls/ID/bug.patch
//
// A patch for several files is several diffs in one file. Add the Scenario to the list of its
// stage (a new stage's list goes into the variable scenarios), write README.md, and run
//
//	go test -run 'TestPitfalls/ID' -v ./stage1-iterative   both ways
//	go run ./lab pitfall ID --yes                      as a reader sees it
//	go run ./lab matrix                                makes docs/pitfalls.md anew
//
// TestScenarios in this package checks that folders and scenarios belong together and that every
// [Place] is found.
//
// # How to write a scenario
//
// A scenario talks to the server through [Peer], whose every step becomes a line of the transcript:
// what it did, and what it saw. Both servers get the same steps until the assertion fails, so that the
// transcripts can be laid side by side; what is seen must read the same in every run where it means
// the same. Begin with something that both servers do well, then do what only one of them survives.
//
//	Run: func(s *S) {
//		a := s.Connect("A")
//		a.Send("GET /plain.txt", wire.Request("GET", "/plain.txt", ""))
//		resp, _ := a.Answer()
//		s.Assert(resp != nil, "no answer")
//	}
//
// S.Assert is the named assertion. Everything else that goes wrong (s.Fatalf, a panic, a Client's
// failure) is a failure of something else, with which the broken server's run fails too.
//
// Assert what the client received and in which order, how many system calls there were, what
// /proc counts; never how long something took. No wait here has a time-out to be tuned: reading ends
// with bytes, with the end of the connection, or when every thread of the server sleeps (then nothing
// will come: 250 ms of looking are enough) or it has used up 0.7 s of CPU. Where the server's own clock
// is to do something, give it short time-outs by Flags and the peer [Peer.AtLeast] a bit more than
// that. For counts: Server.Connections, Server.Threads, Server.Memory, Server.CPU, Server.InCall, and
// S.Calls with strace.
package pitfalls

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// A Pitfall is a scenario and its folder.
type Pitfall struct {
	Scenario
	variants.Variant // the server that has the bug
}

// scenarios are all scenarios, stage by stage.
var scenarios = []func() []Scenario{stage1Scenarios}

// Scenarios are all scenarios in the order of the catalogue.
func Scenarios() []Scenario {
	var all []Scenario
	for _, group := range scenarios {
		all = append(all, group()...)
	}
	return all
}

// ScenarioOf finds a scenario by its ID.
func ScenarioOf(id string) (Scenario, bool) {
	all := Scenarios()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.ID == id })
	if i < 0 {
		return Scenario{}, false
	}
	return all[i], true
}

// All are the pitfalls of the tree, in the order of Scenarios.
func All(r *variants.Repo) ([]Pitfall, error) {
	all := catalogued(r)
	for _, p := range all {
		if _, err := os.Stat(p.Dir); err != nil {
			return nil, fmt.Errorf("the scenario %s has no folder: %w", p.ID, err)
		}
	}
	return all, nil
}

// catalogued returns the pitfalls of Scenarios with their folders in the tree, which may be missing.
func catalogued(r *variants.Repo) []Pitfall {
	var all []Pitfall
	for _, sc := range Scenarios() {
		dir := filepath.Join(r.Root, stages.Dirs[sc.Stage], "testdata", "pitfalls", sc.ID)
		all = append(all, Pitfall{sc, variants.Variant{Name: sc.ID, Base: sc.Stage, Dir: dir}})
	}
	return all
}

// Run plays each of the stage's pitfalls twice: as the subtest ID/fixed against prog, the real server, and as
// ID/broken against a server with the bug. It reports its progress on stderr, and each failure at once. The copies of
// the tree that students get have no folders of pitfalls: there, only the real server is tested.
func Run(t *testing.T, prog *process.Program) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	dir, err := os.MkdirTemp("", "pitfalls-root-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := docroot.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	tally := &process.Tally{Stage: stages.Dirs[prog.Stage], Noun: "pitfall"}
	defer tally.End()
	work := make(chan Pitfall)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for p := range work {
				t.Run(p.ID, func(t *testing.T) {
					tally.Starts()
					defer func() { tally.Ran(t) }()
					if p.Network && os.Geteuid() != 0 && !netns.Elsewhere(t, netns.BothFamilies) {
						if t.Failed() {
							failed(&p, "it failed in a network namespace, see the output of its test")
						}
						return
					}
					skipped := false
					passed := t.Run("fixed", func(t *testing.T) {
						defer func() { skipped = t.Skipped() }()
						runFixed(t, &p, prog, root)
					})
					if skipped {
						t.Skip("the machine lacks something: see fixed")
					}
					if passed && hasPatches(repo) { // otherwise the broken server may fail for the reason for which the real one does
						t.Run("broken", func(t *testing.T) { runBroken(t, shop, &p, root) })
					}
				})
			}
		})
	}
	for _, p := range catalogued(repo) {
		if p.Stage == prog.Stage {
			work <- p
		}
	}
	close(work)
	wg.Wait()
}

// hasPatches reports whether the tree has the folders of the pitfalls. A single folder that is missing is a mistake.
func hasPatches(r *variants.Repo) bool {
	all, err := filepath.Glob(filepath.Join(r.Root, "stage*", "testdata", "pitfalls", "*", "README.md"))
	return err == nil && len(all) > 0
}

// parallel is how many pitfalls are played at once. There may be more of them than CPUs, because most of their
// time is spent waiting.
const parallel = 4

func runBroken(t *testing.T, shop *variants.Workshop, p *Pitfall, root *docroot.Root) {
	prog, err := shop.Broken(t.Context(), &p.Variant)
	if errors.Is(err, variants.ErrStale) {
		// A reader may change the code and leave the patches as they are. A maintainer must renew them.
		record.Missing(t, "needs a bug.patch that applies: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	tr := scenario.Play(p.Scenario, prog, root)
	switch tr.Verdict {
	case scenario.Caught:
		t.Logf("%s fails, as it must: %s", p.Assertion, tr.Reason)
	case scenario.Free:
		failed(p, "the broken server passes")
		t.Errorf("the broken server passes: the scenario would not notice the bug%s", text(tr))
	case scenario.Unskilled:
		record.Missing(t, "%s", tr.Reason)
	default:
		failed(p, "the broken server does not fail %s, but something else", p.Assertion)
		t.Errorf("the broken server does not fail %s, but something else: %s%s", p.Assertion, tr.Reason, text(tr))
	}
}

func runFixed(t *testing.T, p *Pitfall, prog *process.Program, root *docroot.Root) {
	switch tr := scenario.Play(p.Scenario, prog, root); tr.Verdict {
	case scenario.Free:
		if strings.TrimSpace(tr.Stderr) != "" && (p.Stderr == "" || !strings.Contains(tr.Stderr, p.Stderr)) {
			t.Errorf("unexpected on stderr:%s", process.Indent(tr.Stderr))
		}
	case scenario.Caught:
		failed(p, "%s failed: %s; this usually means %s", p.Assertion, tr.Reason, p.Usually)
		t.Errorf("%s: %s%s\n\tthis usually means %s", p.Assertion, tr.Reason, text(tr), p.Usually)
	case scenario.Unskilled:
		record.Missing(t, "%s", tr.Reason)
	default:
		failed(p, "it cannot be played: %s", tr.Reason)
		t.Errorf("%s%s", tr.Reason, text(tr))
	}
}

// failed reports in one line what is wrong with a pitfall: at once, and again after all tests.
func failed(p *Pitfall, format string, args ...any) {
	said := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	process.Headline("pitfall %s: %s", p.ID, said)
}

// text formats a transcript, to follow a message.
func text(tr *scenario.Transcript) string {
	var b strings.Builder
	for i, st := range tr.Steps {
		fmt.Fprintf(&b, "%2d %s\n", i+1, st.Did)
		if st.Saw != "" {
			fmt.Fprintf(&b, "   → %s\n", st.Saw)
		}
	}
	for _, l := range tr.Threads {
		fmt.Fprintf(&b, "threads: %s\n", l)
	}
	return process.Indent(b.String() + tr.Stderr)
}
