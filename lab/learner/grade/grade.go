// Package grade grades a server that somebody else wrote, in any language, and explains each lost point.
//
// It runs the tests that the four stages pass: the cases of common/servertest/cases and the scenarios of
// the pitfalls. A test suite may assume that the server works, but a grader must not: the program may exit at
// once, never listen, hang or crash. The report then names that one cause instead of hundreds of failed cases.
package grade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/cases"
	"fourways.example/common/servertest/netns"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/trials"
)

// Command is `lab grade`.
type Command struct {
	Exec    string        `placeholder:"PROGRAM" help:"The server, or a wrapper around it: an executable with the command line of docs/spec.md (-p PORT -R ROOT …)."`
	Stage   int           `placeholder:"N" help:"The stage that the program implements, 1 to 4. Cases that this stage does not claim do not count. The default is the digit after \"stage\" in the name of the program, or of $$SERVER; otherwise 4."`
	Case    []string      `short:"t" placeholder:"CASE" help:"Run only this case, claim, category or pitfall. * matches any letters. The flag may be repeated."`
	List    bool          `short:"l" help:"List the cases with their points, without running them."`
	Output  string        `short:"o" placeholder:"FILE" help:"Write the stdout and stderr of the program to a file, each line after the process ID."`
	JSON    bool          `name:"json" help:"Print the report as JSON, as --format json does."`
	Format  string        `enum:"text,json,junit,gradescope" default:"text" help:"The format of the report: ${enum}. All but text run all cases; gradescope is the results.json of Gradescope."`
	All     bool          `help:"Run all cases, give points, and show every failure. Without this flag, or -t or --json, the milestones are tried in order up to the first one that fails."`
	Seed    uint64        `placeholder:"N" help:"The seed of the names, sizes and splits that some cases choose at random, to repeat a run. The default is another one in each run."`
	Weights string        `placeholder:"FILE" help:"A file with the points for each category, in the format of lab/learner/grade/weights.txt."`
	Doc     string        `placeholder:"FILE" help:"The document with the text of the claims. The default is docs/spec.md in a folder above the working directory or above this program."`
	Limit   time.Duration `name:"time-limit" default:"4m" help:"Stop after this time. Cases that have not run by then get no points."`

	CaseLimit time.Duration `name:"case-limit" default:"60s" help:"The longest time for a case. The server of a longer one is killed, and the case has failed."`
	Build     string        `name:"build-log" placeholder:"FILE" help:"A file with the output of the build, which is added to the report."`
	confinement

	out, warn io.Writer // for tests; nil is stdout and stderr
}

// Run grades the program and prints the report. It returns an error, which makes the exit status 1, if a case fails.
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
	claims, err := readClaims(c.Doc)
	if err != nil {
		return fmt.Errorf("reading the claims: %w", err)
	}
	if c.Stage == 0 {
		c.Stage = stageOf(c.Exec)
	}
	if c.Stage < 1 || c.Stage > 4 {
		return fmt.Errorf("--stage %d: the stages are 1 to 4", c.Stage)
	}
	report := newReport(c.Stage, weights, claims)
	if err := report.selectCases(c.Case); err != nil {
		return err
	}
	if c.List {
		return report.list(out, c.JSON)
	}
	note, done, err := c.enter(ctx)
	if done || err != nil {
		return err
	}
	if note != "" {
		report.Notes = append(report.Notes, note)
		if !netns.Inside() {
			fmt.Fprintf(warn, "lab: warning: %s\n", note)
		}
	}
	if report.BuildLog, err = buildLog(c.Build); err != nil {
		return fmt.Errorf("--build-log: %w", err)
	}
	if report.Program, err = executable(c.Exec); err != nil {
		if c.Format != "gradescope" && c.Format != "junit" {
			return err
		}
		report.Program = c.Exec // whoever reads results.json wants to know, too
		report.Findings = append(report.Findings, "There is no program to grade: "+err.Error())
		report.skipAll()
		return errors.Join(report.write(out, c.Format), report.failure())
	}
	for _, name := range []string{c.Exec, os.Getenv("SERVER")} {
		if note := staleNote(name); note != "" {
			fmt.Fprintf(warn, "lab: warning: %s\n", note)
		}
	}
	guest := &process.Guest{Bounds: c.bounds(), CaseLimit: c.CaseLimit}
	if c.Output != "" {
		f, err := os.Create(c.Output)
		if err != nil {
			return fmt.Errorf("-o: %w", err)
		}
		defer func() { _ = f.Close() }()
		guest.Output = f
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64N(1e6)
	}
	report.Seed = c.Seed
	prog := &process.Program{Path: report.Program, Stage: c.Stage, Guest: guest, Env: wrapperEnv(), Seed: c.Seed}
	if !c.All && !c.machine() && len(c.Case) == 0 {
		return c.climb(ctx, prog, report, out)
	}
	if err := c.measure(ctx, prog, report, report.playAll); err != nil {
		return err
	}
	if c.machine() {
		err = report.write(out, c.Format)
	} else {
		err = report.print(out, c.All)
	}
	if err != nil {
		return err
	}
	return report.failure()
}

