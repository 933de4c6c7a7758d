// Package exercise cuts exercises from the real code. An exercise names functions. Their bodies are replaced by a
// panic; the signatures, the comments and all other code stay. So the code has no second copy, and an exercise cannot
// differ from it.
package exercise

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// An Exercise is a part of the code that a reader writes again.
type Exercise struct {
	ID      string
	Title   string
	Stage   int // the first stage that needs the code
	Minutes int // about as long as it takes; 0 is unknown
	Cuts    []Functions
	Missing string // what the code must do, in one line; the panic says it
	// Empty leaves the bodies empty, without a panic: the program runs without this code, but not well.
	Empty bool
	Bug   string // the pitfall whose bug the code has; then nothing is cut
	Check []Tests
	Hints [3]string // each says more than the one before
	Read  []string  // where the reader finds what to know
}

// Functions are functions of one file.
type Functions struct {
	File  string   // from the root of the repository, with slashes
	Names []string // "Listen", or "Buffer.Fill" for a method
}

// Tests are tests that a solution must pass.
type Tests struct {
	Dir     string   // the folder of the module
	Package string   // in the module, as go test wants it
	Run     string   // the pattern for -run
	Env     []string // additions to the environment
	// Limit ends tests that hang; 0 is unitLimit. go test then names the tests that were running.
	Limit time.Duration
}

const (
	unitLimit  = 10 * time.Second // the real code needs less than one
	suiteLimit = 25 * time.Second // a case may wait for an answer for 10 s, and says more than a time-out of go test
)

// All returns the exercises in their order: first those that are cut, then the bugs.
func All() []Exercise { return append(Gaps(), Bugs()...) }

// Gaps returns the exercises that are cut from the code, in the order of the stages.
func Gaps() []Exercise { return append(common(), servers()...) }

// Find returns the exercise with an ID, and its index in All.
func Find(id string) (*Exercise, int, error) {
	all := All()
	for i := range all {
		if all[i].ID == id {
			return &all[i], i, nil
		}
	}
	return nil, 0, fmt.Errorf("there is no exercise %q; `lab learn list` lists them", id)
}

// A Stub is a file from which an exercise is cut.
type Stub struct {
	File   string // from the root of the repository
	Text   []byte
	Pruned []string // the imports that only the cut functions used
}

// Stubs cuts the exercise from the files that read returns, or puts its bug into them.
func (e *Exercise) Stubs(read func(file string) ([]byte, error)) ([]Stub, error) {
	if e.Bug != "" {
		return e.broken(read)
	}
	var stubs []Stub
	for _, c := range e.Cuts {
		text, err := read(c.File)
		if err != nil {
			return nil, err
		}
		stub, pruned, err := cut(text, c.Names, e.body())
		if err != nil {
			return nil, fmt.Errorf("exercise %s: %s: %w", e.ID, c.File, err)
		}
		stubs = append(stubs, Stub{c.File, stub, pruned})
	}
	return stubs, nil
}

// body returns the body of a cut function.
func (e *Exercise) body() string {
	if e.Empty {
		return fmt.Sprintf("{\n\t// exercise %s: %s\n}", e.ID, e.Missing)
	}
	return fmt.Sprintf("{\n\tpanic(%q)\n}", "exercise "+e.ID+": "+e.Missing)
}

// Apply cuts the exercise from the files in a tree, and overwrites them.
func (e *Exercise) Apply(root string) error {
	stubs, err := e.Stubs(ReadFrom(root))
	if err != nil {
		return err
	}
	for _, s := range stubs {
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(s.File)), s.Text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ReadFrom returns a function that reads the files of a tree.
func ReadFrom(root string) func(string) ([]byte, error) {
	return func(file string) ([]byte, error) {
		return os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	}
}

// Command returns the command that runs the tests in a tree.
func (c *Tests) Command(ctx context.Context, root string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", c.args()...)
	cmd.Dir = filepath.Join(root, c.Dir)
	cmd.Env = append(os.Environ(), c.Env...)
	// The tests and their servers are children of go test: the end of ctx must end all of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

func (c *Tests) args() []string {
	return []string{
		"test", "-count=1", "-failfast", fmt.Sprintf("-timeout=%v", cmp.Or(c.Limit, unitLimit)),
		"-run", c.Run, c.Package,
	}
}

// Shell returns the command as a reader types it in the root of a tree.
func (c *Tests) Shell() string {
	words := append([]string{"cd", c.Dir, "&&"}, c.Env...)
	words = append(words, "go", "test")
	return strings.Join(append(words, "-run", "'"+c.Run+"'", c.Package), " ")
}

// String names the tests for a reader.
func (c *Tests) String() string {
	names := strings.NewReplacer("$/^fixed$", "", "$/^(", ": ", "|", ", ", "^", "", "$", "", "(", "", ")", "", "_", " ").Replace(c.Run)
	return strings.TrimSuffix(c.Dir+"/"+strings.TrimPrefix(c.Package, "./"), "/.") + ", " + names
}

// Grade runs the checks of the exercise in a tree, and stops at the first that fails. It returns the output of that one.
func (e *Exercise) Grade(ctx context.Context, root string) (passed bool, output string, err error) {
	for i := range e.Check {
		var out bytes.Buffer
		cmd := e.Check[i].Command(ctx, root)
		cmd.Stdout, cmd.Stderr = &out, &out
		switch err := cmd.Run(); {
		case ctx.Err() != nil:
			return false, "", ctx.Err()
		case err != nil && cmd.ProcessState == nil:
			return false, "", fmt.Errorf("cannot run go test: %w", err)
		case err != nil:
			return false, e.hide(out.String()), nil
		case strings.Contains(out.String(), "no tests to run"):
			return false, "", fmt.Errorf("exercise %s: no test is named like %s", e.ID, e.Check[i].Run)
		}
	}
	return true, "", nil
}
