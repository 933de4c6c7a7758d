package variants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
)

// StepDir returns the folder of a step between stages 3 and 4, such as "4a".
func (r *Repo) StepDir(step string) string {
	return filepath.Join(r.Root, stages.Dirs[4], "testdata", "steps", step)
}

// BuildStep builds a step as the file out: the step's server.go takes the place of the one of stage 4. The program
// claims to be stage 4.
func (r *Repo) BuildStep(ctx context.Context, step, out string) (*process.Program, error) {
	err := r.goStep(ctx, step, out+".json", "build", "-buildvcs=false", "-o", out)
	return &process.Program{Path: out, Stage: 4}, err
}

// VetStep runs go vet on a step. The folder is for a temporary file.
func (r *Repo) VetStep(ctx context.Context, step, dir string) error {
	return r.goStep(ctx, step, filepath.Join(dir, step+".json"), "vet")
}

// goStep runs a go command on a step. It writes the file for the flag -overlay: the step's server.go takes the place
// of the one of stage 4, and the tests of that one are left out.
func (r *Repo) goStep(ctx context.Context, step, overlay string, args ...string) error {
	stage := filepath.Join(r.Root, stages.Dirs[4])
	replace := map[string]string{filepath.Join(stage, "server.go"): filepath.Join(r.StepDir(step), "server.go")}
	tests, err := filepath.Glob(filepath.Join(stage, "*_test.go"))
	if err != nil {
		return err
	}
	for _, test := range tests {
		replace[test] = ""
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, b, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-overlay", overlay, ".")...)
	cmd.Dir = stage
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s of step %s: %w%s", args[0], step, err, process.Indent(string(said)))
	}
	return nil
}
