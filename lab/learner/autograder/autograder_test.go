package autograder

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fourways.example/common/servertest/record"
	"fourways.example/lab/support/slow"
)

// top is the root of the repository.
var top = filepath.Join("..", "..", "..")

// build compiles a package of the repository without cgo, so that it is linked statically.
func build(t *testing.T, folder, out string) string {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", out, ".")
	cmd.Dir = filepath.Join(top, folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", folder, err, said)
	}
	return out
}

// unpack extracts the archive as Gradescope does, and returns the names in it.
func unpack(t *testing.T, archive, dir string) (names []string) {
	t.Helper()
	z, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		names = append(names, f.Name)
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name), data, 0o644) // the modes are lost on some ways
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestArchive checks what is in the archive, and that a dynamically linked lab is refused.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Command{Stage: 3, Out: filepath.Join(dir, "a.zip"), Flags: []string{"--max-memory=2048"}}
	c.program = build(t, "lab/learner/grade/testdata/exits", filepath.Join(dir, "lab"))
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	names := unpack(t, c.Out, filepath.Join(dir, "source"))
	if want := []string{"setup.sh", "run_autograder", "stage", "flags", "lab", "spec.md", "weights.txt"}; !slices.Equal(names, want) {
		t.Errorf("the archive has %q, want %q", names, want)
	}
	for name, want := range map[string]string{"stage": "3\n", "flags": "--max-memory=2048\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, "source", name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
		}
	}
	if c.program = "/bin/sh"; static(c.program) == nil {
		t.Skip("/bin/sh is linked statically here")
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("a dynamic program: %v", err)
	}
}

// results is the shape of results.json as https://gradescope-autograders.readthedocs.io/en/latest/specs/ documents it.
// Package grade has a type of its own, so that a change there is noticed here.
type results struct {
	Score            *float64       `json:"score"`
	ExecutionTime    *float64       `json:"execution_time"`
	Output           string         `json:"output"`
	OutputFormat     string         `json:"output_format"`
	TestOutputFormat string         `json:"test_output_format"`
	TestNameFormat   string         `json:"test_name_format"`
	Visibility       string         `json:"visibility"`
	StdoutVisibility string         `json:"stdout_visibility"`
	ExtraData        map[string]any `json:"extra_data"`
	Tests            []struct {
		Score        *float64       `json:"score"`
		MaxScore     *float64       `json:"max_score"`
		Status       string         `json:"status"`
		Name         string         `json:"name"`
		NameFormat   string         `json:"name_format"`
		Number       string         `json:"number"`
		Output       string         `json:"output"`
		OutputFormat string         `json:"output_format"`
		Tags         []string       `json:"tags"`
		Visibility   string         `json:"visibility"`
		ExtraData    map[string]any `json:"extra_data"`
	} `json:"tests"`
	Leaderboard []any `json:"leaderboard"`
}

var (
	visibilities = []string{"", "hidden", "after_due_date", "after_published", "visible"}
	formats      = []string{"", "text", "html", "simple_format", "md", "ansi"}
)

// check reads results.json, and checks it against its documentation.
func check(t *testing.T, file string) results {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var res results
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&res); err != nil {
		t.Fatalf("%v:\n%s", err, data)
	}
	if res.Score == nil || res.ExecutionTime == nil || len(res.Tests) == 0 {
		t.Fatalf("the score, the time or the tests are missing:\n%s", data)
	}
	if !slices.Contains(visibilities, res.Visibility) || !slices.Contains(visibilities, res.StdoutVisibility) || !slices.Contains(formats, res.OutputFormat) {
		t.Errorf("visibility %q, stdout_visibility %q, output_format %q", res.Visibility, res.StdoutVisibility, res.OutputFormat)
	}
	sum := 0.0
	for _, test := range res.Tests {
		if test.Score == nil || test.MaxScore == nil || *test.Score > *test.MaxScore || test.Name == "" ||
			test.Status != "passed" && test.Status != "failed" ||
			!slices.Contains(visibilities, test.Visibility) || !slices.Contains(formats, test.OutputFormat) {
			t.Errorf("a bad test: %+v", test)
			continue
		}
		sum += *test.Score
	}
	if math.Abs(sum-*res.Score) > 0.05 {
		t.Errorf("the score is %v, the sum of the tests' is %v", *res.Score, sum)
	}
	return res
}

