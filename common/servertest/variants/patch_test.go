package variants

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

// TestPatch applies and renews a patch for a file that has changed.
func TestPatch(t *testing.T) {
	const patch = "--- a/d/f.go\n+++ b/d/f.go\n@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n@@ -6,2 +6,3 @@\n f\n+F\n g\n"
	files, err := ParsePatch([]byte(patch))
	if err != nil || len(files) != 1 || files[0].Path != "d/f.go" {
		t.Fatalf("%+v, %v", files, err)
	}
	for _, row := range []struct{ name, before, after, renewed string }{
		{"as it was", "a\nb\nc\nd\ne\nf\ng\n", "a\nb\nC\nd\ne\nf\nF\ng\n", ""},
		{"moved", "0\n1\na\nb\nc\nd\nx\nx\ne\nf\ng\n", "0\n1\na\nb\nC\nd\nx\nx\ne\nf\nF\ng\n", ""},
		{"other lines around", "a\nB\nc\nD\ne\nf\ng\n", "", "a\nB\nC\nD\ne\nf\nF\ng\n"},
		{"changed", "a\nb\nz\nd\ne\nf\ng\n", "", ""},
		{"in two places", "x\na\nb\nc\nd\ny\nb\nc\nd\ne\nf\ng\n", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := files[0].Apply(row.before)
			if got != row.after {
				t.Errorf("Apply: %q, %v; want %q", got, err, row.after)
			}
			if err != nil && !strings.Contains(err.Error(), "--renew") {
				t.Errorf("Apply does not say how to renew it: %v", err)
			}
			again, err := Renew([]byte(patch), fstest.MapFS{"d/f.go": {Data: []byte(row.before)}})
			want := row.after + row.renewed
			if want == "" {
				if err == nil {
					t.Errorf("Renew: %s", again)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			files, err := ParsePatch(again)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := files[0].Apply(row.before); got != want {
				t.Errorf("Renew: %q, %v; want %q\n%s", got, err, want, again)
			}
		})
	}
}

// TestRenewMoved renews a patch for lines that have moved to another file of the folder.
func TestRenewMoved(t *testing.T) {
	const patch = "--- a/d/f.go\n+++ b/d/f.go\n@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n@@ -6,3 +6,4 @@\n f\n+F\n g\n h\n"
	for _, row := range []struct {
		name  string
		files map[string]string
		want  map[string]string // the files after the patch; nil is a stale patch
	}{
		{
			"one hunk",
			map[string]string{"d/f.go": "e\nf\ng\nh\n", "d/g.go": "a\nb\nc\nd\n", "d/h.go": "x\n"},
			map[string]string{"d/f.go": "e\nf\nF\ng\nh\n", "d/g.go": "a\nb\nC\nd\n"},
		},
		{
			"both hunks, in the other order",
			map[string]string{"d/g.go": "e\nf\ng\nh\na\nb\nc\nd\n"},
			map[string]string{"d/g.go": "e\nf\nF\ng\nh\na\nb\nC\nd\n"},
		},
		{
			"with other lines around",
			map[string]string{"d/f.go": "e\nf\ng\nh\n", "d/g.go": "a\nB\nc\nD\n"},
			map[string]string{"d/f.go": "e\nf\nF\ng\nh\n", "d/g.go": "a\nB\nC\nD\n"},
		},
		{"to two files", map[string]string{"d/f.go": "e\nf\ng\nh\n", "d/g.go": "b\nc\nd\n", "d/h.go": "b\nc\nd\n"}, nil},
		{"twice to one file", map[string]string{"d/f.go": "e\nf\ng\nh\n", "d/g.go": "b\nc\nd\nb\nc\nd\n"}, nil},
		{"to a test", map[string]string{"d/f.go": "e\nf\ng\nh\n", "d/g_test.go": "b\nc\nd\n"}, nil},
		{"to another folder", map[string]string{"d/f.go": "e\nf\ng\nh\n", "e/g.go": "b\nc\nd\n"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, text := range row.files {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
			again, err := Renew([]byte(patch), tree)
			if row.want == nil {
				if !errors.Is(err, ErrStale) {
					t.Errorf("got %v, want ErrStale\n%s", err, again)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			files, err := ParsePatch(again)
			if err != nil || len(files) != len(row.want) {
				t.Fatalf("%d files, %v; want %d\n%s", len(files), err, len(row.want), again)
			}
			for _, f := range files {
				if got, err := f.Apply(row.files[f.Path]); got != row.want[f.Path] {
					t.Errorf("%s: %q, %v; want %q\n%s", f.Path, got, err, row.want[f.Path], again)
				}
			}
		})
	}
}
