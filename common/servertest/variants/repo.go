// Package variants builds servers from the sources: a stage as it is, or a stage with a bug. The bug is a patch.
// `go build -overlay` applies it without a change to any file of the tree. The package also finds the root of the
// tree, and named places in it.
package variants

import (
	"fmt"
	"os"
	"path/filepath"
)

// A Repo is a tree of the sources.
type Repo struct{ Root string }

// FindRepo returns the tree that contains the folder.
func FindRepo(dir string) (*Repo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "common", "go.mod")); err == nil {
			return &Repo{at}, nil
		}
		if at == filepath.Dir(at) {
			return nil, fmt.Errorf("%s is not in a tree of the sources: there is no common/go.mod in a folder above it", dir)
		}
	}
}
