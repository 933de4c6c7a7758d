package variants

import (
	"strings"
	"testing"
)

// TestPatch applies a patch to a file that has moved on.
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
			again, err := Renew([]byte(patch), func(string) (string, error) { return row.before, nil })
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
