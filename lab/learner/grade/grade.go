// Package grade gives points to a server that somebody else wrote, in whatever language, and says what to
// do about each point that it does not get.
//
// It asks what the four stages are asked: the cases of common/servertest/cases, and the scenarios of
// the pitfalls. Where a test suite may assume that the server works, a grader must not: the program
// may exit at once, never listen, hang or crash in the middle. Then what is said is that, once, instead
// of hundreds of cases that fail for it.
package grade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"fourways.example/common/servertest/cases"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
)

// Command is `lab grade`.
type Command struct {
	Exec    string        `placeholder:"PROGRAM" help:"The server, or a wrapper around it: an executable with the command line of docs/spec.md (-p PORT -R ROOT …). What it prints at its start is its own affair, but for the cases about that."`
	Stage   int           `placeholder:"N" help:"What the program claims to be, 1 to 4: cases that this stage does not claim do not count. If not given, the digit behind \"stage\" in the name of the program (or in $$SERVER's), or 4."`
	Case    []string      `short:"t" placeholder:"CASE" help:"Only these cases: names of cases, claims, categories or pitfalls, or patterns with * in them. May be given several times."`
	List    bool          `short:"l" help:"List the cases with their points, and run none."`
	Output  string        `short:"o" placeholder:"FILE" help:"Write what the program says (stdout and stderr, behind the number of the process) to a file."`
	JSON    bool          `name:"json" help:"Print the report for programs."`
	All     bool          `help:"Show every failure; else only the first ones of a category."`
	Weights string        `placeholder:"FILE" help:"Points per category; see lab/learner/grade/weights.txt."`
	Doc     string        `placeholder:"FILE" help:"The contract, for the words of the claims. If not given, docs/spec.md above the working directory or above this program."`
	Limit   time.Duration `name:"time-limit" default:"2m" help:"When this time is over what has not been tried is lost."`

	out, warn io.Writer // for tests; nil is stdout and stderr
}

// Run grades. It returns an error, which makes the exit status 1, if a case fails.
func (c *Command) Run(ctx context.Context) error {
	out := c.out
	if out == nil {
		out = os.Stdout
	}
	warn := c.warn
	if warn == nil {
		warn = os.Stderr
	}
	weights, err := readWeights(c.Weights)
	if err != nil {
		return err
	}
	words, err := readClaims(c.Doc)
	if err != nil {
		return fmt.Errorf("the contract: %w", err)
	}
	if c.Stage == 0 {
		c.Stage = stageOf(c.Exec)
	}
	if c.Stage < 1 || c.Stage > 4 {
		return fmt.Errorf("--stage %d: there are the stages 1 to 4", c.Stage)
	}
	report := newReport(c.Stage, weights, words)
	if err := report.pick(c.Case); err != nil {
		return err
	}
	if c.List {
		return report.list(out, c.JSON)
	}
	if report.Program, err = executable(c.Exec); err != nil {
		return err
	}
	for _, name := range []string{c.Exec, os.Getenv("SERVER")} {
		if note := staleNote(name); note != "" {
			fmt.Fprintf(warn, "lab: warning: %s\n", note)
		}
	}
	guest := &process.Guest{}
	if c.Output != "" {
		f, err := os.Create(c.Output)
		if err != nil {
			return fmt.Errorf("-o: %w", err)
		}
		defer func() { _ = f.Close() }()
		guest.Output = f
	}
	prog := &process.Program{Path: report.Program, Stage: c.Stage, Guest: guest, Env: wrapperEnv()}
	if err := c.measure(ctx, prog, report); err != nil {
		return err
	}
	if err := report.print(out, c.JSON, c.All); err != nil {
		return err
	}
	return report.verdict()
}

// measure fills the report.
func (c *Command) measure(ctx context.Context, prog *process.Program, report *Report) error {
	limit := cmp.Or(c.Limit, 2*time.Minute)
	timely, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the time limit of %v was over (--time-limit)", limit))
	defer cancel()
	start := time.Now()
	defer func() { report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds() }()

	greeting, err := suite.Greet(prog, greetTime, greetings...)
	if err != nil {
		return err
	}
	why, hopeless := diagnose(greeting, len(c.Case) > 0)
	report.Findings = append(report.Findings, why...)
	if hopeless {
		report.loseAll(notTried)
		return nil
	}
	results, err := suite.RunProgram(timely, prog, cases.All(), func(k suite.Case) bool { return report.wants(k.Name) })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	if err != nil && timely.Err() == nil {
		return err
	}
	for _, r := range results {
		report.take(r)
	}
	if err := playPitfalls(timely, prog, report); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	report.settle()
	return nil
}

// stageOf reads the stage off a program's name, or off that of the server behind a wrapper.
func stageOf(program string) int {
	for _, name := range []string{program, os.Getenv("SERVER")} {
		if m := regexp.MustCompile(`stage-?([1-4])`).FindStringSubmatch(path.Base(name)); m != nil {
			return int(m[1][0] - '0')
		}
	}
	return 4
}

// executable finds the program, and says why it cannot be started where that is known beforehand: the
// kernel's words for a script without a first line are "exec format error".
func executable(name string) (string, error) {
	if name == "" {
		return "", errors.New("--exec PROGRAM is missing: which server is to be graded? (-l lists the cases without one)")
	}
	file, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist) && !strings.Contains(name, "/"):
		if found, err := exec.LookPath(name); err == nil {
			return filepath.Abs(found)
		}
		return "", fmt.Errorf("--exec %s: there is no such file here, nor a command of that name", name)
	case err != nil:
		return "", fmt.Errorf("--exec %s: %w", name, err)
	case info.IsDir():
		return "", fmt.Errorf("--exec %s is a folder: build the server, and name the program", name)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("--exec %s is not executable: chmod +x %s", name, name)
	}
	f, err := os.Open(file)
	if err != nil {
		return file, nil // a program may be executed that cannot be read
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, 4)
	n, _ := io.ReadFull(f, magic)
	if m := string(magic[:n]); m != "\x7fELF" && !strings.HasPrefix(m, "#!") {
		return "", fmt.Errorf("--exec %s is neither an ELF program nor a script: a script's first line must name its interpreter, as in #!/usr/bin/env python3", name)
	}
	return file, nil
}

// wrapperEnv makes the files absolute that a wrapper is told of: some cases start the server in another folder.
func wrapperEnv() []string {
	var env []string
	for _, name := range []string{"SERVER", "TRACE", "DLV_INIT"} {
		value := os.Getenv(name)
		if value == "" && name == "TRACE" {
			value = "trace"
		}
		if value == "" || name == "SERVER" && !strings.Contains(value, "/") {
			continue // to be looked for in $PATH
		}
		if abs, err := filepath.Abs(value); err == nil {
			env = append(env, name+"="+abs)
		}
	}
	return env
}
