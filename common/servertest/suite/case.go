package suite

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/stages"
)

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

	Stages stages.Set // where it runs; zero is everywhere
	// Fails are the stages whose technique cannot pass it. There it must fail: were it to
	// pass, either the case would prove nothing or the stage would be another one.
	Fails stages.Set

	// Stderr matches the lines that the server may write to stderr; "" allows none.
	Stderr string

	Run func(t *T)
}

// ClaimedBy says whether a stage promises what the case proves: it runs there, and need not fail.
func (c *Case) ClaimedBy(stage int) bool {
	return (c.Stages == 0 || c.Stages.Has(stage)) && !c.Fails.Has(stage)
}

// T is what a case is given: a way to fail, and the server.
type T struct {
	record.Recorder
	Server  *process.Server // nil where the case is NoServer
	Program *process.Program
	Root    *docroot.Root
	Case    *Case

	patience time.Duration // if not 0, instead of the usual one
}

// Stage is the stage that is measured.
func (t *T) Stage() int { return t.Program.Stage }

// Patience is short where the case is going to fail anyway.
func (t *T) Patience() time.Duration {
	switch {
	case t.Case.Fails.Has(t.Program.Stage):
		return time.Second
	case t.patience > 0:
		return t.patience
	}
	return t.Program.Guest.Patience()
}

// Play runs f as the case, to its end.
func (t *T) Play(f func(t *T)) { t.Run(func() { f(t) }) }

// Begin starts a server for this case alone. At the end of the case it is stopped, and must have
// stopped well, with nothing on stderr that the case does not expect.
func (t *T) Begin(c process.Config) *process.Server {
	t.Helper()
	if c.Root == "" && c.Dir == "" {
		c.Root = t.Root.Dir
	}
	s, err := t.Program.Begin(c)
	if err != nil {
		t.Fatalf("the server does not start: %v", err)
	}
	t.OnEnd(func() {
		if s.Guest != nil {
			if s.Exited() && s.Cmd.ProcessState.ExitCode() != 0 && t.Failed() {
				t.NoteCrash(s.Crashed())
			}
			s.Dismiss()
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
	status, stdout, stderr, err := t.Program.Exec(process.Config{}, args...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if status == -1 {
		t.WaitedInVain()
	}
	if status == -1 && t.Weary() {
		t.Fatalf("%q: it does not end; nor did it before, so that other command lines are not tried", args)
	}
	return status, stdout, stderr
}

// Eventually waits until the answer is yes.
func (t *T) Eventually(what string, ok func() bool) {
	t.Helper()
	if !kernel.Eventually(t.Patience(), ok) {
		t.WaitedInVain()
		t.Fatalf("not within %v: %s", t.Patience(), what)
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
	return fmt.Errorf("unexpected on stderr:%s", process.Indent(strings.Join(rest, "")))
}

// Sub runs part of a case whose failure does not end the rest, and says whether it went well.
func (t *T) Sub(name string, f func(t *T)) bool {
	t.Helper()
	if t.Server != nil && t.Server.Exited() {
		t.Fatalf("%s: the server is gone", name)
	}
	part := &T{Server: t.Server, Program: t.Program, Root: t.Root, Case: t.Case, patience: t.patience}
	part.Guest, part.Vain = t.Guest, t.Vain
	part.Play(f)
	t.Vain = part.Vain
	if part.Failed() {
		t.Errorf("%s: %s", name, strings.TrimSpace(part.Log()))
		if t.Weary() {
			t.Fatalf("no answer for the second time: the rest of the case is not tried")
		}
		if t.Guest == nil && t.Server != nil && part.Vain > 0 {
			if _, err := healthy(t.Server, process.Impatience); err != nil {
				t.Fatalf("%v: the rest of the case is not tried", err)
			}
		}
		return false
	}
	return true
}

// FreePort is a port that nobody listens on.
func (t *T) FreePort() int {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return port
}
