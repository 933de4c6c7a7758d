package servertest

import (
	"fmt"
	"os"
	"path/filepath"
)

// StageDirs are the folders of the stages, by their number.
var StageDirs = []string{"", "stage1-iterative", "stage2-threadpool", "stage3-dualstack", "stage4-epoll"}

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
