package learn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	slashpath "path"
	"path/filepath"
	"slices"
	"strings"

	"fourways.example/lab/learner/learn/exercise"
	"fourways.example/lab/learner/learn/tree"
)

// A file is a file of the working copy before the reader's work.
type file struct {
	text []byte
	mode fs.FileMode
}

// quoting are the folders with pages that quote the code of the servers. They would show the solutions.
var quoting = []string{"docs/book", "docs/ledger", "docs/site/book"}

// leftOut reports whether the working copy does not have a file or folder of the repository. Of the lab it has what
// lab learn is built from, and not the tests: one of them types a solution in.
func leftOut(path string) bool {
	return slices.Contains(quoting, path) || tree.Pitfalls(path) || tree.ShowsSolution(path) ||
		strings.HasPrefix(path, "lab/") && strings.HasSuffix(path, "_test.go")
}

// hidden reports whether a file of the repository, or a folder that it is in, is left out.
func hidden(path string) bool {
	for ; path != "."; path = slashpath.Dir(path) {
		if leftOut(path) {
			return true
		}
	}
	return false
}

// sources returns the files of the working copy as they are before the reader's work on the current exercise, by their
// names.
func (c *workCopy) sources() (map[string]file, error) {
	files, has := map[string]file{}, map[string]bool{}
	err := tree.Walk(c.origin, leftOut, func(name string, d fs.DirEntry) error {
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(c.origin, filepath.FromSlash(name)))
		files[name] = file{text, info.Mode().Perm()}
		for ; name != "." && !has[name]; name = slashpath.Dir(name) {
			has[name] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for name, f := range files {
		if filepath.Ext(name) == ".md" {
			f.text = []byte(tree.LivingLinks(name, string(f.text), func(path string) bool { return has[path] || path == "." }))
			files[name] = f
		}
	}
	e, _ := c.current()
	stubs, err := e.Stubs(exercise.ReadFrom(c.origin))
	for _, s := range stubs {
		files[s.File] = file{s.Text, files[s.File].mode}
	}
	return files, err
}

// own reports whether a path of the copy is a folder in which lab learn keeps what is not part of the tree.
func own(path string) bool { return path == ".learn" || path == savedFolder }

// changed returns the files of the copy that the reader has changed or added.
func (c *workCopy) changed(want map[string]file) ([]string, error) {
	var changed []string
	err := tree.Walk(c.dir, own, func(name string, _ fs.DirEntry) error {
		text, err := os.ReadFile(c.path(name))
		if err == nil && !c.wrote(name, text, want) {
			changed = append(changed, name)
		}
		return err
	})
	return changed, err
}

// wrote reports whether lab learn has written this text to a file.
func (c *workCopy) wrote(name string, text []byte, want map[string]file) bool {
	if name == "go.work.sum" { // the go command adds lines
		return true
	}
	if w, ok := want[name]; ok && bytes.Equal(text, w.text) {
		return true
	}
	if c.state.Written != nil {
		return c.state.Written[name] == hash(text)
	}
	real, err := os.ReadFile(filepath.Join(c.origin, filepath.FromSlash(name))) // a former version copied it so
	return err == nil && bytes.Equal(text, real)
}

// write writes the files that differ, removes those of its own that the copy must not have any more, and notes what it
// has written. It overwrites the reader's files.
func (c *workCopy) write(want map[string]file) error {
	if err := c.remove(want); err != nil {
		return err
	}
	written := make(map[string]string, len(want))
	for name, f := range want {
		written[name] = hash(f.text)
		if has, err := os.ReadFile(c.path(name)); err == nil && bytes.Equal(has, f.text) {
			continue
		}
		if err := c.put(name, f); err != nil {
			return err
		}
	}
	c.state.Written = written
	return c.keep()
}

func (c *workCopy) put(name string, f file) error {
	if err := os.MkdirAll(filepath.Dir(c.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path(name), f.text, f.mode)
}

// remove removes the files that lab learn has written and that the copy must not have any more.
func (c *workCopy) remove(want map[string]file) error {
	if _, err := os.Stat(c.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return tree.Walk(c.dir, own, func(name string, _ fs.DirEntry) error {
		if _, ok := want[name]; ok {
			return nil
		}
		text, err := os.ReadFile(c.path(name))
		if err == nil && c.wrote(name, text, want) {
			err = os.Remove(c.path(name))
		}
		return err
	})
}

// refresh brings the files that the reader has not changed up to date if the repository has changed. It returns a note
// for the reader, or "" if nothing has changed.
func (c *workCopy) refresh() (note string, err error) {
	if c.state.Written == nil {
		return "", nil // nobody knows which files are old: the next start writes all of them
	}
	want, err := c.sources()
	if err != nil {
		return "", err
	}
	if c.upToDate(want) {
		return "", nil
	}
	changed, err := c.changed(want)
	if err != nil {
		return "", err
	}
	for _, name := range changed {
		f, ok := want[name]
		if ok && c.state.Written[name] != hash(f.text) {
			return fmt.Sprintf("The repository has a new version of %s, which you have changed. `lab learn reset` saves yours and takes the new one.", name), nil
		}
		delete(want, name) // not to be written
	}
	return c.bring(want, changed)
}

// upToDate reports whether lab learn has written these files.
func (c *workCopy) upToDate(want map[string]file) bool {
	for name, f := range want {
		if c.state.Written[name] != hash(f.text) {
			return false
		}
	}
	return len(want) == len(c.state.Written)
}

// bring writes newer files, but not those that the reader has changed.
func (c *workCopy) bring(want map[string]file, changed []string) (string, error) {
	before := c.state.Written
	if err := c.write(want); err != nil {
		return "", err
	}
	for _, name := range changed {
		if h, ok := before[name]; ok {
			c.state.Written[name] = h
		}
	}
	return "The repository has changed, and the copy has its new files now. Those that you have changed are as they were.", c.keep()
}

// hash returns a short name of a text.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
