package handout

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/stages"
	"fourways.example/lab/learner/learn/exercise"
	"fourways.example/lab/support/slow"
)

// TestSlowHandout makes the tree for each stage as make does, and builds and vets all its modules. In that for stage 2
// it types the real code in, and runs the tests: all of common that are about the tree, and those of the stage.
func TestSlowHandout(t *testing.T) {
	slow.Test(t)
	root := source(t)
	for stage := 1; stage < len(stages.Dirs); stage++ {
		t.Run(fmt.Sprint(stage), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "handout")
			run(t, root, "make", "handout", fmt.Sprintf("STAGE=%d", stage), "OUT="+out)
			run(t, out, "make", "build")
			run(t, out, "make", "vet")
			if stage == 2 {
				solveAll(t, root, out, stage)
			}
		})
	}
}

// solveAll does all exercises of a tree, and runs the tests.
func solveAll(t *testing.T, root, out string, stage int) {
	t.Helper()
	stub := filepath.Join(out, stages.Dirs[stage])
	cmd := exec.CommandContext(t.Context(), "go", "test", "-run", "TestWork$", ".")
	cmd.Dir = stub
	if said, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(said), "panic: exercise ") {
		t.Errorf("before the exercises are done, the tests say: %v\n%s", err, said)
	}
	for _, e := range exercise.Gaps() {
		for _, c := range e.Cuts {
			if e.Stage <= stage {
				copyFile(t, root, out, c.File)
			}
		}
	}
	for _, file := range servers {
		if strings.HasPrefix(file, stages.Dirs[stage]+"/") {
			copyFile(t, root, out, file) // the twins
		}
	}
	run(t, filepath.Join(out, "common"), "go", "test", ".", "./servertest/...", "./stream", "./sock", "./h1")
	run(t, stub, "go", "test", "-run", "TestPitfalls$|TestWork$|TestConformance$/^(content|conn)-", ".")
}

// TestSlowOrder does the exercises of the tree for stage 4 in their order: each check passes although all later exercises
// are still missing. Then it puts the tests of omitted.txt back: each must fail.
func TestSlowOrder(t *testing.T) {
	slow.Test(t)
	const stage = 4
	root, out, all := source(t), filepath.Join(t.TempDir(), "handout"), upTo(stage)
	if err := Make(root, out, stage); err != nil {
		t.Fatal(err)
	}
	twins, err := findTwins(root, all)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range all {
		for _, c := range e.Cuts {
			typeIn(t, root, out, c.File, c.Names...)
		}
		for _, w := range twins {
			if w.with == i {
				typeIn(t, root, out, w.file, w.name)
			}
		}
		if passed, said, err := e.Grade(t.Context(), out); err != nil || !passed {
			t.Errorf("%s does not pass after all exercises before it: %v\n%s", e.ID, err, said)
		}
	}
	omitted, err := parseOmitted(omittedText)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range omitted {
		typeIn(t, root, out, o.file, o.test)
		cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^"+o.test+"$", ".")
		cmd.Dir = filepath.Join(out, filepath.Dir(o.file))
		if said, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(said), "--- FAIL: "+o.test) {
			t.Errorf("%s does not fail in a handout: take it out of omitted.txt: %v\n%s", o.test, err, said)
		}
	}
}

// typeIn writes functions of the real tree into a file of a handout, and the imports that they need.
func typeIn(t *testing.T, root, out, file string, names ...string) {
	t.Helper()
	original, err := exercise.ReadFrom(root)(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := exercise.ReadFrom(out)(file)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = exercise.Restore(text, original, names); err != nil {
		t.Fatal(err)
	}
	if text, err = exercise.Prune(text); err != nil { // another function may still be missing
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, filepath.FromSlash(file)), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to, file string) {
	t.Helper()
	text, err := exercise.ReadFrom(from)(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, filepath.FromSlash(file)), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a command that must succeed.
func run(t *testing.T, dir string, words ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
}
