package variants

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
)

// build builds a stage as the file out. If there is a patch, go build reads patched copies in place of the files;
// the files in the tree do not change.
func (r *Repo) build(ctx context.Context, stage int, patch []byte, out string) error {
	args := []string{"build", "-buildvcs=false", "-o", out}
	if patch != nil {
		overlay, err := r.Overlay(patch, out+".src")
		if err != nil {
			return err
		}
		// Nobody debugs a server with a bug that is known. Without its debugging information the linker takes
		// a third less time.
		args = append(args, "-ldflags=-s -w", "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = filepath.Join(r.Root, stages.Dirs[stage])
	if said, err := cmd.CombinedOutput(); err != nil {
		// A compiler error in a patched file is the patch's fault. A full disk, say, is not.
		if strings.Contains(string(said), filepath.Base(out)+".src") {
			err = fmt.Errorf("%w: %w", ErrStale, err)
		}
		return fmt.Errorf("go build in %s: %w%s", stages.Dirs[stage], err, process.Indent(string(said)))
	}
	return nil
}

// Overlay writes patched copies of the files into dir. It returns the file for the flag -overlay of go build.
func (r *Repo) Overlay(patch []byte, dir string) (string, error) {
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

// A Workshop builds the stages and the variants, each once, and keeps the servers until Close.
type Workshop struct {
	Repo *Repo
	dir  string
	turn chan struct{} // has room for two: at most so many builds run at once

	mu   sync.Mutex
	made map[string]*build
}

type build struct {
	once sync.Once
	path string
	err  error
}

// NewWorkshop returns a Workshop. The caller must close it.
func (r *Repo) NewWorkshop() (*Workshop, error) {
	dir, err := os.MkdirTemp("", "pitfalls-")
	if err != nil {
		return nil, err
	}
	return &Workshop{Repo: r, dir: dir, turn: make(chan struct{}, 2), made: map[string]*build{}}, nil
}

// Close removes the servers.
func (w *Workshop) Close() { _ = os.RemoveAll(w.dir) }

// Real builds a stage without a bug.
func (w *Workshop) Real(ctx context.Context, stage int) (*process.Program, error) {
	return w.build(ctx, stages.Dirs[stage], stage, nil)
}

// Broken builds the variant's server. The Stage of the program is the stage that was patched.
func (w *Workshop) Broken(ctx context.Context, v *Variant) (*process.Program, error) {
	previous, err := v.PreviousStage()
	if err != nil {
		return nil, err
	}
	if previous > 0 {
		return w.Real(ctx, previous)
	}
	patch, err := v.Patch()
	if err != nil {
		return nil, err
	}
	prog, err := w.build(ctx, v.Name, v.Base, patch)
	var stale *StalePatch
	if errors.As(err, &stale) {
		stale.ID = v.Name
	}
	return prog, err
}

func (w *Workshop) build(ctx context.Context, name string, stage int, patch []byte) (*process.Program, error) {
	w.mu.Lock()
	b := w.made[name]
	if b == nil {
		b = &build{}
		w.made[name] = b
	}
	w.mu.Unlock()
	b.once.Do(func() {
		w.turn <- struct{}{}
		defer func() { <-w.turn }()
		b.path = filepath.Join(w.dir, name+".server")
		b.err = w.Repo.build(ctx, stage, patch, b.path)
	})
	return &process.Program{Path: b.path, Stage: stage}, b.err
}

// A Variant is a broken server: a stage, and a folder that says what to change in it.
type Variant struct {
	Name string
	Base int    // the number of the stage that does not have the bug
	Dir  string // the absolute path of the folder
}

// PreviousStage returns the number of the earlier stage whose technique is the bug, or 0 if the bug is a patch.
func (v *Variant) PreviousStage() (int, error) {
	b, err := os.ReadFile(filepath.Join(v.Dir, "previous-stage"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	name := strings.TrimSpace(string(b))
	for n := 1; n < v.Base; n++ {
		if stages.Dirs[n] == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s: previous-stage holds %q, which is no stage before stage %d", v.Name, name, v.Base)
}

// Patch returns the text of bug.patch.
func (v *Variant) Patch() ([]byte, error) { return os.ReadFile(filepath.Join(v.Dir, "bug.patch")) }
