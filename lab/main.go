// Lab examines running servers from outside. The folder learner has the commands for learners, and maintainer has
// those for people who work on this repository. The folder support has no commands: it has wrapper scripts for a
// server, servers to compare the stages with, and tests that run a browser.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"fourways.example/common/servertest/netns"
	"fourways.example/lab/learner/autograder"
	"fourways.example/lab/learner/bench"
	"fourways.example/lab/learner/book"
	"fourways.example/lab/learner/doctor"
	"fourways.example/lab/learner/grade"
	"fourways.example/lab/learner/learn"
	"fourways.example/lab/learner/learn/handout"
	"fourways.example/lab/learner/ledger"
	"fourways.example/lab/learner/live"
	"fourways.example/lab/learner/pitfall"
	"fourways.example/lab/learner/spec"
	"fourways.example/lab/learner/trace"
	"fourways.example/lab/maintainer/faults"
	"fourways.example/lab/maintainer/hostile"
	"fourways.example/lab/maintainer/mutants"
)

// commands is the command line. Each command has a package in lab/learner or lab/maintainer.
type commands struct {
	Spec       spec.Command       `cmd:"" help:"Test a server against docs/spec.md, and print a table of claims and test cases."`
	Pitfall    pitfall.Command    `cmd:"" help:"Show a common mistake: run a server with the bug and one without it, side by side."`
	Matrix     pitfall.Matrix     `cmd:"" help:"Run every pitfall against the server with its bug and against the four stages, and write docs/pitfalls.md."`
	Trace      trace.Command      `cmd:"" help:"Draw the system calls of a server while clients use it: a lane for each thread, a bar for each call."`
	Grade      grade.Command      `cmd:"" help:"Grade any server that has the command line of docs/spec.md, and explain every lost point."`
	Compare    bench.Compare      `cmd:"" help:"Show the four stages side by side in four situations: who is served, how fast, and at what cost. It takes a minute."`
	Live       live.Command       `cmd:"" help:"Show the four stages side by side on a page while you add clients: who waits, for what, and where."`
	Doctor     doctor.Command     `cmd:"" help:"Check what this machine has, what it lacks, and which tests it must skip."`
	Bench      bench.Command      `cmd:"" help:"Measure the stages and other servers side by side: throughput, CPU time, latency, memory."`
	Hostile    hostile.Command    `cmd:"" help:"Put a server under load by clients that are slow, silent or do not read, and see what a normal client notices."`
	Mutants    mutants.Command    `cmd:"" help:"Change the sources in one small place at a time, and report the changes that no test notices."`
	Faults     faults.Command     `cmd:"" help:"Make system calls of the servers fail, and write or check the table in docs/security.md."`
	Autograder autograder.Command `cmd:"" help:"Make an archive that grades submissions at Gradescope."`
	Learn      learn.Command      `cmd:"" help:"Guide you through exercises that are cut from the code, and check each after every save."`
	Handout    handout.Command    `cmd:"" help:"Make a tree for students: the stages up to one, with the exercises cut, and without solutions."`
	Book       book.Command       `cmd:"" help:"Make the book: weave code and figures into docs/book, and write the pages in docs/site/book."`
	Diff       ledger.Command     `cmd:"" help:"Show the difference between two neighbouring stages or steps, and explain each hunk."`
}

func main() {
	netns.Enter() // a scenario may start a server through this program, to take IPv4 or IPv6 from the server
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(
		&c,
		kong.Name("lab"),
		kong.Description("Tests, grades and explains HTTP servers from outside."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	err := k.Run()
	if err != nil && ctx.Err() != nil { // after Ctrl-C an error message says nothing new
		os.Exit(130)
	}
	if status := grade.ErrStatus(0); errors.As(err, &status) {
		os.Exit(int(status)) // the message has been printed
	}
	if errors.Is(err, learn.ErrUnsolved) {
		os.Exit(1) // the output ends with it
	}
	k.FatalIfErrorf(err)
}
