// Package record collects what happens in a case, a trial or a scenario: what it says, whether it
// failed, and what is to be done at its end. Each of the three has a [Recorder] in it.
package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fourways.example/common/servertest/process"
)

// A Recorder collects what a case has to say, so that it can be told to a test or to a program,
// or be turned round where the case must fail.
type Recorder struct {
	mu     sync.Mutex
	failed bool
	lines  []string
	Guest  *process.Guest // is told of waits in vain
	Vain   int            // how many there were
	crash  string         // how a guest's server ended by itself
	ends   []func()
}

// OnEnd registers what is done when the case has ended, last things first.
func (r *Recorder) OnEnd(f func()) { r.ends = append(r.ends, f) }

// Run runs f in a goroutine of its own, which Fatalf ends, and then what OnEnd has collected.
func (r *Recorder) Run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.End()
		defer r.Recovered()
		f()
	}()
	<-done
}

// Recovered is deferred, and makes a panic a failure.
func (r *Recorder) Recovered() {
	if p := recover(); p != nil {
		r.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

// End does what OnEnd has collected.
func (r *Recorder) End() {
	for len(r.ends) > 0 {
		last := r.ends[len(r.ends)-1]
		r.ends = r.ends[:len(r.ends)-1]
		last()
	}
}

// Lenient says that the server is a Guest's, whose every answer is a sign of life.
func (r *Recorder) Lenient() bool { return r.Guest != nil }

// WaitedInVain takes down that something did not happen in time.
func (r *Recorder) WaitedInVain() {
	r.Guest.Waited()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Vain++
}

// NoteCrash takes down how a server ended by itself.
func (r *Recorder) NoteCrash(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crash = how
}

// Crashed is what NoteCrash was told, or "".
func (r *Recorder) Crashed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crash
}

// Weary says that a case with many parts has waited in vain often enough.
func (r *Recorder) Weary() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Guest != nil && r.Vain >= silencesPerCase
}

// Helper is there so that a T can be used like a testing.T.
func (r *Recorder) Helper() {}

// Logf notes something that is shown if the case fails.
func (r *Recorder) Logf(format string, args ...any) { r.note(format, args) }

// Errorf fails the case and goes on.
func (r *Recorder) Errorf(format string, args ...any) {
	r.note(format, args)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

// Fatalf fails the case and ends it. It is for the case's own goroutine.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.note(format, args)
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	runtime.Goexit()
}

// Failed says whether the case has failed so far.
func (r *Recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *Recorder) note(format string, args []any) {
	if slices.ContainsFunc(args, Late) {
		r.WaitedInVain()
	}
	line := caseLine() + fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// Log is all that was said so far.
func (r *Recorder) Log() string {
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
		dir, base := filepath.Split(f.File)
		if filepath.Base(dir) == "cases" && !strings.HasPrefix(base, "helper_") {
			return fmt.Sprintf("cases/%s:%d: ", base, f.Line)
		}
		if !more {
			return ""
		}
	}
}

// Missing skips a test that this machine cannot run; with CI=true it fails the test. The message has the
// form "needs WHAT: details", see [process.NoteSkip].
func Missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	reason := fmt.Sprintf(format, args...)
	process.NoteSkip(reason)
	t.Skip(reason)
}

// Late says that an argument of a message is the error of a wait that took too long.
func Late(arg any) bool {
	err, ok := arg.(error)
	return ok && errors.Is(err, os.ErrDeadlineExceeded)
}

// Watchdog ends a case that is stuck, by ending its server.
const Watchdog = 60 * time.Second

// silencesPerCase ends a case with many parts, each of which would wait.
const silencesPerCase = 2
