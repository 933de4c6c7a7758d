// Package record collects the messages and the outcome of a case, a trial or a scenario, and the functions
// to call at its end. Each of the three embeds a [Recorder].
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

// A Recorder has the methods of a testing.T that a case needs, but only records their messages. The caller
// passes them to a test, prints them, or expects the case to fail.
type Recorder struct {
	mu     sync.Mutex
	failed bool
	lines  []string       // the messages
	Guest  *process.Guest // counts time-outs for all cases; nil for the repository's own servers
	Claims []string       // the claims that the case proves
	Vain   int            // how many waits of this case timed out
	crash  string         // how a guest's server ended by itself
	ends   []func()       // what OnEnd has registered
}

// OnEnd registers a function to call when the case has ended. The function registered last is called first.
func (r *Recorder) OnEnd(f func()) { r.ends = append(r.ends, f) }

// Run runs f and then the functions registered with OnEnd, in a new goroutine, and waits for its end. Fatalf
// ends f.
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

// Recovered recovers from a panic and records it as a failure. The caller must defer it.
func (r *Recorder) Recovered() {
	if p := recover(); p != nil {
		r.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

// End calls the functions registered with OnEnd.
func (r *Recorder) End() {
	for len(r.ends) > 0 {
		last := r.ends[len(r.ends)-1]
		r.ends = r.ends[:len(r.ends)-1]
		last()
	}
}

// Lenient reports whether the server belongs to a Guest, so that any answer shows that the server is alive.
func (r *Recorder) Lenient() bool { return r.Guest != nil }

// Tolerates reports whether a breach of a claim does not matter to this case: the server belongs to a Guest, and
// the claim has cases of its own.
func (r *Recorder) Tolerates(claim string) bool {
	return r.Guest != nil && !slices.Contains(r.Claims, claim)
}

// WaitedInVain counts a wait that timed out.
func (r *Recorder) WaitedInVain() {
	r.Guest.Waited()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Vain++
}

// NoteCrash records how a server ended by itself.
func (r *Recorder) NoteCrash(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crash = how
}

// Crashed returns the last argument of NoteCrash, or "".
func (r *Recorder) Crashed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crash
}

// Weary reports whether a case of a Guest has timed out so often that its other parts are not tried.
func (r *Recorder) Weary() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Guest != nil && r.Vain >= timeoutsPerCase
}

// Helper does nothing. It is here because testing.T has it.
func (r *Recorder) Helper() {}

// Logf records a message.
func (r *Recorder) Logf(format string, args ...any) { r.note(format, args) }

// Errorf records a message and marks the case as failed. The case goes on.
func (r *Recorder) Errorf(format string, args ...any) {
	r.note(format, args)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

// Fatalf records a message, marks the case as failed and ends it. Only the goroutine of the case may call it.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.note(format, args)
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	runtime.Goexit()
}

// Failed reports whether the case has failed.
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

// Log returns all messages so far.
func (r *Recorder) Log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// caseLine returns the file and line of the case on the stack. The caller of Errorf is often a method of the
// client, whose line does not help.
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

// Late reports whether the argument of a message is the error of a wait that timed out.
func Late(arg any) bool {
	err, ok := arg.(error)
	return ok && errors.Is(err, os.ErrDeadlineExceeded)
}

// Watchdog is the time after which the server of a stuck case is killed, so that the case ends. No case takes
// so long.
const Watchdog = 60 * time.Second

// timeoutsPerCase is how many parts of a case may time out before the other parts are not tried any more.
const timeoutsPerCase = 2
