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

// An Outcome is how a case went.
type Outcome int

// The outcomes. An expected failure is a case that fails where its stage's technique must fail.
const (
	Passed Outcome = iota
	ExpectedFailure
	NotHere // the stage does not make the claim
	Failed
	Untried // a Guest's time was up, or it was given up
)

func (o Outcome) String() string {
	return [...]string{"ok", "fails, as it must", "not in this stage", "FAIL", "not tried"}[o]
}

// A Result is the outcome of one case.
type Result struct {
	Case    Case
	Outcome Outcome
	Log     string // why it failed
	Crash   string // how the server ended in it by itself, with the last it said on stderr
	Silent  bool   // it had no server, or one that then did not answer a fresh client
	Took    time.Duration
}

// lanes is how many server processes are measured at once. Most cases wait for a round trip or a
// time-out, so more than there are CPUs.
const lanes = 8

// shard is how many cases share one server process at most.
const shard = 40

// Run measures the program with the cases, as subtests. It reports its progress on stderr. If a fresh client is
// not served after several cases in a row, Run does not try the rest.
//
// The lanes are goroutines that call t.Run. Unlike with t.Parallel, the number of CPUs does not bound how many
// cases run at once, and -run still selects single cases.
func Run(t *testing.T, prog *process.Program, all []Case) {
	s, err := newSuite(prog, all)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	tally := &process.Tally{Stage: stages.Dirs[prog.Stage], Noun: "case"}
	defer tally.End()
	s.run(func(l *lane, c Case) {
		if s.breaker.stopped() {
			tally.Untried()
			return
		}
		t.Run(c.Name, func(t *testing.T) {
			tally.Starts()
			r := l.do(c)
			if r.Outcome == Failed && s.breaker.stopped() {
				tally.Untried() // its server was killed
				t.Skip(Untried)
			}
			defer func() { tally.Ran(t) }()
			switch r.Outcome {
			case NotHere:
				t.Skip(r.Outcome)
			case Failed:
				t.Error("\n" + r.Log)
			case ExpectedFailure:
				t.Logf("%v:\n%s", r.Outcome, r.Log)
			}
			if s.breaker.record(r) {
				t.Errorf("the rest of the cases is not tried: %v", errUnserved)
				process.Progress("%s: stopped: %v", tally.Stage, errUnserved)
			}
		})
	}, func(err error) {
		if !s.breaker.stopped() {
			t.Error(err)
		}
	})
}

// RunProgram measures the program with those of the cases that keep likes (nil likes all), and returns
// the results in their order. The error is about the measuring itself, or about how a
// server stopped when the cases were done with it.
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
	s.run(func(l *lane, c Case) {
		if keep != nil && !keep(c) || ctx.Err() != nil && prog.Guest == nil {
			return
		}
		r := l.try(c)
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
	top   string // the folder that root lies in, to be removed

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

// A lane is one server process and the cases that share it.
type lane struct {
	suite  *suite
	cases  []Case
	server *process.Server
	err    error // the server could not be started
}

// run deals the cases out and waits for them.
func (s *suite) run(each func(*lane, Case), report func(error)) {
	work := make(chan *lane)
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for l := range work {
				for _, c := range l.cases {
					each(l, c)
				}
				if err := l.stop(); err != nil {
					report(err)
				}
			}
		})
	}
	for _, l := range s.plan() {
		work <- l
	}
	close(work)
	wg.Wait()
}

// plan puts the cases into lanes, those first that have one for themselves: they are the slow ones.
func (s *suite) plan() []*lane {
	var alone, shared []*lane
	open := map[string]*lane{}
	for _, c := range s.cases {
		if c.Alone {
			alone = append(alone, &lane{suite: s, cases: []Case{c}})
			continue
		}
		key := process.Config{Flags: c.Flags, Env: c.Env}.Key()
		if c.NoServer {
			key = "none"
		}
		l := open[key]
		if l == nil || len(l.cases) == shard || c.NoServer && len(l.cases) == shard/4 {
			l = &lane{suite: s}
			open[key] = l
			shared = append(shared, l)
		}
		l.cases = append(l.cases, c)
	}
	return slices.Concat(alone, shared)
}

func (l *lane) stop() error {
	if l.server == nil {
		return nil
	}
	s := l.server
	l.server = nil
	if s.Exited() {
		return nil
	}
	if s.Guest != nil {
		s.Dismiss()
		return nil
	}
	if err := s.Stop(); err != nil {
		return fmt.Errorf("the server of %s and others: %w", l.cases[0].Name, err)
	}
	return nil
}

