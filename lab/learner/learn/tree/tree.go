// Package tree copies the sources of this repository.
package tree

import (
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
)

// Walk calls visit for each regular file of a folder, with its path from the folder on, with slashes. It leaves out .git
// and bin at the top, and all files and folders for which skip returns true. skip may be nil.
func Walk(from string, skip func(path string) bool, visit func(path string, d fs.DirEntry) error) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case name == ".git" || name == "bin" || skip != nil && skip(name):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		return visit(name, d)
	})
}

// Copy copies the files that Walk visits from a folder into another one. If the folder to is inside from, Copy does not
// copy it into itself.
func Copy(from, to string, skip func(path string) bool) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	outside := func(path string) bool {
		return filepath.Join(from, filepath.FromSlash(path)) == to || skip != nil && skip(path)
	}
	return Walk(from, outside, func(path string, d fs.DirEntry) error {
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(path)))
		if err != nil {
			return err
		}
		out := filepath.Join(to, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return err
		}
		return os.WriteFile(out, text, info.Mode().Perm())
	})
}

// Pitfalls reports whether a path is the folder of a stage's pitfalls: their texts and patches tell where the bugs are.
func Pitfalls(path string) bool {
	ok, err := slashpath.Match("stage[1-9]-*/testdata/pitfalls", path)
	return ok && err == nil
}

// Showing has the tests of the servers that show the solution of an exercise, and which.
var Showing = map[string]string{
	"common/site/*_test.go": "iterative", // their harness drives a connection as the servers do
}

// ShowsSolution reports whether a file is one of these tests.
func ShowsSolution(path string) bool {
	for pattern := range Showing {
		if ok, err := slashpath.Match(pattern, path); ok && err == nil {
			return true
		}
	}
	return false
}
