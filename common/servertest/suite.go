package servertest

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
)

// groups are all cases, by topic.
var groups = []func() []Case{
	cliCases, timeoutCases, stopCases, outputCases,
	connectionCases, refusalCases, lineCases, targetCases, fieldCases, methodCases,
	bodyCases, chunkCases, expectCases, responseCases,
	typeCases, nameCases, contentCases, rangeCases, conditionCases, fallbackCases,
	loginCases, tokenCases, privateCases, dataCases, manyCases,
}

// Cases are all cases of the suite.
func Cases() []Case {
	var all []Case
	for _, group := range groups {
		all = append(all, group()...)
	}
	return all
}

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

// watchdog ends a case that is stuck, by ending its server.
const watchdog = 60 * time.Second

// Run measures the program with all cases, as subtests.
//
// The lanes are goroutines that call t.Run: unlike t.Parallel this is not bounded by
// the number of CPUs, and -run still picks single cases.
func Run(t *testing.T, prog *Program) {
	s, err := newSuite(prog)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.run(func(l *lane, c Case) {
		t.Run(c.Name, func(t *testing.T) {
			switch r := l.do(c); r.Outcome {
			case Failed:
				t.Error("\n" + r.Log)
			case NotHere:
				t.Skip(r.Outcome)
			case ExpectedFailure:
				t.Logf("%v:\n%s", r.Outcome, r.Log)
			}
		})
	}, func(err error) { t.Error(err) })
}

// RunProgram measures the program with the cases that keep likes (nil likes all), and returns
// the results in the order of Cases. The error is about the measuring itself, or about how a
// server stopped when the cases were done with it.
func RunProgram(ctx context.Context, prog *Program, keep func(Case) bool) ([]Result, error) {
	s, err := newSuite(prog)
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
	for _, c := range Cases() {
		if r, ok := results[c.Name]; ok {
			all = append(all, r)
		}
	}
	return all, errors.Join(append(errs, ctx.Err())...)
}

type suite struct {
	prog *Program
	root *Root
	top  string // the folder that root lies in, to be removed
}