// try is do for a program that may be given up before or in the case.
func (l *lane) try(c Case) Result {
	guest := l.suite.prog.Guest
	if err := guest.Over(); err != nil {
		return Result{Case: c, Outcome: Untried, Log: err.Error()}
	}
	r := l.do(c)
	if err := guest.Over(); err != nil && r.Outcome == Failed {
		r.Outcome, r.Log = Untried, fmt.Sprintf("cut short: %v", err)
	}
	judged(guest, r)
	return r
}

// judged tells a Guest how a case went.
func judged(g *process.Guest, r Result) {
	if g == nil || r.Outcome == NotHere || r.Outcome == Untried {
		return
	}
	g.Judged(r.Outcome == Failed && r.Silent)
}

// do runs one case and judges it.
func (l *lane) do(c Case) Result {
	start := time.Now()
	stage := l.suite.prog.Stage
	if c.Stages != 0 && !c.Stages.Has(stage) {
		return Result{Case: c, Outcome: NotHere}
	}
	t := &T{Program: l.suite.prog, Root: l.suite.root, Case: &c, patience: l.suite.breaker.patience()}
	t.Guest = l.suite.prog.Guest
	if !c.NoServer && !l.ready(t) {
		return Result{Case: c, Outcome: Failed, Log: t.Log(), Took: time.Since(start), Silent: true}
	}
	stderr := 0
	if l.server != nil {
		stderr = l.server.Stderr.Len()
	}
	l.play(t)
	outcome := Passed
	mustFail := c.Fails.Has(stage)
	switch {
	case mustFail && t.Failed():
		outcome = ExpectedFailure
	case mustFail && t.Guest == nil: // a guest may be better than it says
		t.Errorf("it passes, though stage %d's technique cannot: the case proves nothing", stage)
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
		crash, r.Silent = l.check(after, stderr)
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

// ready starts the lane's server where there is none.
func (l *lane) ready(t *T) bool {
	if l.server == nil && l.err == nil {
		l.server, l.err = t.Program.Begin(process.Config{Flags: t.Case.Flags, Env: t.Case.Env, Root: t.Root.Dir})
		if l.err == nil && t.Guest == nil {
			l.suite.breaker.began(l.server)
		}
	}
	if l.err != nil {
		t.Errorf("the server does not start: %v", l.err)
		return false
	}
	t.Server = l.server
	return true
}

// play runs the case, and ends it by ending its server if it gets stuck.
func (l *lane) play(t *T) {
	dog := time.AfterFunc(record.Watchdog, func() {
		t.Errorf("stuck for %v: its server is killed", record.Watchdog)
		if t.Server != nil {
			_ = t.Server.Cmd.Process.Kill()
		}
	})
	defer dog.Stop()
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
	case <-time.After(record.Watchdog):
	}
	// Its server is gone, which ends all that waits for the server. A case that waits for something
	// else did not think of such a program: it is left behind.
	select {
	case <-done:
	case <-time.After(process.StopPatience):
		t.Errorf("the case is stuck, though its server is gone")
	}
}

// check is the invariant: after a case the server is what it was before. A server that is not
// is replaced, so that the next case does not pay for it. It says how one ended that should not have.
func (l *lane) check(t *T, stderr int) (crash string, silent bool) {
	s := l.server
	if t.Case.Ends {
		l.server = nil
		if !s.Exited() {
			s.Kill()
		}
		if err := unexpected(t.Case, s.Stderr.Since(stderr)); err != nil && s.Guest == nil {
			t.Errorf("%v", err)
		}
		return "", false
	}
	silent, err := healthy(s, t.patience)
	if s.Guest == nil {
		silent = err != nil
	}
	if err != nil {
		t.Errorf("%v", err)
		_, _, _ = s.Wait(100 * time.Millisecond) // a crash is slower than the reset that it brings
	}
	closes := t.Patience()
	if s.Guest != nil {
		closes = min(closes, process.Impatience)
	}
	if !t.Failed() && !kernel.Eventually(closes, func() bool { return s.Connections() <= 0 || s.Exited() }) {
		t.Errorf("it still holds %d sockets more than at its start", s.Connections())
	}
	if err := unexpected(t.Case, s.Stderr.Since(stderr)); err != nil && s.Guest == nil {
		t.Errorf("%v", err)
	}
	crash = s.Crashed()
	if t.Failed() {
		s.Kill()
		l.server = nil
	}
	return crash, silent
}

// Healthy asks the server for a sign of life, as a fresh client.
func Healthy(s *process.Server) error {
	_, err := healthy(s, 0)
	return err
}

// healthy also says whether a wait in vain was the reason. Any answer is a sign of a Guest's life:
// whether it is a good one is for the cases about it to say.
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
