package servertest

import (
	"fmt"
	"regexp"
	"strings"
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

// play runs f as the case, to its end.
func (t *T) play(f func(t *T)) { t.run(func() { f(t) }) }

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
		t.WaitedInVain()
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
		t.WaitedInVain()
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

// sub runs part of a case whose failure does not end the rest, and says whether it went well.
func (t *T) sub(name string, f func(t *T)) bool {
	t.Helper()
	if t.Server != nil && t.Server.Exited() {
		t.Fatalf("%s: the server is gone", name)
	}
	part := &T{Server: t.Server, Program: t.Program, Root: t.Root, Case: t.Case}
	part.guest, part.vain = t.guest, t.vain
	part.play(f)
	t.vain = part.vain
	if part.Failed() {
		t.Errorf("%s: %s", name, strings.TrimSpace(part.log()))
		if t.weary() {
			t.Fatalf("no answer for the second time: the rest of the case is not tried")
		}
		return false
	}
	return true
}

func (t *T) freePort() int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return port
}
