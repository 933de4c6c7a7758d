package scenario

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A spy counts system calls with strace(1). /proc tells which call a thread is in, but not how many calls it
// has made.
type spy struct {
	file  string
	calls []string // the names of the calls to count
}

// lacks says what this machine lacks for the scenario; "" means nothing.
func (sc *Scenario) lacks() string {
	if sc.Needs != nil {
		if why := sc.Needs(); why != "" {
			return why
		}
	}
	if sc.Strace == nil {
		return ""
	}
	if _, err := exec.LookPath("strace"); err != nil {
		return "needs strace: apt-get install strace"
	}
	if out, err := exec.Command("strace", "-D", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return "needs strace: it does not work here: " + strings.TrimSpace(string(out))
	}
	return ""
}

func newSpy(s *S, calls []string) *spy {
	dir, err := os.MkdirTemp("", "servertest-strace-")
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.OnEnd(func() { _ = os.RemoveAll(dir) })
	return &spy{file: filepath.Join(dir, "calls"), calls: calls}
}

// command returns the beginning of the server's command line. With -D the server is still a child of the test.
func (y *spy) command() []string {
	return []string{"strace", "-D", "-f", "-qq", "-e", "signal=none", "-e", "trace=" + strings.Join(y.calls, ","), "-o", y.file}
}

// Calls returns how many system calls with these names the server has made so far. Scenario.Strace must contain
// the names. Call it while the server is idle, so that the count is complete.
func (s *S) Calls(names ...string) int {
	n := -1
	for range 100 { // strace writes its lines a little later
		before := n
		time.Sleep(tickTime)
		if n = s.spy.count(names); n == before {
			return n
		}
	}
	return n
}

func (y *spy) count(names []string) (n int) {
	b, err := os.ReadFile(y.file)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if _, name := caller(line); slices.Contains(names, name) {
			n++
		}
	}
	return n
}

// Callers returns the threads that have made system calls, each with the names of its calls. Call it after Calls,
// which waits until strace has written all lines.
func (s *S) Callers() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	b, _ := os.ReadFile(s.spy.file)
	for line := range bytes.Lines(b) {
		tid, name := caller(line)
		if all[tid] == nil {
			all[tid] = map[string]bool{}
		}
		all[tid][name] = true
	}
	return all
}

// caller returns the thread and the name of the call in a line "1234  recvfrom(7, …". A call that overlaps another
// thread's call takes two lines, and the second has "<... recvfrom resumed>" instead of the name. In the file of
// a process.Tracer the time stands before the call.
func caller(line []byte) (tid, name string) {
	thread, call, _ := bytes.Cut(line, []byte(" "))
	call = bytes.TrimLeft(call, " ")
	if len(call) > 0 && call[0] >= '0' && call[0] <= '9' {
		_, call, _ = bytes.Cut(call, []byte(" "))
	}
	before, _, _ := bytes.Cut(call, []byte("("))
	return string(thread), string(before)
}
