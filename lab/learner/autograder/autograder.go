// Package autograder makes the archive that Gradescope grades submissions with.
//
// The archive has this program, so it must be linked statically: the image of Gradescope may have another C library.
package autograder

import (
	"archive/zip"
	"cmp"
	"context"
	"debug/elf"
	_ "embed" // the scripts
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fourways.example/common/servertest/variants"
)

// Command is `lab autograder`.
type Command struct {
	Stage   int      `required:"" placeholder:"N" help:"The stage that the submissions implement, 1 to 4."`
	Out     string   `short:"o" placeholder:"FILE" help:"The archive. The default is bin/autograder-stageN.zip."`
	Weights string   `placeholder:"FILE" help:"The points of each category. The default is lab/learner/grade/weights.txt."`
	Flags   []string `placeholder:"FLAG" help:"A further flag of lab grade, such as --flags=--max-memory=2048. The flag may be repeated."`

	program string // for tests; "" is this program
}

//go:embed setup.sh
var setup string

//go:embed run_autograder
var run string

// Run makes the archive.
func (c *Command) Run(context.Context) error {
	if c.Stage < 1 || c.Stage > 4 {
		return fmt.Errorf("--stage %d: the stages are 1 to 4", c.Stage)
	}
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	lab := c.program
	if lab == "" {
		if lab, err = os.Executable(); err != nil {
			return err
		}
	}
	if err := static(lab); err != nil {
		return err
	}
	out := cmp.Or(c.Out, filepath.Join(repo.Root, "bin", fmt.Sprintf("autograder-stage%d.zip", c.Stage)))
	if err := c.write(out, lab, repo.Root); err != nil {
		return fmt.Errorf("making %s: %w", out, err)
	}
	fmt.Printf("%s: upload it to Gradescope as the autograder of a programming assignment\n", out)
	return nil
}

func (c *Command) write(out, lab, root string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z := zip.NewWriter(f)
	for _, file := range []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"setup.sh", setup, 0o755},
		{"run_autograder", run, 0o755},
		{"stage", fmt.Sprintln(c.Stage), 0o644},
		{"flags", strings.Join(c.Flags, " ") + "\n", 0o644},
	} {
		if err := add(z, file.name, file.mode, strings.NewReader(file.text)); err != nil {
			return err
		}
	}
	for _, file := range []struct {
		name, from string
		mode       fs.FileMode
	}{
		{"lab", lab, 0o755},
		{"spec.md", filepath.Join(root, "docs", "spec.md"), 0o644},
		{"weights.txt", cmp.Or(c.Weights, filepath.Join(root, "lab", "learner", "grade", "weights.txt")), 0o644},
	} {
		if err := copyInto(z, file.name, file.mode, file.from); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

func copyInto(z *zip.Writer, name string, mode fs.FileMode, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return add(z, name, mode, in)
}

func add(z *zip.Writer, name string, mode fs.FileMode, in io.Reader) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Now()}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}

// static returns an error if the program needs a dynamic linker.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically, so it may not run at Gradescope; build it with CGO_ENABLED=0, as `make autograder` does", program)
		}
	}
	return nil
}
