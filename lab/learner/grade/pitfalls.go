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

// pitfallsAtOnce is how many scenarios are played side by side, each with a server of its own.
const pitfallsAtOnce = 4

// playPitfalls plays the scenarios that are wanted. This is all that grade knows about them.
func playPitfalls(ctx context.Context, prog *process.Program, report *Report) error {
	var wanted []scenario.Scenario
	for _, sc := range pitfalls.Scenarios() {
		if report.wants(pitfallName(sc)) {
			wanted = append(wanted, sc)
		}
	}
	if len(wanted) == 0 {
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
	var mu sync.Mutex // of report
	var wg sync.WaitGroup
	seats := make(chan struct{}, pitfallsAtOnce)
	for _, sc := range wanted {
		wg.Go(func() {
			seats <- struct{}{}
			defer func() { <-seats }()
			e := &entry{Outcome: lost, Log: "not tried: " + fmt.Sprint(context.Cause(ctx))}
			if err := prog.Guest.Over(); err != nil {
				e.Log = "not tried: " + err.Error()
			} else if ctx.Err() == nil {
				e = played(scenario.Play(sc, prog, root))
				if e.Outcome == failed && ctx.Err() != nil { // its server may have been taken away from it
					e = &entry{Outcome: lost, Log: "cut short: " + fmt.Sprint(context.Cause(ctx))}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			report.put(pitfallName(sc), e)
		})
	}
	wg.Wait()
	return nil
}

func pitfallName(sc scenario.Scenario) string { return "pitfall/" + sc.ID }

// played puts a transcript into the words of a failure.
func played(tr *scenario.Transcript) *entry {
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
		b.WriteString("This could not be played to its end, so that nothing is known of the bug:\n")
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
