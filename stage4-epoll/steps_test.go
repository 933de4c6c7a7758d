package main

import (
	"os"
	"path/filepath"
	"testing"

	"fourways.example/common/servertest"
)

// stepBudget limits the lines of server.go that differ from the step before.
const stepBudget = 130

// steps lists the folders of the steps from stage 3 to stage 4, in order. Each of those in testdata has a
// server.go, and takes listen.go and main.go from stage 4.
var steps = []string{"../stage3-dualstack", "testdata/steps/4a", "testdata/steps/4b", "testdata/steps/4c", "."}

// TestStep runs all cases against the step that the environment variable STEP names: `make test STAGE=4a`. .ci/run
// does so for each step. Their code is not part of a server that anybody runs, so `make test` does not.
func TestStep(t *testing.T) {
	step := os.Getenv("STEP")
	if step == "" {
		t.Skip("make test STAGE=4a tests a step")
	}
	servertest.RunStep(t, step)
}

// TestStepBudget counts the lines that differ between one step and the next.
func TestStepBudget(t *testing.T) {
	for i, folder := range steps[1:] {
		before := goLines(t, filepath.Join(steps[i], "server.go"))
		changed := distance(before, goLines(t, filepath.Join(folder, "server.go")))
		t.Logf("%s: %d changed lines, at most %d", folder, changed, stepBudget)
		if changed > stepBudget {
			t.Errorf("%s: %d changed lines, want at most %d", folder, changed, stepBudget)
		}
	}
}

// TestStepServeIsTheSame checks that serve and its comment are the same text in all steps.
func TestStepServeIsTheSame(t *testing.T) {
	want := serveText(t, steps[0])
	for _, folder := range steps[1:] {
		if got := serveText(t, folder); got != want {
			t.Errorf("serve of %s differs:\n%s\nwant:\n%s", folder, got, want)
		}
	}
}

// TestStepBuilds builds and vets every step.
func TestStepBuilds(t *testing.T) {
	for _, folder := range steps[1 : len(steps)-1] {
		servertest.BuildStep(t, filepath.Base(folder))
	}
}
