package book

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/book/weave"
)

// RunBlocks carries out the console blocks of the book and returns the ones whose output is another one. A block
// that needs a program that this machine lacks is left out, and fails if CI is set.
func RunBlocks(ctx context.Context, repo string) (bad []string, err error) {
	pages, err := Chapters(repo)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "book")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tree, err := variants.FindRepo(repo)
	if err != nil {
		return nil, err
	}
	workshop, err := tree.NewWorkshop()
	if err != nil {
		return nil, err
	}
	defer workshop.Close()
	r := runner{repo: tree, workshop: workshop, dir: dir, built: map[string]*process.Program{}}
	for _, p := range pages {
		directives, err := p.Parse()
		if err != nil {
			return nil, err
		}
		for _, d := range directives {
			if d.Kind != "run" {
				continue
			}
			if err := r.run(ctx, d); err != nil {
				bad = append(bad, fmt.Sprintf("%s:%d: %v", p.Path, d.Line, err))
			}
		}
	}
	return bad, nil
}

type runner struct {
	repo     *variants.Repo
	workshop *variants.Workshop
	dir      string
	built    map[string]*process.Program
}

// run carries out one block, in the root of the repository. The option server starts a stage or a step for it, with
// the flags of the option flags, for the folder docs/site. The option needs names programs.
func (r *runner) run(ctx context.Context, d weave.Directive) error {
	for name := range strings.FieldsSeq(d.Options["needs"]) {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				return fmt.Errorf("needs %s, which is missing", name)
			}
			return nil
		}
	}
	free, err := process.FreePort() // for a block that starts a server itself
	if err != nil {
		return err
	}
	port := strconv.Itoa(free)
	// What a block leaves in $TMPDIR is removed at the end.
	env := []string{"USER_NAME=demo", "USER_PASS=demo", "TMPDIR=" + r.dir}
	if name := d.Options["server"]; name != "" {
		program, err := r.build(ctx, name)
		if err != nil {
			return err
		}
		server, err := program.Begin(process.Config{
			Root: filepath.Join(r.repo.Root, "docs", "site"), Flags: strings.Fields(d.Options["flags"]),
			Env: []string{"USER_NAME=demo", "USER_PASS=demo", "SECRET=for the book"},
		})
		if err != nil {
			return err
		}
		defer server.Kill()
		port = strconv.Itoa(server.Port)
		env = append(env, "SERVER_PID="+strconv.Itoa(server.PID()))
	}
	return d.Run(ctx, r.repo.Root, port, env)
}

// build builds a stage ("2") or a step ("4b").
func (r *runner) build(ctx context.Context, name string) (*process.Program, error) {
	if p := r.built[name]; p != nil {
		return p, nil
	}
	p, err := r.buildNew(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", name, err)
	}
	r.built[name] = p
	return p, nil
}

func (r *runner) buildNew(ctx context.Context, name string) (*process.Program, error) {
	if stage, err := strconv.Atoi(name); err == nil {
		if stage < 1 || stage >= len(stages.Dirs) {
			return nil, errors.New("there is no such stage")
		}
		return r.workshop.Real(ctx, stage)
	}
	return r.repo.BuildStep(ctx, name, filepath.Join(r.dir, "step-"+name))
}
