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

// A spy counts system calls with strace(1): /proc knows in which call a thread is, but not how
// many there were.
type spy struct {
	file  string
	calls []string // their names
}

// lacks says what the scenario needs and this machine does not have.
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

// command is put before the server's. With -D the server is the child, as it would be without.
func (y *spy) command() []string {
	return []string{"strace", "-D", "-f", "-qq", "-e", "signal=none", "-e", "trace=" + strings.Join(y.calls, ","), "-o", y.file}
}

// Calls is how many system calls of these names the server has made so far; Scenario.Strace must
// have named them. Call it when the server has answered.
func (s *S) Calls(names ...string) int {
	n := -1
	for range 100 { // strace writes a little later
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
		// "1234  recvfrom(7, …". What another thread's line interrupts comes as two; the second
		// has "<... recvfrom resumed>".
		_, call, _ := bytes.Cut(line, []byte(" "))
		name, _, _ := bytes.Cut(bytes.TrimLeft(call, " "), []byte("("))
		if slices.Contains(names, string(name)) {
			n++
		}
	}
	return n
}

// Callers are the threads that have made system calls, with the names of those calls. Call it behind Calls,
// which waits until strace has written all.
func (s *S) Callers() map[string]map[string]bool {
	all := map[string]map[string]bool{}
	b, _ := os.ReadFile(s.spy.file)
	for line := range bytes.Lines(b) {
		tid, call, _ := bytes.Cut(line, []byte(" "))
		name, _, _ := bytes.Cut(bytes.TrimLeft(call, " "), []byte("("))
		if all[string(tid)] == nil {
			all[string(tid)] = map[string]bool{}
		}
		all[string(tid)][string(name)] = true
	}
	return all
}
