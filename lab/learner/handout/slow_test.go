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
