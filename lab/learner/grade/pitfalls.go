package grade

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
)

// pitfallsAtOnce is how many scenarios run at the same time, each with a server of its own. They mostly wait.
const pitfallsAtOnce = 4

// playPitfalls plays the scenarios of the report for which keep returns true.
func playPitfalls(ctx context.Context, prog *process.Program, report *Report, keep func(name string) bool) error {
	var included []scenario.Scenario
	for _, sc := range pitfalls.Scenarios() {
		if name := pitfallName(sc); report.includes(name) && keep(name) {
			included = append(included, sc)
		}
	}
	if len(included) == 0 {
		return nil
	}
	top, err := os.MkdirTemp("", "grade-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(top) }()
	root, err := docroot.New(top)
	if err != nil {
		return err
	}
	defer prog.Guest.Watch(ctx)()
	var mu sync.Mutex // protects report
	var wg sync.WaitGroup
	slots := make(chan struct{}, pitfallsAtOnce)
	for _, sc := range included {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			e := &entry{Outcome: untried, Log: "not tried: " + fmt.Sprint(context.Cause(ctx))}
			if err := prog.Guest.Over(); err != nil {
				e.Log = "not tried: " + err.Error()
			} else if ctx.Err() == nil {
				e = playedEntry(scenario.Play(sc, prog, root))
				if e.Outcome == failed && ctx.Err() != nil { // perhaps only because its server was killed
					e = &entry{Outcome: untried, Log: "cut short: " + fmt.Sprint(context.Cause(ctx))}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			report.setResult(pitfallName(sc), e)
		})
	}
	wg.Wait()
	return nil
}

func pitfallName(sc scenario.Scenario) string { return "pitfall/" + sc.ID }

// playedEntry turns a transcript into an entry of the report.
func playedEntry(tr *scenario.Transcript) *entry {
	e := &entry{Seconds: tr.Took.Seconds()}
	switch tr.Verdict {
	case scenario.Free:
		e.Outcome = passed
		return e
	case scenario.Unskilled:
		e.Outcome, e.Log = skipped, tr.Reason
		return e
	case scenario.Caught:
		e.Outcome, e.Hint = failed, tr.Scenario.Usually
	default:
		e.Outcome = failed
	}
	var b strings.Builder
	if tr.Verdict == scenario.Unplayed {
		b.WriteString("The scenario could not be completed, so it does not show whether the server has this bug:\n")
	}
	for i, s := range tr.Steps {
		fmt.Fprintf(&b, "%2d. %s", i+1, s.Did)
		if s.Saw != "" {
			fmt.Fprintf(&b, ": %s", s.Saw)
		}
		if s.Odd {
			b.WriteString("   <-- here")
		}
		b.WriteString("\n")
	}
	if tr.Verdict == scenario.Caught {
		fmt.Fprintf(&b, "want: %s\n", tr.Scenario.Assertion)
	}
	e.Log = b.String() + tr.Reason
	return e
}
