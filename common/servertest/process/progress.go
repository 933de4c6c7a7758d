package process

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// SkippedEnv names a file in which the tests of all packages list what they skip. `make test` sets it,
// and prints a summary of the file at its end.
const SkippedEnv = "SERVERTEST_SKIPPED"

// Progress prints a line to stderr while the tests run. What a test logs is printed only when the test has
// ended. `go test` without a package argument passes stderr on at once; `go test ./...` shows it only
// if a test fails.
func Progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// headlines are what Headline was given.
var headlines struct {
	mu    sync.Mutex
	lines []string
}

// Headline is Progress for a line that says more about the cause of a failure than the many that follow. Main
// prints the line again when all tests have ended.
func Headline(format string, args ...any) {
	headlines.mu.Lock()
	defer headlines.mu.Unlock()
	headlines.lines = append(headlines.lines, fmt.Sprintf(format, args...))
	Progress(format, args...)
}

// repeatHeadlines prints the headlines at the end of the tests.
func repeatHeadlines() {
	headlines.mu.Lock()
	defer headlines.mu.Unlock()
	if len(headlines.lines) > 0 {
		Progress("Look at this first:\n%s", strings.Join(headlines.lines, "\n"))
	}
}

// NoteSkip lists a skipped test for the summary of `make test`. The reason has the form "needs WHAT: details".
// The summary counts the tests that need the same WHAT together, so WHAT must not contain details.
func NoteSkip(reason string) {
	path := os.Getenv(SkippedEnv)
	if path == "" {
		return
	}
	need, _, _ := strings.Cut(reason, ": ")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintln(f, need) // one write: lines of several processes do not mix
		_ = f.Close()
	}
	if err != nil {
		Progress("the list of skipped tests: %v", err)
	}
}

// A Tally counts the subtests of a test and reports them by Progress: a line when the first one starts, and a
// line with the result and the time. Subtests may run at the same time.
type Tally struct {
	Stage string // the folder of the stage
	Noun  string // what a subtest is: "case"

	mu      sync.Mutex
	started time.Time
	ran     int
	failed  int
	skipped int
	untried int
}

// Starts is called in each subtest that -run selects.
func (t *Tally) Starts() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started.IsZero() {
		t.started = time.Now()
		Progress("%s: %ss …", t.Stage, t.Noun)
	}
}

// Ran counts a subtest by how it ended.
func (t *Tally) Ran(test testing.TB) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if test.Skipped() {
		t.skipped++
		return
	}
	t.ran++
	if test.Failed() {
		t.failed++
	}
}

// Untried counts a subtest that does not run because others have failed.
func (t *Tally) Untried() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untried++
}

// End reports the result, unless no subtest was selected.
func (t *Tally) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started.IsZero() {
		Progress("%s: %s, %.1f s", t.Stage, t.result(), time.Since(t.started).Seconds())
	}
}

// result is "282 cases ok, 9 skipped" or "1 of 6 pitfalls failed".
func (t *Tally) result() string {
	noun := t.Noun
	if t.ran != 1 {
		noun += "s"
	}
	text := fmt.Sprintf("%d %s ok", t.ran, noun)
	if t.failed > 0 {
		text = fmt.Sprintf("%d of %d %s failed", t.failed, t.ran, noun)
	}
	if t.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", t.skipped)
	}
	if t.untried > 0 {
		text += fmt.Sprintf(", %d not tried", t.untried)
	}
	return text
}
