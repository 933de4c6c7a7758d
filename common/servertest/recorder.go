package servertest

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
)

// A recorder collects what a case has to say, so that it can be told to a test or to a program,
// or be turned round where the case must fail.
type recorder struct {
	mu     sync.Mutex
	failed bool
	lines  []string
	guest  *Guest // is told of waits in vain
	vain   int    // how many there were
	crash  string // how a guest's server ended by itself
	ends   []func()
}

// onEnd registers what is done when the case has ended, last things first.
func (r *recorder) onEnd(f func()) { r.ends = append(r.ends, f) }

// run runs f in a goroutine of its own, which Fatalf ends, and then what onEnd has collected.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.end()
		defer r.recovered()
		f()
	}()
	<-done
}

// recovered is deferred, and makes a panic a failure.
func (r *recorder) recovered() {
	if p := recover(); p != nil {
		r.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

func (r *recorder) end() {
	for len(r.ends) > 0 {
		last := r.ends[len(r.ends)-1]
		r.ends = r.ends[:len(r.ends)-1]
		last()
	}
}

// Lenient says that the server is a Guest's, whose every answer is a sign of life.
func (r *recorder) Lenient() bool { return r.guest != nil }

// WaitedInVain takes down that something did not happen in time.
func (r *recorder) WaitedInVain() {
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
		r.WaitedInVain()
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

// missing ends a test that this machine cannot run. Where CI=true it must be able to.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// late says that an argument of a message is the error of a wait that took too long.
func late(arg any) bool {
	err, ok := arg.(error)
	return ok && errors.Is(err, os.ErrDeadlineExceeded)
}

// watchdog ends a case that is stuck, by ending its server.
const watchdog = 60 * time.Second

// silencesPerCase ends a case with many parts, each of which would wait.
const silencesPerCase = 2
