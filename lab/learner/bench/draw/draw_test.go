package draw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/lab/learner/bench/result"
)

// read returns a picture, and fails unless it is well-formed.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return string(b)
}

// TestReport draws the pictures of a small report. Each is well-formed, has its title, a label for each server, the
// machine and a white ground, and no coordinate that is not a number.
func TestReport(t *testing.T) {
	r, err := result.Read("../testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pictures, err := Report(r, dir)
	if err != nil || len(pictures) != 6 {
		t.Fatalf("%d pictures, %v, want 6", len(pictures), err)
	}
	for _, p := range pictures {
		svg := read(t, filepath.Join(dir, p.File))
		wants := []string{p.Title, strings.TrimPrefix(r.Machine.Kernel, "Linux "), `width="700"`, `fill="#ffffff"`}
		if p.File == "stall.svg" {
			wants = append(wants, ">closed loop<", ">open loop<")
		} else {
			wants = append(wants, ">stage 1<", ">stage 4<", ">net/http<", ">fasthttp<", ">nginx<", ">h2o<", ">C floor<")
		}
		for _, want := range wants {
			if !strings.Contains(svg, want) {
				t.Errorf("%s does not contain %q", p.File, want)
			}
		}
		for _, bad := range []string{"NaN", "Inf"} {
			if strings.Contains(svg, bad) {
				t.Errorf("%s contains %q", p.File, bad)
			}
		}
	}
}

// TestEmptyReport checks that a picture without figures is not drawn, and that an old one does not stay.
func TestEmptyReport(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "cpu.svg")
	if err := os.WriteFile(old, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	pictures, err := Report(&result.Report{}, dir)
	if err != nil || len(pictures) != 0 {
		t.Errorf("%v, %v, want no picture", pictures, err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the picture of other figures: %v", err)
	}
}

// TestComparison draws a comparison in which nobody was served by some stages.
func TestComparison(t *testing.T) {
	cmp := &result.Comparison{Situations: []result.Situation{{Name: "Some <clients> & others", Text: "They ask.", Clients: 20}}}
	for stage := 1; stage <= 4; stage++ {
		cmp.Situations[0].Rows = append(cmp.Situations[0].Rows, result.Outcome{Stage: stage, Served: 5 * (stage - 1), P99: 1000 * float64(stage-1), Threads: stage, Memory: 1e6})
	}
	path, err := Comparison(cmp, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	svg := read(t, path)
	for _, want := range []string{">0 of 20<", ">15 of 20<", ">no response<", ">stage 4<", "&lt;clients&gt; &amp; others"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture does not contain %q", want)
		}
	}
}

// TestWrap checks that no line is longer than the limit, and that no word is lost.
func TestWrap(t *testing.T) {
	const text = "some words of different length that go on for a while"
	lines := wrap(text, 12)
	for _, l := range lines {
		if len(l) > 12 {
			t.Errorf("%q is longer than 12", l)
		}
	}
	if got := strings.Join(lines, " "); got != text {
		t.Errorf("%q, want %q", got, text)
	}
}
