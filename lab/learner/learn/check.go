package learn

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/cases"
	"fourways.example/lab/learner/learn/exercise"
)

// check builds and plays the check, and prints the result. After a success it shows the real code.
func (v *view) check(ctx context.Context) (passed bool, err error) {
	e, _ := v.copied.current()
	begin := time.Now()
	passed, output, err := v.play(ctx, e)
	if err != nil {
		return false, err
	}
	took := time.Since(begin).Seconds()
	if !passed {
		v.failure(e, output)
		v.printf("not yet (%.1f s)\n", took)
		return false, nil
	}
	return true, v.success(took)
}

// play runs the tests of the exercise until one fails, and names each before it runs: the first build takes long.
func (v *view) play(ctx context.Context, e *exercise.Exercise) (passed bool, output string, err error) {
	for i := range e.Check {
		doing := "building and playing " + e.Check[i].String()
		if e.Bug != "" { // the name of the test would tell which bug it is
			doing = "building and playing what a client does with " + e.Check[i].Dir
		}
		v.printf("%s\n", shorten(doing+" …", v.width))
		one := *e
		one.Check = e.Check[i : i+1]
		if passed, output, err = one.Grade(ctx, v.copied.dir); !passed || err != nil {
			return false, output, err
		}
	}
	return true, "", nil
}

// shorten takes items off the end of a list that does not fit into a line.
func shorten(list string, width int) string {
	if len([]rune(list)) <= width {
		return list
	}
	for len([]rune(list)) > width-3 {
		end := strings.LastIndexAny(list, ", ")
		if end < 0 {
			break
		}
		list = strings.TrimRight(list[:end], ", ")
	}
	return list + ", …"
}

// failure prints why a check has failed.
func (v *view) failure(e *exercise.Exercise, output string) {
	v.progress()
	rows := shown
	if e.Bug != "" {
		rows = transcript
	}
	for _, line := range tail(output, v.copied.dir, v.width, rows) {
		v.printf("%s\n", line)
	}
}

// success notes that the exercise is solved, and shows the real code. It says so before the code and after it, because
// the code may not fit on the screen.
func (v *view) success(took float64) error {
	if err := v.copied.solved(); err != nil {
		return err
	}
	v.rule(fmt.Sprintf("solved (%.1f s)", took))
	if err := v.compare(); err != nil {
		return err
	}
	v.progress()
	v.printf("solved (%.1f s)\n", took)
	if next := v.copied.next(); next != nil {
		v.paragraph("Next: ", fmt.Sprintf("%s, %s: lab learn start %s", next.ID, next.Title, next.ID))
	} else {
		v.printf("All exercises are solved.\n")
	}
	return nil
}

// described prints which tests a check runs, and where the reader finds what they want.
func (v *view) described(c *exercise.Tests) {
	v.paragraph("Check:   ", c.String())
	if claims := claimsOf(c); claims != nil {
		v.paragraph("         ", "They prove in docs/spec.md: "+strings.Join(claims, ", "))
	}
	if strings.HasPrefix(c.Run, "TestPitfalls") {
		v.paragraph("         ", "They are the pitfalls with these names in docs/pitfalls.md.")
	}
}

var oneName = regexp.MustCompile(`[\w-]+`)

// claimsOf returns the claims that the cases of a check prove.
func claimsOf(c *exercise.Tests) []string {
	test, names, _ := strings.Cut(c.Run, "$/^")
	if test != "TestConformance" && test != "TestStep" {
		return nil
	}
	var claims []string
	for _, known := range cases.All() {
		if !slices.Contains(oneName.FindAllString(names, -1), known.Name) {
			continue
		}
		for _, id := range known.IDs {
			if !slices.Contains(claims, id) {
				claims = append(claims, id)
			}
		}
	}
	return claims
}

// builds returns the checks of an exercise without their tests: go test only builds what they need.
func builds(e *exercise.Exercise) []exercise.Tests {
	var all []exercise.Tests
	for _, c := range e.Check {
		pattern := "^$"
		if len(c.Env) > 0 { // a test that builds another server: run it, but none of its subtests
			test, _, _ := strings.Cut(c.Run, "/")
			pattern = test + "/^$"
		}
		same := func(b exercise.Tests) bool {
			return b.Dir == c.Dir && b.Package == c.Package && b.Run == pattern && slices.Equal(b.Env, c.Env)
		}
		if !slices.ContainsFunc(all, same) {
			all = append(all, exercise.Tests{Dir: c.Dir, Package: c.Package, Run: pattern, Env: c.Env})
		}
	}
	return all
}

// begin begins an exercise, and builds for its first check even after the end of this program.
func (v *view) begin(ctx context.Context, id string) (wait func(), err error) {
	if err := v.start(id); err != nil {
		return nil, err
	}
	return v.warm(context.WithoutCancel(ctx)), nil
}

// warm builds in the background what the check of the current exercise needs, so that the first check is quick. It goes on
// until it is done or ctx ends. A build that fails is not reported here: the check does.
func (v *view) warm(ctx context.Context) (wait func()) {
	e, _ := v.copied.current()
	var waits []func() error
	for _, c := range builds(e) {
		cmd := c.Command(ctx, v.copied.dir)
		if cmd.Start() == nil {
			waits = append(waits, cmd.Wait)
		}
	}
	return func() {
		for _, w := range waits {
			_ = w()
		}
	}
}
