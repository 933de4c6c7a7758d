package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/stages"
)

// An Outcome is the result of a case in one word.
type Outcome int

// The outcomes.
const (
	Passed          Outcome = iota
	ExpectedFailure         // the case failed, as it must with the technique of this stage
	NotHere                 // the stage does not make the claim
	Failed
	Untried // the run ended before the case, or during it
	Skipped // this machine lacks something that the case needs
)

func (o Outcome) String() string {
	return [...]string{"ok", "fails, as it must", "not in this stage", "FAIL", "not tried", "skipped"}[o]
}

// A Result is the outcome of one case.
type Result struct {
	Case    Case
	Outcome Outcome
	Log     string // why it failed
	Crash   string // how the server exited by itself, with its last lines on stderr
	Silent  bool   // the server did not start, or did not answer a fresh client after the case
	Took    time.Duration
}

// parallel is how many server processes are tested at once. There may be more of them than CPUs, because most
// cases wait for a round trip or for a time-out.
const parallel = 8

// groupSize is the largest number of cases that share a server process.
const groupSize = 20

// Run runs the cases against the program, as subtests. It reports its progress on stderr. If a fresh client is
// not served after several cases in a row, Run does not try the rest.
//
// Goroutines of Run call t.Run, because t.Parallel would bound by the number of CPUs how many cases run at once.
func Run(t *testing.T, prog *process.Program, all []Case) {
	s, err := newSuite(prog, all)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	tally := &process.Tally{Stage: stages.Dirs[prog.Stage], Noun: "case"}
	defer tally.End()
	s.run(func(g *group, c Case) {
		if s.breaker.stopped() {
			tally.Untried()
			return
		}
		t.Run(c.Name, func(t *testing.T) {
			tally.Starts()
			r := g.do(c)
			if r.Outcome == Failed && s.breaker.stopped() {
				tally.Untried() // its server was killed
				t.Skip(Untried)
			}
			defer func() { tally.Ran(t) }()
			switch r.Outcome {
			case NotHere:
				t.Skip(r.Outcome)
			case Skipped:
				record.Missing(t, "%s", r.Log)
			case Failed:
				t.Error("\n" + r.Log)
			case ExpectedFailure:
				t.Logf("%v:\n%s", r.Outcome, r.Log)
			}
			if s.breaker.record(r) {
				t.Errorf("the rest of the cases is not tried: %v", errUnserved)
				process.Headline("%s: stopped: %v", tally.Stage, errUnserved)
			}
		})
	}, func(err error) {
		if !s.breaker.stopped() {
			t.Error(err)
		}
	})
}

// RunProgram runs those cases for which keep returns true, or all if keep is nil, against the program. It returns
// the results in the order of the cases. The error is not about a case: the tests themselves failed, or a
// server did not stop properly after its last case.
func RunProgram(ctx context.Context, prog *process.Program, cases []Case, keep func(Case) bool) ([]Result, error) {
	s, err := newSuite(prog, cases)
	if err != nil {
		return nil, err
	}
	defer s.close()
	defer prog.Guest.Watch(ctx)()
	var (
		mu      sync.Mutex
		results = map[string]Result{}
		errs    []error
	)
	s.run(func(g *group, c Case) {
		if keep != nil && !keep(c) || ctx.Err() != nil && prog.Guest == nil {
			return
		}
		r := g.try(c)
		mu.Lock()
		defer mu.Unlock()
		results[c.Name] = r
	}, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	})
	var all []Result
	for _, c := range cases {
		if r, ok := results[c.Name]; ok {
			all = append(all, r)
		}
	}
	return all, errors.Join(append(errs, ctx.Err())...)
}

type suite struct {
	prog  *process.Program
	cases []Case
	root  *docroot.Root
	top   string // the folder around root, which close removes

	breaker breaker // stops Run
}

func newSuite(prog *process.Program, cases []Case) (*suite, error) {
	if prog.Stage < 1 || prog.Stage > 4 {
		return nil, fmt.Errorf("servertest: there is no stage %d", prog.Stage)
	}
	dir, err := os.MkdirTemp("", "servertest-")
	if err != nil {
		return nil, err
	}
	root, err := docroot.New(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &suite{prog: prog, cases: cases, root: root, top: dir}, nil
}

func (s *suite) close() { _ = os.RemoveAll(s.top) }

// A group is some cases and the server process that they share.
type group struct {
	suite  *suite
	cases  []Case
	server *process.Server
	err    error // why the server did not start
}

// run calls each for all cases, several groups at a time, and report for each server that does not stop properly.
func (s *suite) run(each func(*group, Case), report func(error)) {
	work := make(chan *group)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for g := range work {
				for _, c := range g.cases {
					each(g, c)
				}
				if err := g.stop(); err != nil {
					report(err)
				}
			}
		})
	}
	for _, g := range s.plan() {
		work <- g
	}
	close(work)
	wg.Wait()
}

