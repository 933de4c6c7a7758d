// Package trace records the system calls of a server while clients use it, and draws them: a lane for each thread,
// a bar for each call, and the actions of the clients above. strace(1) prints the calls.
package trace

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"fourways.example/common/servertest/pitfalls"
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
	Every    bool   `help:"Record every pitfall, and write the pictures into bin/trace. It takes about two minutes."`
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
	if c.Stage < 0 || c.Stage > 4 {
		return fmt.Errorf("--stage %d: there are the stages 1 to 4", c.Stage)
	}
	if c.Every {
		return c.every(ctx, repo)
	}
	var p *pitfalls.Pitfall // nil for the three clients
	if c.Scenario != threeClients {
		if p, err = find(repo, c.Scenario); err != nil {
			return err
		}
	}
	all, err := c.recordings(ctx, repo, p)
	if err != nil {
		return err
	}
	if c.Keep != "" {
		for _, r := range all {
			if err := os.WriteFile(filepath.Join(c.Keep, r.name), []byte(r.tape.String()), 0o644); err != nil {
				return err
			}
		}
	}
	return c.write(repo, picture(all, p, c.All))
}

// recordings returns the recordings of the scenario: new ones, or those in a folder.
func (c *Command) recordings(ctx context.Context, repo *variants.Repo, p *pitfalls.Pitfall) ([]recording, error) {
	if c.Tapes != "" {
		return read(c.Tapes, c.names(p))
	}
	if err := straceMissing(); err != nil {
		return nil, err
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		return nil, err
	}
	defer shop.Close()
	switch {
	case p != nil && c.Stage != 0:
		return recordAt(ctx, shop, p, c.Stage)
	case p != nil:
		return recordBoth(ctx, shop, p)
	}
	var all []recording
	for i, name := range c.names(p) {
		stage := c.Stage
		if stage == 0 {
			stage = i + 1
		}
		t, err := recordClients(ctx, shop, stage)
		if err != nil {
			return nil, err
		}
		all = append(all, recording{name, t})
	}
	return all, nil
}

// names returns the names of the files of the recordings.
func (c *Command) names(p *pitfalls.Pitfall) []string {
	switch {
	case c.Stage != 0:
		return []string{fmt.Sprintf("%s-%d.strace", c.Scenario, c.Stage)}
	case p != nil:
		return []string{p.ID + "-broken.strace", p.ID + "-right.strace"}
	}
	var all []string
	for stage := range titles[1:] {
		all = append(all, fmt.Sprintf("%s-%d.strace", threeClients, stage+1))
	}
	return all
}

// read reads recordings from a folder.
func read(dir string, names []string) ([]recording, error) {
	var all []recording
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		t, err := tape.Read(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, recording{name, t})
	}
	return all, nil
}

const (
	mostCalls = 2000    // of one server in a picture
	mostLines = 200_000 // of one recording, with the calls that the picture leaves out
)

// picture lays out the scenes of recordings. p is nil for the three clients.
func picture(all []recording, p *pitfalls.Pitfall, everything bool) *draw.Picture {
	pic := &draw.Picture{Title: "How the four stages wait for the same three clients", Text: threeText, SameAxis: true}
	if p != nil {
		pic = &draw.Picture{Title: p.ID + ": " + p.Bug, Text: pitfallText}
	}
	for _, r := range all {
		s := scene.New(r.tape, scene.Options{All: everything, Most: mostCalls})
		if p == nil {
			s.Result = waited(s)
		}
		pic.Scenes = append(pic.Scenes, s)
	}
	return pic
}

// write writes the picture into the file that -o names, or in both forms into bin/trace.
func (c *Command) write(repo *variants.Repo, p *draw.Picture) error {
	files := []string{c.Out}
	if c.Out == "" {
		at := filepath.Join(repo.Root, "bin", "trace", c.Scenario)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		files = []string{at + ".svg", at + ".json"}
	}
	for _, file := range files {
		content := p.SVG()
		switch filepath.Ext(file) {
		case ".json":
			content = p.Events()
		case ".svg":
		default:
			return fmt.Errorf("-o %s: the name must end in .svg or .json", file)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
		fmt.Println(file)
	}
	return nil
}