func newSuite(prog *Program) (*suite, error) {
	if prog.Stage < 1 || prog.Stage > 4 {
		return nil, fmt.Errorf("servertest: there is no stage %d", prog.Stage)
	}
	dir, err := os.MkdirTemp("", "servertest-")
	if err != nil {
		return nil, err
	}
	root, err := NewRoot(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &suite{prog, root, dir}, nil
}

func (s *suite) close() { _ = os.RemoveAll(s.top) }

// A lane is one server process and the cases that share it.
type lane struct {
	suite  *suite
	cases  []Case
	server *Server
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
	for _, c := range Cases() {
		if c.Alone {
			alone = append(alone, &lane{suite: s, cases: []Case{c}})
			continue
		}
		key := Config{Flags: c.Flags, Env: c.Env}.key()
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
	if s.guest != nil {
		s.dismiss()
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
	if err := guest.over(); err != nil {
		return Result{Case: c, Outcome: Untried, Log: err.Error()}
	}
	r := l.do(c)
	if err := guest.over(); err != nil && r.Outcome == Failed {
		r.Outcome, r.Log = Untried, fmt.Sprintf("cut short: %v", err)
	}
	guest.judged(r)
	return r
}

// do runs one case and judges it.
func (l *lane) do(c Case) Result {
	start := time.Now()
	stage := l.suite.prog.Stage
	if c.Stages != 0 && !c.Stages.has(stage) {
		return Result{Case: c, Outcome: NotHere}
	}
	t := &T{Program: l.suite.prog, Root: l.suite.root, Case: &c}
	t.guest = l.suite.prog.Guest
	if !c.NoServer && !l.ready(t) {
		return Result{Case: c, Outcome: Failed, Log: t.log(), Took: time.Since(start), Silent: true}
	}
	stderr := 0
	if l.server != nil {
		stderr = l.server.Stderr.Len()
	}
	l.play(t)
	outcome := Passed
	mustFail := c.Fails.has(stage)
	switch {
	case mustFail && t.Failed():
		outcome = ExpectedFailure
	case mustFail && t.guest == nil: // a guest may be better than it says
		t.Errorf("it passes, though stage %d's technique cannot: the case proves nothing", stage)
		outcome = Failed
	case t.Failed():
		outcome = Failed
	}
	r := Result{Case: c, Crash: t.crashed()}
	if !c.NoServer {
		after := &T{Program: t.Program, Root: t.Root, Case: &c}
		after.guest = t.guest
		var crash string
		crash, r.Silent = l.check(after, stderr)
		r.Crash = cmp.Or(r.Crash, crash)
		if after.Failed() {
			outcome = Failed
			t.Logf("after the case: %s", after.log())
		}
	}
	r.Outcome, r.Took = outcome, time.Since(start)
	if outcome != Passed {
		r.Log = t.log()
	}
	return r
}

// ready starts the lane's server where there is none.
func (l *lane) ready(t *T) bool {
	if l.server == nil && l.err == nil {
		l.server, l.err = t.Program.Begin(Config{Flags: t.Case.Flags, Env: t.Case.Env, Root: t.Root.Dir})
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
	dog := time.AfterFunc(watchdog, func() {
		t.Errorf("stuck for %v: its server is killed", watchdog)
		if t.Server != nil {
			_ = t.Server.cmd.Process.Kill()
		}
	})
	defer dog.Stop()
	if t.guest == nil {
		t.play(t.Case.Run)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.play(t.Case.Run)
	}()
	select {
	case <-done:
		return
	case <-t.guest.ended():
	case <-time.After(watchdog):
	}
	// Its server is gone, which ends all that waits for the server. A case that waits for something
	// else did not think of such a program: it is left behind.
	select {
	case <-done:
	case <-time.After(stopPatience):
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
		if err := unexpected(t.Case, s.Stderr.Since(stderr)); err != nil && s.guest == nil {
			t.Errorf("%v", err)
		}
		return "", false
	}
	silent, err := s.healthy()
	if err != nil {
		t.Errorf("%v", err)
		_, _, _ = s.Wait(100 * time.Millisecond) // a crash is slower than the reset that it brings
	}
	closes := t.patience()
	if s.guest != nil {
		closes = min(closes, impatience)
	}
	if !t.Failed() && !eventually(closes, func() bool { return s.Connections() <= 0 || s.Exited() }) {
		t.Errorf("it still holds %d sockets more than at its start", s.Connections())
	}
	if err := unexpected(t.Case, s.Stderr.Since(stderr)); err != nil && s.guest == nil {
		t.Errorf("%v", err)
	}
	crash = s.crashed()
	if t.Failed() {
		s.Kill()
		l.server = nil
	}
	return crash, silent
}

// Healthy asks the server for a sign of life, as a fresh client.
func (s *Server) Healthy() error {
	_, err := s.healthy()
	return err
}

// healthy also says whether a wait in vain was the reason. Any answer is a sign of a Guest's life:
// whether it is a good one is for the cases about it to say.
func (s *Server) healthy() (silent bool, err error) {
	if s.Exited() {
		return false, fmt.Errorf("the server is gone: %v", s.cmd.ProcessState)
	}
	t := &T{Case: &Case{}, Program: &Program{Guest: s.guest}}
	t.guest = s.guest
	t.play(func(t *T) {
		c := t.DialTo(s, DialOptions{}).Request("GET", "/healthz", "Connection: close")
		if s.guest != nil {
			c.AwaitAnswer()
			return
		}
		resp, err := c.TryRead("GET")
		switch {
		case err != nil:
			t.Fatalf("%v%s", err, c.about(resp))
		case resp.Status != 200:
			t.Fatalf("answered %d %s, want 200%s", resp.Status, resp.Reason, c.about(resp))
		case strings.TrimSpace(string(resp.Body)) != "ok":
			t.Errorf("GET /healthz is %q, want ok", resp.Body)
		}
		c.WantEnd()
	})
	if t.Failed() {
		return t.vain > 0, fmt.Errorf("a fresh client is not served: %s", t.log())
	}
	return false, nil
}
