// Package variants builds servers out of the sources: a stage as it is, or a stage with a bug. The bug is
// a patch, and `go build -overlay` puts it in, so that no file of the tree changes. The package also finds the
// tree, and places in it by name.
package variants

import (
	"fmt"
	"os"
	"path/filepath"
)

// A Repo is the tree of the sources.
type Repo struct{ Root string }

// FindRepo finds the tree that a folder is in.
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
			return nil, fmt.Errorf("%s is not in the tree of the sources: there is no common/go.mod above it", dir)
		}
	}
}
