package suite

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"runtime"
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

	// Flags and Env are those of the server. Cases with equal Flags and Env share a server.
	Flags []string
	Env   []string
	// NoServer means that the case starts its own servers, with T.Begin or T.Exec.
	NoServer bool
	// Alone gives the case a server of its own, because the case changes the server, ends it, or
	// would make other cases wait for long.
	Alone bool
	// Ends means that the case may end the server.
	Ends bool

	Stages stages.Set // the stages that the case is for; zero means all
	// Fails are the stages whose technique cannot pass the case. There the case must fail: if it
	// passes, the case proves nothing or the stage uses another technique.
	Fails stages.Set

	// Stderr is a regular expression for the lines that the server may write to stderr. "" allows none.
	Stderr string

	Run func(t *T)
}

// ClaimedBy reports whether the stage makes the claims of the case: the case runs there, and must pass.
func (c *Case) ClaimedBy(stage int) bool {
	return (c.Stages == 0 || c.Stages.Has(stage)) && !c.Fails.Has(stage)
}

// A T is passed to a case. It records failures, and gives access to the server.
type T struct {
	record.Recorder
	Server  *process.Server // nil if the case is NoServer
	Program *process.Program
	Root    *docroot.Root
	Case    *Case

	patience time.Duration // replaces the usual one, unless it is 0
	missing  string        // what Missing was told
}

// Stage returns the number of the stage under test.
func (t *T) Stage() int { return t.Program.Stage }

// Patience is how long a client waits for an answer. It is short if the case must fail in this stage.
func (t *T) Patience() time.Duration {
	switch {
	case t.Case.Fails.Has(t.Program.Stage):
		return time.Second
	case t.patience > 0:
		return t.patience
	}
	return t.Program.Guest.Patience()
}

// Missing ends a case that this machine cannot run: it is skipped, or it fails if CI=true. The reason has the form
// "needs WHAT: details", see [process.NoteSkip]. The case must be NoServer, and must call Missing itself, not in Sub.
func (t *T) Missing(reason string) {
	t.missing = reason
	runtime.Goexit()
}

// Rand returns a source of random numbers for the case. The same Program.Seed gives the same numbers.
func (t *T) Rand() *rand.Rand {
	seed := t.Program.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	name := fnv.New64a()
	_, _ = name.Write([]byte(t.Case.Name))
	return rand.New(rand.NewPCG(seed, name.Sum64()))
}

// Play runs f and then the functions registered with OnEnd.
func (t *T) Play(f func(t *T)) { t.Run(func() { f(t) }) }

// Begin starts a server for this case alone. At the end of the case the server is stopped. It must then exit
// with status 0, and may have written to stderr only the lines that the case allows.
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

// Exec runs the program until it exits.
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
		t.Fatalf("%q: the program does not exit, for the second time: the rest of the case is not tried", args)
	}
	return status, stdout, stderr
}

// Eventually waits until ok returns true. After T.Patience it fails the case.
func (t *T) Eventually(what string, ok func() bool) {
	t.Helper()
	if !kernel.Eventually(t.Patience(), ok) {
		t.WaitedInVain()
		t.Fatalf("not within %v: %s", t.Patience(), what)
	}
}

// unexpected returns an error with the lines of stderr that the case does not allow, or nil.
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

// Sub runs a part of a case, and reports whether the part passed. If it failed, the rest of the case still
// runs, unless the server has stopped to answer.
func (t *T) Sub(name string, f func(t *T)) bool {
	t.Helper()
	if t.Server != nil && t.Server.Exited() {
		t.Fatalf("%s: the server is gone", name)
	}
	part := &T{Server: t.Server, Program: t.Program, Root: t.Root, Case: t.Case, patience: t.patience}
	part.Guest, part.Claims, part.Vain = t.Guest, t.Claims, t.Vain
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

// FreePort returns a TCP port on which no process listens.
func (t *T) FreePort() int {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return port
}
