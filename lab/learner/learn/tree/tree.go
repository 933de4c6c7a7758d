// Package tree copies the sources of this repository.
package tree

import (
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
)

// Copy copies the files of the folder from into the folder to. It leaves out .git and bin, and all files and folders
// for which skip returns true. skip gets their paths from the folder on, with slashes; it may be nil. If the folder to
// is inside from, Copy does not copy it into itself.
func Copy(from, to string, skip func(path string) bool) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		out := filepath.Join(to, rel)
		switch {
		case path == to || name == ".git" || name == "bin" || skip != nil && skip(name):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(out, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
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