// plan divides the cases into groups. The groups that take long come first: cases that run alone, because they are the
// slow ones, then those that share a server. A case without a server has nothing to share and is a group of its
// own. These small groups at the end keep all goroutines of run busy.
func (s *suite) plan() []*group {
	var alone, shared, single []*group
	open := map[string]*group{}
	for _, c := range s.cases {
		switch {
		case c.Alone:
			alone = append(alone, &group{suite: s, cases: []Case{c}})
			continue
		case c.NoServer:
			single = append(single, &group{suite: s, cases: []Case{c}})
			continue
		}
		key := process.Config{Flags: c.Flags, Env: c.Env}.Key()
		g := open[key]
		if g == nil || len(g.cases) == groupSize {
			g = &group{suite: s}
			open[key] = g
			shared = append(shared, g)
		}
		g.cases = append(g.cases, c)
	}
	return slices.Concat(alone, shared, single)
}

func (g *group) stop() error {
	if g.server == nil {
		return nil
	}
	s := g.server
	g.server = nil
	if s.Exited() {
		return nil
	}
	if s.Guest != nil {
		s.Dismiss()
		return nil
	}
	if err := s.Stop(); err != nil {
		return fmt.Errorf("the server of %s and others: %w", g.cases[0].Name, err)
	}
	return nil
}

// try is like do, but the outcome is Untried if the program is given up before the case or during it.
func (g *group) try(c Case) Result {
	guest := g.suite.prog.Guest
	if err := guest.Over(); err != nil {
		return Result{Case: c, Outcome: Untried, Log: err.Error()}
	}
	r := g.do(c)
	if err := guest.Over(); err != nil && r.Outcome == Failed {
		r.Outcome, r.Log = Untried, fmt.Sprintf("cut short: %v", err)
	}
	judged(guest, r)
	return r
}

// judged tells a Guest the result of a case.
func judged(g *process.Guest, r Result) {
	if g == nil || r.Outcome == NotHere || r.Outcome == Untried || r.Outcome == Skipped {
		return
	}
	g.Judged(r.Outcome == Failed && r.Silent)
}

// do runs one case, and checks the server after it.
func (g *group) do(c Case) Result {
	start := time.Now()
	stage := g.suite.prog.Stage
	if c.Stages != 0 && !c.Stages.Has(stage) {
		return Result{Case: c, Outcome: NotHere}
	}
	t := &T{Program: g.suite.prog, Root: g.suite.root, Case: &c, patience: g.suite.breaker.patience()}
	t.Guest, t.Claims = g.suite.prog.Guest, c.IDs
	if !c.NoServer && !g.ready(t) {
		return Result{Case: c, Outcome: Failed, Log: t.Log(), Took: time.Since(start), Silent: true}
	}
	stderr := 0
	if g.server != nil {
		stderr = g.server.Stderr.Len()
	}
	g.play(t)
	outcome := Passed
	mustFail := c.Fails.Has(stage)
	switch {
	case t.missing != "" && !t.Failed():
		return Result{Case: c, Outcome: Skipped, Log: t.missing}
	case mustFail && t.Failed():
		outcome = ExpectedFailure
	case mustFail && t.Guest == nil: // a guest may use another technique than the stage that it names
		t.Errorf("the case passes, which the technique of stage %d cannot: the case proves nothing", stage)
		outcome = Failed
	case t.Failed():
		outcome = Failed
	}
	r := Result{Case: c, Crash: t.Crashed()}
	if !c.NoServer {
		after := &T{Program: t.Program, Root: t.Root, Case: &c}
		after.Guest = t.Guest
		if t.Failed() && !mustFail && t.Guest == nil {
			after.patience = process.Impatience // the case has failed: a late answer makes no difference to it
		}
		var crash string
		crash, r.Silent = g.check(after, stderr)
		r.Crash = cmp.Or(r.Crash, crash)
		if after.Failed() {
			outcome = Failed
			t.Logf("after the case: %s", after.Log())
		}
	}
	r.Outcome, r.Took = outcome, time.Since(start)
	if outcome != Passed {
		r.Log = t.Log()
	}
	return r
}

