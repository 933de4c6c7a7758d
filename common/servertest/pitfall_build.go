package servertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build builds a stage into out. With a patch, go build is told to read the patched copies instead
// of the files; the tree itself is not touched.
func (r *Repo) build(ctx context.Context, stage int, patch []byte, out string) error {
	args := []string{"build", "-buildvcs=false", "-o", out}
	if patch != nil {
		overlay, err := r.overlay(patch, out+".src")
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = filepath.Join(r.Root, StageDirs[stage])
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w%s", StageDirs[stage], err, indent(string(said)))
	}
	return nil
}

// overlay writes the patched files below dir and returns the file that tells go build of them.
func (r *Repo) overlay(patch []byte, dir string) (string, error) {
	files, err := ParsePatch(patch)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, f := range files {
		path := filepath.Join(r.Root, filepath.FromSlash(f.Path))
		text := ""
		if !f.New {
			b, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		text, err = f.Apply(text)
		if err != nil {
			return "", err
		}
		copied := filepath.Join(dir, strings.ReplaceAll(f.Path, "/", "_"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[path] = copied
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o644)
}
