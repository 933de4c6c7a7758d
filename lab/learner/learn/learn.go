// Package learn guides a reader through exercises that are cut from the code. It makes a working copy beside the
// repository, checks what the reader writes there after each save, and shows the real code when the check passes.
package learn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/learn/exercise"
)

// Command is the command `lab learn`.
type Command struct {
	Action string `arg:"" optional:"" default:"watch" enum:"watch,list,start,check,hint,reset,solution" help:"watch: check after each save; list: list the exercises; start ID: go to an exercise; check: check once; hint: show the next of three hints; reset: cut the exercise again; solution: show the real code."`
	ID     string `arg:"" optional:"" help:"The exercise for start."`
	Dir    string `help:"The working copy; the default is the folder NAME-learn beside the repository." placeholder:"DIR" type:"path"`
}

// Help says what the copy has.
func (c *Command) Help() string {
	return "The working copy lacks only the code of the current exercise. The code of the other exercises is complete, " +
		"also where a later stage repeats the code that you write: do not read ahead. " +
		"The book and the explained differences quote that code, so they are only in the repository."
}

// ErrUnsolved ends a check that fails. Its output has said so.
var ErrUnsolved = errors.New("the exercise is not solved yet")

// Run runs the command.
func (c *Command) Run(ctx context.Context) error {
	if (c.ID != "") != (c.Action == "start") {
		return errors.New("only start takes an exercise, and it needs one: lab learn start ID")
	}
	copied, err := c.open()
	if err != nil {
		return err
	}
	v := &view{out: os.Stdout, width: terminalWidth(os.Stdout), copied: copied}
	if c.Action == "watch" || c.Action == "check" {
		if err := v.refresh(); err != nil {
			return err
		}
	}
	switch c.Action {
	case "list":
		v.list()
		return nil
	case "start":
		_, err := v.begin(ctx, c.ID)
		return err
	case "check":
		passed, err := v.check(ctx)
		if err == nil && !passed {
			err = ErrUnsolved
		}
		return err
	case "hint":
		return v.hint()
	case "reset":
		_, err := v.begin(ctx, copied.state.Exercise)
		return err
	case "solution":
		return v.solution()
	}
	return v.watch(ctx, os.Stdin)
}

// open opens the working copy. In a working copy, the folder of the command is that copy.
func (c *Command) open() (*workCopy, error) {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return nil, err
	}
	origin, dir := repo.Root, c.Dir
	if dir == "" {
		dir = origin + "-learn"
	}
	if _, err := os.Stat(filepath.Join(origin, filepath.FromSlash(stateFile))); err == nil {
		place, err := readState(origin)
		if err != nil {
			return nil, err
		}
		if c.Dir == "" {
			dir = origin
		}
		origin = place.Origin
		if _, err := os.Stat(filepath.Join(origin, "common", "go.mod")); err != nil {
			return nil, fmt.Errorf("the working copy %s was made from %s, which is gone: %w", repo.Root, origin, err)
		}
	}
	return openCopy(origin, dir, exercise.All())
}