// machine reports whether a program reads the report.
func (c *Command) machine() bool { return c.JSON || c.Format != "" && c.Format != "text" }

// climb tries the milestones, and prints how far the program gets.
func (c *Command) climb(ctx context.Context, prog *process.Program, report *Report, out io.Writer) error {
	l := &ladder{report: report, program: c.Exec, rungs: report.rungs(milestones), again: c.again(), seed: c.Seed}
	if err := c.measure(ctx, prog, report, l.climb); err != nil {
		return err
	}
	if l.failed == nil && report.failure() != nil { // the program was not worth testing
		l.failed = l.rungs[0]
	}
	if err := l.print(out); err != nil || l.failed == nil {
		return err
	}
	return fmt.Errorf("%w milestone %d, %s", errFailed, l.failed.number, l.failed.title)
}

// again returns the command line for a further run, without the selection of cases.
func (c *Command) again() string {
	line := "lab grade --exec " + c.Exec
	if c.Stage != stageOf(c.Exec) {
		line += fmt.Sprint(" --stage ", c.Stage)
	}
	return line
}

// A play runs the cases for which keep returns true, and adds their results to the report.
type play func(keep func(name string) bool) error

// measure greets the program. Unless that shows that further tests are of no use, it calls run to run them.
func (c *Command) measure(ctx context.Context, prog *process.Program, report *Report, run func(context.Context, play) error) error {
	limit := cmp.Or(c.Limit, 4*time.Minute)
	timely, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the time limit of %v was reached (--time-limit)", limit))
	defer cancel()
	start := time.Now()
	defer func() { report.Seconds = time.Since(start).Round(10 * time.Millisecond).Seconds() }()

	greeting, err := suite.Greet(prog, greetTime, greetings...)
	if err != nil {
		return err
	}
	why, hopeless := diagnose(greeting, len(c.Case) > 0 || !c.All && !c.machine())
	report.diagnosis = why
	report.Findings = append(report.Findings, why...)
	if hopeless {
		report.skipAll()
		return nil
	}
	err = run(ctx, func(keep func(string) bool) error {
		results, err := suite.RunProgram(timely, prog, allCases(), func(k suite.Case) bool { return keep(k.Name) })
		if err != nil && timely.Err() == nil {
			return err
		}
		for _, r := range results {
			report.addResult(r)
		}
		return playPitfalls(timely, prog, report, keep)
	})
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	if err != nil {
		return err
	}
	report.finish()
	return nil
}

// playAll runs all cases of the report.
func (r *Report) playAll(_ context.Context, p play) error { return p(r.includes) }

// allCases returns the cases of the suite, and those for servers that somebody else wrote.
func allCases() []suite.Case { return slices.Concat(cases.All(), trials.GuestCases()) }

// stageOf finds the stage in the name of the program, or in the name of the server that a wrapper starts.
func stageOf(program string) int {
	for _, name := range []string{program, os.Getenv("SERVER")} {
		if m := regexp.MustCompile(`stage-?([1-4])`).FindStringSubmatch(path.Base(name)); m != nil {
			return int(m[1][0] - '0')
		}
	}
	return 4
}

// executable finds the program. If the program cannot be executed, the error says what to do: for a script
// without a #! line the kernel says only "exec format error".
func executable(name string) (string, error) {
	if name == "" {
		return "", errors.New("--exec PROGRAM is missing; -l lists the cases without a program")
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
		return "", fmt.Errorf("--exec %s: there is no such file, and no such command in $PATH", name)
	case err != nil:
		return "", fmt.Errorf("--exec %s: %w", name, err)
	case info.IsDir():
		return "", fmt.Errorf("--exec %s is a folder; give it the program that was built there", name)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("--exec %s is not executable; run `chmod +x %s`", name, name)
	}
	f, err := os.Open(file)
	if err != nil {
		return file, nil // execve(2) needs no read permission
	}
	defer func() { _ = f.Close() }()
	magic := make([]byte, 4)
	n, _ := io.ReadFull(f, magic)
	if m := string(magic[:n]); m != "\x7fELF" && !strings.HasPrefix(m, "#!") {
		return "", fmt.Errorf("--exec %s is neither an ELF program nor a script; the first line of a script names its interpreter, as in #!/usr/bin/env python3", name)
	}
	return file, nil
}

// wrapperEnv returns the variables that a wrapper reads, with absolute paths: some cases start the server in another
// folder.
func wrapperEnv() []string {
	var env []string
	for _, name := range []string{"SERVER", "TRACE", "DLV_INIT"} {
		value := os.Getenv(name)
		if value == "" && name == "TRACE" {
			value = "trace"
		}
		if value == "" || name == "SERVER" && !strings.Contains(value, "/") {
			continue // the shell finds a bare name in $PATH
		}
		if abs, err := filepath.Abs(value); err == nil {
			env = append(env, name+"="+abs)
		}
	}
	return env
}