// ready starts the group's server if it does not run. It returns false if the server does not start.
func (g *group) ready(t *T) bool {
	if g.server == nil && g.err == nil {
		g.server, g.err = t.Program.Begin(process.Config{Flags: t.Case.Flags, Env: t.Case.Env, Root: t.Root.Dir})
		if g.err == nil && t.Guest == nil {
			g.suite.breaker.began(g.server)
		}
	}
	if g.err != nil {
		t.Errorf("the server does not start: %v", g.err)
		return false
	}
	t.Server = g.server
	return true
}

// play runs the case. If the case gets stuck, play kills its server, which ends every wait for the server.
func (g *group) play(t *T) {
	limit := t.Guest.Limit(record.Watchdog)
	watchdog := time.AfterFunc(limit, func() {
		t.Errorf("stuck for %v: its server is killed", limit)
		if t.Server != nil {
			_ = t.Server.Cmd.Process.Kill()
		}
	})
	defer watchdog.Stop()
	if t.Guest == nil {
		t.Play(t.Case.Run)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.Play(t.Case.Run)
	}()
	select {
	case <-done:
		return
	case <-t.Guest.Ended():
	case <-time.After(limit):
	}
	// The end of the server ends every wait for it. If the case waits for something else, its goroutine is
	// left running.
	select {
	case <-done:
	case <-time.After(cmp.Or(t.patience, process.StopPatience)):
		t.Errorf("the case is stuck, though its server is gone")
	}
}

// check fails the case if the server is not in the same state as before it: running, answering, without further
// sockets, and silent on stderr. Such a server is killed, so that the next case gets a new one. check returns
// how the server crashed, if it did, and whether a fresh client got no answer.
func (g *group) check(t *T, stderr int) (crash string, silent bool) {
	s := g.server
	if t.Case.Ends {
		g.server = nil
		if !s.Exited() {
			s.Kill()
		}
		if err := unexpected(t.Case, s.Stderr.Since(stderr)); err != nil && s.Guest == nil {
			t.Errorf("%v", err)
		}
		if s.Over() != "" {
			crash = s.Crashed()
		}
		return crash, false
	}
	silent, err := healthy(s, t.patience)
	if s.Guest == nil {
		silent = err != nil
	}
	if err != nil {
		t.Errorf("%v", err)
		_, _, _ = s.Wait(100 * time.Millisecond) // the reset of a connection may come before the exit
	}
	closes := t.Patience()
	if s.Guest != nil {
		closes = min(closes, process.Impatience)
	}
	if !t.Failed() && !kernel.Eventually(closes, func() bool { return s.Connections() <= 0 || s.Exited() }) {
		t.Errorf("the server still holds %d sockets more than at its start", s.Connections())
	}
	if err := unexpected(t.Case, s.Stderr.Since(stderr)); err != nil && s.Guest == nil {
		t.Errorf("%v", err)
	}
	crash = s.Crashed()
	if t.Failed() {
		s.Kill()
		g.server = nil
	}
	return crash, silent
}

// Healthy returns an error if the server does not answer GET /healthz on a fresh connection.
func Healthy(s *process.Server) error {
	_, err := healthy(s, 0)
	return err
}

// healthy is Healthy with a patience; 0 means the usual one. It also reports whether the answer did not come in time.
// From a Guest any bytes are enough: whether they are a good answer is checked by the cases about /healthz.
func healthy(s *process.Server, patience time.Duration) (silent bool, err error) {
	if s.Exited() {
		return false, fmt.Errorf("the server is gone: %v", s.Cmd.ProcessState)
	}
	t := &T{Case: &Case{}, Program: &process.Program{Guest: s.Guest}, patience: patience}
	t.Guest = s.Guest
	t.Play(func(t *T) {
		c := t.DialTo(s, process.DialOptions{}).Request("GET", "/healthz", "Connection: close")
		if s.Guest != nil {
			c.AwaitAnswer()
			return
		}
		resp, err := c.TryRead("GET")
		switch {
		case err != nil:
			t.Fatalf("%v%s", err, c.About(resp))
		case resp.Status != 200:
			t.Fatalf("answered %d %s, want 200%s", resp.Status, resp.Reason, c.About(resp))
		case strings.TrimSpace(string(resp.Body)) != "ok":
			t.Errorf("GET /healthz is %q, want ok", resp.Body)
		}
		c.WantEnd()
	})
	if t.Failed() {
		return t.Vain > 0, fmt.Errorf("a fresh client is not served: %s", t.Log())
	}
	return false, nil
}
