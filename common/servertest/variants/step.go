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
	stage := filepath.Join(r.Root, stages.Dirs[4])
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(stage, "server.go"): filepath.Join(r.StepDir(step), "server.go"),
	}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(out+".json", overlay, 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay", out+".json", "-o", out, ".")
	cmd.Dir = stage
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build of step %s in %s: %w%s", step, stages.Dirs[4], err, process.Indent(string(said)))
	}
	return &process.Program{Path: out, Stage: 4}, nil
}
