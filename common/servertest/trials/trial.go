// Package trials tests servers under load and on unusual machines: with thousands of connections, floods,
// resets, too few descriptors, a stop under load, or only one address family.
//
// To add a trial, write a function in scale.go and add it to the list in [All].
package trials

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
)

// A Trial is a test that is too large for a case: it needs thousands of connections, or no other test may run
// at the same time. It shows what the technique of a stage is good for, or what every server must survive.
// Claims of docs/spec.md are proved by cases.
type Trial struct {
	Name   string
	Stages stages.Set // the stages on which it runs; zero means all
	Stderr string     // see suite.Case
	// Files is how many descriptors the client needs, and the server as well.
	Files int
	Run   func(t *T)
}

// Run runs the trials one after the other, each as a subtest with servers of its own.
func Run(t *testing.T, prog *Program, all []Trial) {
	root, err := docroot.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tally := &process.Tally{Stage: stages.Dirs[prog.Stage], Noun: "trial"}
	defer tally.End()
	for _, trial := range all {
		if trial.Stages != 0 && !trial.Stages.Has(prog.Stage) {
			continue
		}
		t.Run(trial.Name, func(t *testing.T) {
			tally.Starts()
			if suite.Stopped() {
				tally.Untried()
				t.Skip("the cases were stopped, since the server serves no fresh client")
			}
			defer func() { tally.Ran(t) }()
			if limit := maxFiles(); limit < trial.Files {
				record.Missing(t, "%s", missingFiles(trial.Files, limit))
			}
			trial.run(t, prog, root)
		})
	}
}

// run runs the trial as a test.
func (trial Trial) run(t *testing.T, prog *Program, root *Root) {
	st := &T{Program: prog, Root: root, Case: &suite.Case{Name: trial.Name, Stderr: trial.Stderr}}
	st.Play(trial.Run)
	if st.Failed() {
		t.Error("\n" + st.Log())
	} else if log := st.Log(); log != "" {
		t.Log("\n" + log)
	}
}

// missingFiles is the reason to skip a trial that needs more descriptors than the limit.
func missingFiles(needed, limit int) string {
	return fmt.Sprintf("needs %d descriptors: RLIMIT_NOFILE is %d; raise it with ulimit -Hn", needed, limit)
}

// maxFiles returns how many descriptors a process may have. That is the hard limit, because the Go runtime
// raises the soft limit to it.
func maxFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Max, 1<<30))
}
