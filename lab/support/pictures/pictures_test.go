// Package pictures copies the pictures of the stages from the site to docs/pictures, for the README of each stage.
package pictures

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/pictures anew")

const (
	site   = "../../../docs/site/index.html"
	folder = "../../../docs/pictures"
)

// opening is the start tag of a picture in the site.
var opening = regexp.MustCompile(`<svg viewBox="0 0 (\d+) (\d+)" role="img" aria-label="([^"]+)">`)

// style holds the colours of docs/site/style.css, which a picture in a README cannot use.
const style = `  <style>
    svg { fill: #fff; stroke: #5d6470; stroke-width: 1.5 }
    path { fill: none; stroke: #b9b5ac }
    .on { stroke: #0b6e6e; fill: #c8e0e0 }
    text { fill: #5d6470; stroke: none; font: 10px ui-monospace, monospace; text-anchor: middle }
    @media (prefers-color-scheme: dark) {
      svg { fill: #1d2126; stroke: #a2a8b2 }
      path { stroke: #5a626d }
      .on { stroke: #4fc3b7; fill: #284547 }
      text { fill: #a2a8b2 }
    }
  </style>
`

// TestPictures checks that docs/pictures/stageN.svg is the N-th picture of the site, and that the README
// of stage N shows it with the same description.
func TestPictures(t *testing.T) {
	page, err := os.ReadFile(site)
	if err != nil {
		t.Fatal(err)
	}
	pictures := opening.FindAllSubmatchIndex(page, -1)
	if len(pictures) != 4 {
		t.Fatalf("%s has %d pictures, want one for each of the four stages", site, len(pictures))
	}
	for i, at := range pictures {
		body, _, ok := bytes.Cut(page[at[1]:], []byte("</svg>"))
		if !ok {
			t.Fatalf("%s: picture %d does not end", site, i+1)
		}
		group := func(n int) string { return string(page[at[2*n]:at[2*n+1]]) }
		name := fmt.Sprintf("stage%d.svg", i+1)
		compare(t, filepath.Join(folder, name), alone(group(1), group(2), group(3), string(body)))
		shown(t, i+1, fmt.Sprintf("![%s](../docs/pictures/%s)", group(3), name))
	}
}

// alone returns a picture of the site as a file of its own, three times as large.
func alone(width, height, label, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %s %s\" width=\"480\" role=\"img\" aria-label=%q>\n", width, height, label)
	b.WriteString(style)
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString("  " + line + "\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// compare compares a file with what it should contain, or writes it if -update is set.
func compare(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v; go test ./support/pictures -update writes it", err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not the picture of %s; go test ./support/pictures -update writes it (-site, +file):\n%s", name, site, diff)
	}
}

// shown checks that the README of a stage has a line of Markdown.
func shown(t *testing.T, stage int, line string) {
	t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("../../../stage%d-*/README.md", stage))
	if err != nil || len(names) != 1 {
		t.Fatalf("the README of stage %d: %q, %v", stage, names, err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), line+"\n") {
		t.Errorf("%s lacks the line %s", names[0], line)
	}
}
