package trace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/trace/tape"
)

// find returns the pitfall with this name.
func find(repo *variants.Repo, id string) (*pitfalls.Pitfall, error) {
	all, err := pitfalls.All(repo)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p pitfalls.Pitfall) bool { return p.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("there is no scenario %q: use %s, or the name of a pitfall; `make pitfall` lists them", id, threeClients)
	}
	return &all[i], nil
}

// recordBoth records a pitfall's scenario at the server with the bug, and at the real one.
func recordBoth(ctx context.Context, shop *variants.Workshop, p *pitfalls.Pitfall) ([]recording, error) {
	broken, err := shop.Broken(ctx, &p.Variant)
	if err != nil {
		return nil, err
	}
	right, err := shop.Real(ctx, p.Stage)
	if err != nil {
		return nil, err
	}
	with, err := recordScenario(p, broken, "With the bug", scenario.Caught)
	if err != nil {
		return nil, err
	}
	without, err := recordScenario(p, right, "Without it: "+stages.Dirs[p.Stage], scenario.Free)
	if err != nil {
		return nil, err
	}
	return []recording{{p.ID + "-broken.strace", with}, {p.ID + "-right.strace", without}}, nil
}

// recordAt records a pitfall's scenario at a stage.
func recordAt(ctx context.Context, shop *variants.Workshop, p *pitfalls.Pitfall, stage int) ([]recording, error) {
	if !p.In(stage) && !p.FailsIn(stage) {
		return nil, fmt.Errorf("the scenario %s makes no sense in stage %d: leave out --stage to see it in stage %d", p.ID, stage, p.Stage)
	}
	prog, err := shop.Real(ctx, stage)
	if err != nil {
		return nil, err
	}
	want := scenario.Free
	if p.FailsIn(stage) {
		want = scenario.Caught
	}
	t, err := recordScenario(p, prog, stages.Dirs[stage], want)
	return []recording{{fmt.Sprintf("%s-%d.strace", p.ID, stage), t}}, err
}

// recordScenario records a scenario at a server. want is the verdict without strace.
func recordScenario(p *pitfalls.Pitfall, prog *process.Program, title string, want scenario.Verdict) (*tape.Tape, error) {
	dir, err := os.MkdirTemp("", "trace-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := docroot.New(dir)
	if err != nil {
		return nil, err
	}
	r := newRecorder(dir)
	r.paths[root.Dir] = "/srv"
	r.paths[dir], r.paths[filepath.Dir(prog.Path)] = "/tmp", "/tmp"
	tr := scenario.Play(settled(p.Scenario), r.under(prog), root)
	if tr.Verdict == scenario.Unskilled || len(tr.Steps) == 0 {
		return nil, fmt.Errorf("%s: %s", p.ID, tr.Reason)
	}
	t := &tape.Tape{Title: title, Clients: map[int]string{}}
	var names []string
	for _, s := range tr.Streams {
		names = append(names, s.Name)
		if s.Port != 0 {
			t.Clients[s.Port] = s.Name
		}
	}
	for _, s := range tr.Steps {
		t.Steps = append(t.Steps, step(s, names))
	}
	for _, n := range notes(p, tr, want) {
		t.Notes = append(t.Notes, r.clean(n))
	}
	r.await()
	t.End = t.Steps[len(t.Steps)-1].To + 3*time.Millisecond // later the scenario closes its connections
	t.Strace, err = r.strace(t, mostLines)
	return t, err
}

// settled returns the scenario for a server that has gone to sleep. Under strace a server is still starting its
// threads when it listens already.
func settled(sc scenario.Scenario) scenario.Scenario {
	if sc.NoServer {
		return sc
	}
	run := sc.Run
	sc.Run = func(s *scenario.S) {
		quiet := 0
		kernel.Eventually(time.Second, func() bool {
			if quiet++; s.Server.Awake() {
				quiet = 0
			}
			return quiet == 5
		})
		run(s)
	}
	return sc
}

// step returns a step of a transcript. The names are those of all clients.
func step(s scenario.Step, names []string) tape.Step {
	out := tape.Step{Did: s.Did, Saw: s.Saw, From: since1970(s.At)}
	if out.To = out.From; !s.SawAt.IsZero() {
		out.To = since1970(s.SawAt)
	}
	if name, _, _ := strings.Cut(s.Did, " "); slices.Contains(names, name) {
		out.Client = name
	}
	return out
}

// notes says how the run ended.
func notes(p *pitfalls.Pitfall, tr *scenario.Transcript, want scenario.Verdict) []string {
	reason, _, _ := strings.Cut(tr.Reason, "\n")
	said := fmt.Sprintf("The assertion %s holds.", p.Assertion)
	switch tr.Verdict {
	case scenario.Caught:
		said = fmt.Sprintf("The assertion %s fails: %s.", p.Assertion, reason)
	case scenario.Unplayed:
		said = fmt.Sprintf("The scenario could not be played to its end: %s.", reason)
	}
	all := []string{said}
	if tr.Verdict != want {
		all = append(all, "Without strace this run ends differently. strace makes the server slower, and this scenario depends on time.")
	}
	return all
}
