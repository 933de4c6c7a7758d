package learn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fourways.example/lab/learner/learn/exercise"
)

const (
	stateFile   = ".learn/state.json" // its presence says that the folder is a working copy
	savedFolder = "saved"
)

// A workCopy is a copy of the tree from which one exercise is cut. The reader works in it.
type workCopy struct {
	origin string // the root of the real tree
	dir    string
	state  state
	all    []exercise.Exercise
}

// state is the reader's place, kept in the file stateFile.
type state struct {
	Origin   string   `json:"origin"`
	Exercise string   `json:"exercise"`
	Hints    int      `json:"hints"` // how many hints to the exercise the reader has seen
	Solved   []string `json:"solved"`
	// Written has a hash of each file as lab learn wrote it. A file with another one is the reader's work, even if the
	// repository has changed. It is nil if a former version has written the state.
	Written map[string]string `json:"written,omitempty"`
}

// openCopy returns the working copy in a folder. It makes one if the folder is missing or empty.
func openCopy(origin, dir string, all []exercise.Exercise) (*workCopy, error) {
	c := &workCopy{origin: origin, dir: dir, all: all}
	var err error
	if c.state, err = readState(dir); err == nil {
		if _, i := c.find(c.state.Exercise); i < 0 {
			return nil, fmt.Errorf("%s: there is no exercise %q any more; correct the file, or choose another --dir", c.path(stateFile), c.state.Exercise)
		}
		return c, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s exists, and lab learn has not made it; choose another folder with --dir", dir)
	}
	if inside(dir, origin) {
		return nil, fmt.Errorf("%s is inside the sources; choose a folder beside them with --dir", dir)
	}
	c.state = state{Origin: origin, Exercise: all[0].ID}
	want, err := c.sources()
	if err != nil {
		return nil, err
	}
	return c, c.write(want)
}

// readState reads the reader's place in a working copy.
func readState(dir string) (s state, err error) {
	file := filepath.Join(dir, filepath.FromSlash(stateFile))
	text, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w; choose another --dir: your work stays where it is", file, err)
	}
	return s, nil
}

// inside reports whether a path is in a folder.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func (c *workCopy) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

// keep writes the reader's place.
func (c *workCopy) keep() error {
	text, err := json.MarshalIndent(&c.state, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path(stateFile)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(c.path(stateFile), append(text, '\n'), 0o644)
}

// find returns an exercise and its index, or nil and -1.
func (c *workCopy) find(id string) (*exercise.Exercise, int) {
	i := slices.IndexFunc(c.all, func(e exercise.Exercise) bool { return e.ID == id })
	if i < 0 {
		return nil, -1
	}
	return &c.all[i], i
}

// next returns the first exercise after the current one that is not solved, or the first of all, or nil if all are solved.
func (c *workCopy) next() *exercise.Exercise {
	_, at := c.current()
	for n := range c.all {
		if e := &c.all[(at+1+n)%len(c.all)]; !slices.Contains(c.state.Solved, e.ID) {
			return e
		}
	}
	return nil
}

// current returns the exercise at the reader's place.
func (c *workCopy) current() (*exercise.Exercise, int) { return c.find(c.state.Exercise) }

// stubs returns the files of the current exercise as they are before the reader's work.
func (c *workCopy) stubs() ([]exercise.Stub, error) {
	e, _ := c.current()
	return e.Stubs(exercise.ReadFrom(c.origin))
}

// start saves the reader's work, and begins an exercise. It returns the folder with the saved files, or "" if the
// reader has changed nothing.
func (c *workCopy) start(id string) (saved string, err error) {
	if n, err := strconv.Atoi(id); err == nil && 0 < n && n <= len(c.all) { // the number in the list
		id = c.all[n-1].ID
	}
	if _, i := c.find(id); i < 0 {
		return "", fmt.Errorf("there is no exercise %q; `lab learn list` lists them", id)
	}
	before, err := c.sources()
	if err != nil {
		return "", err
	}
	changed, err := c.changed(before)
	if err != nil {
		return "", err
	}
	if len(changed) > 0 {
		if saved, err = c.save(changed); err != nil {
			return "", err
		}
	}
	for _, name := range changed { // a file that the real tree does not have is in the saved folder now
		if err := os.Remove(c.path(name)); err != nil {
			return "", err
		}
	}
	c.state.Exercise, c.state.Hints = id, 0
	want, err := c.sources()
	if err != nil {
		return "", err
	}
	return saved, c.write(want)
}

// solved notes that the current exercise is solved.
func (c *workCopy) solved() error {
	if !slices.Contains(c.state.Solved, c.state.Exercise) {
		c.state.Solved = append(c.state.Solved, c.state.Exercise)
	}
	return c.keep()
}

// save copies files into a new folder, and returns its path.
func (c *workCopy) save(files []string) (string, error) {
	if err := os.MkdirAll(c.path(savedFolder), 0o755); err != nil {
		return "", err
	}
	base := c.path(savedFolder + "/" + c.state.Exercise + "-" + time.Now().Format("20060102-150405"))
	dir := base
	for n := 2; ; n++ { // Mkdir fails if the folder exists, so no earlier work is overwritten
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		dir = fmt.Sprintf("%s-%d", base, n)
	}
	for _, name := range files {
		text, err := os.ReadFile(c.path(name))
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
