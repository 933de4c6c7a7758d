// Package trace records the system calls of a server while clients use it, and draws them: a lane for each thread,
// a bar for each call, and the actions of the clients above. strace(1) prints the calls.
package trace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/trace/draw"
	"fourways.example/lab/learner/trace/scene"
	"fourways.example/lab/learner/trace/tape"
)

// Command is `lab trace`.
type Command struct {
	Scenario string `arg:"" optional:"" default:"three-clients" help:"What the clients do: three-clients, or the name of a pitfall."`
	Stage    int    `help:"Trace only this stage (1 to 4)."`
	Out      string `short:"o" placeholder:"FILE" help:"The picture to write: FILE.svg, or FILE.json for Perfetto and about:tracing. The default is bin/trace/SCENARIO.svg and .json."`
	All      bool   `help:"Show the calls of the Go runtime, too, and a lane for each thread."`
	Tapes    string `placeholder:"FOLDER" help:"Draw the recordings in this folder instead of a new run."`
	Keep     string `placeholder:"FOLDER" help:"Write the recordings into this folder."`
}

// A recording is a tape, and the name of its file.
type recording struct {
	name string
	tape *tape.Tape
}

// Run records, and draws.
func (c *Command) Run(ctx context.Context) error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	all, err := c.recordings(ctx, repo)
	if err != nil {
		return err
	}
	for _, r := range all {
		if c.Keep != "" {
			if err := os.WriteFile(filepath.Join(c.Keep, r.name), []byte(r.tape.String()), 0o644); err != nil {
				return err
			}
		}
	}
	return c.write(repo, all)
}

// recordings returns what the scenario needs: new recordings, or those in a folder.
func (c *Command) recordings(ctx context.Context, repo *variants.Repo) ([]recording, error) {
	var all []recording
	for _, stage := range c.stages() {
		all = append(all, recording{name: fmt.Sprintf("%s-%d.strace", c.Scenario, stage)})
	}
	if c.Tapes != "" {
		return read(c.Tapes, all)
	}
	if err := straceMissing(); err != nil {
		return nil, err
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		return nil, err
	}
	defer shop.Close()
	for i, stage := range c.stages() {
		if all[i].tape, err = recordClients(ctx, shop, stage); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (c *Command) stages() []int {
	if c.Stage != 0 {
		return []int{c.Stage}
	}
	return []int{1, 2, 3, 4}
}

// read reads the tapes of recordings.
func read(dir string, all []recording) ([]recording, error) {
	for i := range all {
		text, err := os.ReadFile(filepath.Join(dir, all[i].name))
		if err != nil {
			return nil, err
		}
		if all[i].tape, err = tape.Read(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].name, err)
		}
	}
	return all, nil
}

// mostCalls is the greatest number of calls of one server in a picture.
const mostCalls = 2000

// picture lays out the scenes of the recordings.
func (c *Command) picture(all []recording) *draw.Picture {
	p := &draw.Picture{Title: "How the four stages wait for the same three clients", Text: threeText, SameAxis: true}
	for _, r := range all {
		s := scene.New(r.tape, scene.Options{All: c.All, Most: mostCalls})
		s.Result = waited(s)
		p.Scenes = append(p.Scenes, s)
	}
	return p
}

// write writes the picture.
func (c *Command) write(repo *variants.Repo, all []recording) error {
	p := c.picture(all)
	out := c.Out
	if out == "" {
		out = filepath.Join(repo.Root, "bin", "trace", c.Scenario+".svg")
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(out, p.SVG(), 0o644); err != nil {
		return err
	}
	fmt.Println(out)
	return nil
}
