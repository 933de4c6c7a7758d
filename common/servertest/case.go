package servertest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stages is a set of stages; the zero value is all of them.
type Stages uint8

// In is the set of these stages.
func In(stages ...int) Stages {
	var s Stages
	for _, n := range stages {
		s |= 1 << n
	}
	return s
}

func (s Stages) has(n int) bool { return s&(1<<n) != 0 }

// A Case proves one or several claims of docs/spec.md.
type Case struct {
	Name string   // unique, in the form of a file name
	IDs  []string // the claims

	// The server it needs. Cases with equal Flags and Env share one.
	Flags []string
	Env   []string
	// NoServer cases start what they need with T.Begin or T.Exec.
	NoServer bool
	// Alone gives the case a server of its own: it leaves the server changed, ends it, or
	// waits so long that others should not wait behind it.
	Alone bool
	// Ends says that the server may be gone when the case is done.
	Ends bool

	Stages Stages // where it runs; zero is everywhere
	// Fails are the stages whose technique cannot pass it. There it must fail: were it to
	// pass, either the case would prove nothing or the stage would be another one.
	Fails Stages

	// Stderr matches the lines that the server may write to stderr; "" allows none.
	Stderr string

	Run func(t *T)
}

// ClaimedBy says whether a stage promises what the case proves: it runs there, and need not fail.
func (c *Case) ClaimedBy(stage int) bool {
	return (c.Stages == 0 || c.Stages.has(stage)) && !c.Fails.has(stage)
}

// T is what a case is given: a way to fail, and the server.
type T struct {
	recorder
	Server  *Server // nil where the case is NoServer
	Program *Program
	Root    *Root
	Case    *Case

	ends []func()
}

// Stage is the stage that is measured.
func (t *T) Stage() int { return t.Program.Stage }

// patience is short where the case is going to fail anyway.
func (t *T) patience() time.Duration {
	if t.Case.Fails.has(t.Program.Stage) {
		return time.Second
	}
	return t.Program.Guest.patience()
}

// onEnd registers what is done when the case has ended, last things first.
func (t *T) onEnd(f func()) { t.ends = append(t.ends, f) }

// play runs f in a goroutine of its own, which Fatalf ends, and then what onEnd has collected.
func (t *T) play(f func(t *T)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.end()
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		f(t)
	}()
	<-done
}

func (t *T) end() {
	for len(t.ends) > 0 {
		last := t.ends[len(t.ends)-1]
		t.ends = t.ends[:len(t.ends)-1]
		last()
	}
}

// Begin starts a server for this case alone. At the end of the case it is stopped, and must have
// stopped well, with nothing on stderr that the case does not expect.
func (t *T) Begin(c Config) *Server {
	t.Helper()
	if c.Root == "" && c.Dir == "" {
		c.Root = t.Root.Dir
	}
	s, err := t.Program.Begin(c)
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	t.onEnd(func() {
		if s.guest != nil {
			if s.Exited() && s.cmd.ProcessState.ExitCode() != 0 && t.Failed() {
				t.noteCrash(s.crashed())
			}
			s.dismiss()
			return
		}
		if !s.Exited() {
			if err := s.Stop(); err != nil {
				t.Errorf("%v", err)
			}
		}
		if err := unexpected(t.Case, s.Stderr.String()); err != nil {
			t.Errorf("%v", err)
		}
	})
	return s
}

// Exec runs the program to its end.
func (t *T) Exec(args ...string) (status int, stdout, stderr string) {
	t.Helper()
	status, stdout, stderr, err := t.Program.Exec(Config{}, args...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if status == -1 {
		t.waitedInVain()
	}
	if status == -1 && t.weary() {
		t.Fatalf("%q: it does not end; nor did it before, so that other command lines are not tried", args)
	}
	return status, stdout, stderr
}

// Eventually waits until the answer is yes.
func (t *T) Eventually(what string, ok func() bool) {
	t.Helper()
	if !eventually(t.patience(), ok) {
		t.waitedInVain()
		t.Fatalf("not within %v: %s", t.patience(), what)
	}
}

// unexpected says what on stderr a case has not announced.
func unexpected(c *Case, stderr string) error {
	var rest []string
	for line := range strings.Lines(stderr) {
		if c.Stderr != "" && regexp.MustCompile(c.Stderr).MatchString(line) {
			continue
		}
		rest = append(rest, line)
	}
	if len(rest) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected on stderr:%s", indent(strings.Join(rest, "")))
}

// A recorder collects what a case has to say, so that it can be told to a test or to a program,
// or be turned round where the case must fail.
type recorder struct {
	mu     sync.Mutex
	failed bool
	lines  []string
	guest  *Guest // is told of waits in vain
	vain   int    // how many there were
	crash  string // how a guest's server ended by itself
}

// waitedInVain takes down that something did not happen in time.
func (r *recorder) waitedInVain() {
	r.guest.waited()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vain++
}

func (r *recorder) noteCrash(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crash = how
}

func (r *recorder) crashed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crash
}

// weary says that a case with many parts has waited in vain often enough.
func (r *recorder) weary() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guest != nil && r.vain >= silencesPerCase
}

// Helper is there so that a T can be used like a testing.T.
func (r *recorder) Helper() {}

// Logf notes something that is shown if the case fails.
func (r *recorder) Logf(format string, args ...any) { r.note(format, args) }

// Errorf fails the case and goes on.
func (r *recorder) Errorf(format string, args ...any) {
	r.note(format, args)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

// Fatalf fails the case and ends it. It is for the case's own goroutine.
func (r *recorder) Fatalf(format string, args ...any) {
	r.note(format, args)
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	runtime.Goexit()
}

// Failed says whether the case has failed so far.
func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) note(format string, args []any) {
	if slices.ContainsFunc(args, late) {
		r.waitedInVain()
	}
	line := caseLine() + fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *recorder) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// caseLine finds the line of the case that is on the stack: the line in the client that noticed
// something says nothing.
func caseLine() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if base := filepath.Base(f.File); strings.HasPrefix(base, "cases_") || strings.HasPrefix(base, "pitfalls_") {
			return fmt.Sprintf("%s:%d: ", base, f.Line)
		}
		if !more {
			return ""
		}
	}
}
