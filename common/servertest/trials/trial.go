// Package trials puts servers under load, or takes something away from them: thousands of connections,
// floods, resets, a shortage of descriptors, a stop in the middle of all that, a machine with one family
// of addresses.
//
// To add one, write a function beside those in scale.go and put it into the list in [All].
package trials

import (
	"testing"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
)

// A Trial is what a case is not: it needs a server of its own, thousands of connections, or
// the machine for itself. It shows what a stage's technique is for, or what every server must
// survive, and proves claims of docs/spec.md only by the way.
type Trial struct {
	Name   string
	Stages stages.Set // where it runs; zero is everywhere
	Stderr string     // as in a Case
	// Files are the descriptors that the client and the server need each.
	Files int
	Run   func(t *T)
}

// Run plays them one after the other, each with servers of its own.
func Run(t *testing.T, prog *Program, all []Trial) {
	root, err := docroot.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tally := &process.Tally{Stage: stages.Dirs[prog.Stage], Noun: "trial"}
	defer tally.End()
	for _, s := range all {
		if s.Stages != 0 && !s.Stages.Has(prog.Stage) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			tally.Starts()
			if suite.Stopped() {
				tally.Untried()
				t.Skip("the cases were stopped, since the server serves no fresh client")
			}
			defer func() { tally.Ran(t) }()
			if limit := descriptors(); limit < s.Files {
				record.Missing(t, "needs %d descriptors: RLIMIT_NOFILE is %d; raise it with ulimit -Hn", s.Files, limit)
			}
			s.play(t, prog, root)
		})
	}
}

// play runs one trial as a test.
func (s Trial) play(t *testing.T, prog *Program, root *Root) {
	st := &T{Program: prog, Root: root, Case: &suite.Case{Name: s.Name, Stderr: s.Stderr}}
	st.Play(s.Run)
	if st.Failed() {
		t.Error("\n" + st.Log())
	} else if log := st.Log(); log != "" {
		t.Log("\n" + log)
	}
}

// descriptors is how many descriptors a process may have. The Go runtime raises the soft limit to
// the hard one.
func descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Max, 1<<30))
}
