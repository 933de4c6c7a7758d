// Lab is everything that looks at the servers from outside. The commands for learners are in the folder
// learner, those for people who work on this repository in maintainer. What is no command is in support:
// wrappers to put around a server, and tests in a browser.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"fourways.example/common/servertest/netns"
	"fourways.example/lab/learner/doctor"
	"fourways.example/lab/learner/grade"
	"fourways.example/lab/learner/pitfall"
	"fourways.example/lab/learner/spec"
	"fourways.example/lab/maintainer/mutants"
)

// commands is the command line: a folder of lab/learner or lab/maintainer for each.
type commands struct {
	Spec    spec.Command    `cmd:"" help:"Hold a server against the contract and print the table of claims and cases."`
	Pitfall pitfall.Command `cmd:"" help:"Show a pitfall: a server that has the bug and one that has not, side by side."`
	Matrix  pitfall.Matrix  `cmd:"" help:"Play every pitfall against its broken server and the four stages, and write docs/pitfalls.md."`
	Grade   grade.Command   `cmd:"" help:"Give points to any program with the command line of docs/spec.md, and say what each lost point means."`
	Doctor  doctor.Command  `cmd:"" help:"Say what this machine offers, what it lacks, and which tests that skips."`
	Mutants mutants.Command `cmd:"" help:"Change one small thing in the sources at a time, and say which changes no test notices."`
}

func main() {
	netns.Enter() // a scenario may have it take a family of addresses from a server
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c commands
	k := kong.Parse(
		&c,
		kong.Name("lab"),
		kong.Description("Looks at the four servers from outside."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	err := k.Run()
	if err != nil && ctx.Err() != nil { // Ctrl-C is no error, and needs no words
		os.Exit(130)
	}
	k.FatalIfErrorf(err)
}