// A course is the folder /autograder of Gradescope, somewhere else.
type course struct{ dir string }

// newCourse unpacks an archive, and runs its setup script.
func newCourse(t *testing.T, lab string, flags ...string) course {
	t.Helper()
	c := course{t.TempDir()}
	archive := filepath.Join(c.dir, "autograder.zip")
	if err := (&Command{Stage: 2, Out: archive, Flags: flags, program: lab}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	unpack(t, archive, filepath.Join(c.dir, "source"))
	if said, err := c.command("bash", filepath.Join("source", "setup.sh")).CombinedOutput(); err != nil {
		t.Fatalf("setup.sh: %v\n%s", err, said)
	}
	run, err := os.ReadFile(filepath.Join(c.dir, "source", "run_autograder"))
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "run_autograder"), run, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c course) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "AUTOGRADER="+c.dir)
	return cmd
}

// submit grades a submission: files by their names.
func (c course) submit(t *testing.T, files map[string][]byte) results {
	t.Helper()
	for _, dir := range []string{"submission", "results"} { // Gradescope starts a new container
		if err := os.RemoveAll(filepath.Join(c.dir, dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(c.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(c.dir, "submission", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := c.command(filepath.Join(c.dir, "run_autograder")).CombinedOutput(); err != nil {
		t.Fatalf("run_autograder: %v\n%s", err, said)
	}
	return check(t, filepath.Join(c.dir, "results", "results.json"))
}

// TestSlowGradescope grades submissions as Gradescope does: the setup script once, then the run script for each.
func TestSlowGradescope(t *testing.T) {
	slow.Test(t)
	for _, tool := range []string{"bash", "make", "cc", "python3"} {
		if _, err := exec.LookPath(tool); err != nil && os.Getuid() != 0 {
			record.Missing(t, "needs %s: %v", tool, err) // setup.sh would install it, as root
		}
	}
	dir := t.TempDir()
	lab := build(t, "lab", filepath.Join(dir, "lab"))
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	server := read(build(t, "stage2-threadpool", filepath.Join(dir, "server")))
	testdata := filepath.Join(top, "lab", "learner", "grade", "testdata")

	few := newCourse(t, lab, "-t first-* -t host")
	t.Run("python", func(t *testing.T) {
		res := few.submit(t, map[string][]byte{"server.py": read(filepath.Join(testdata, "first.py"))})
		if *res.Score <= 0 || res.Tests[0].Status != "passed" || res.Tests[1].Status != "failed" || !strings.Contains(res.Output, "Next: a request in pieces") {
			t.Errorf("%v points, %+v:\n%s", *res.Score, res.Tests[:2], res.Output)
		}
	})
	t.Run("a Makefile that fails", func(t *testing.T) {
		res := few.submit(t, map[string][]byte{"Makefile": []byte("all:\n\tcc no-such-file.c\n"), "server": server})
		if *res.Score != 0 || !strings.Contains(res.Output, "no-such-file.c") || !strings.Contains(res.Output, "The build ended with status 2") {
			t.Errorf("%v points:\n%s", *res.Score, res.Output)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if res := few.submit(t, nil); *res.Score != 0 || !strings.Contains(res.Output, "There is no program to grade") {
			t.Errorf("%v points:\n%s", *res.Score, res.Output)
		}
	})
	t.Run("stage 2", func(t *testing.T) {
		res := newCourse(t, lab).submit(t, map[string][]byte{"server": server})
		if limit, _ := res.ExtraData["max"].(float64); *res.Score < 0.98*limit || limit < 50 {
			t.Errorf("%v of %v points:\n%s", *res.Score, limit, res.Output)
		}
		if !strings.Contains(res.Output, "no network but loopback") && !strings.Contains(res.Output, "allows no network namespaces") {
			t.Errorf("the output does not say what confines the program:\n%s", res.Output)
		}
		t.Log(res.Output)
	})
}
