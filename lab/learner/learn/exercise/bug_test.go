package exercise

import (
	"strings"
	"testing"

	"fourways.example/common/servertest/variants"
)

// TestFix puts each pitfall's bug into the real code, and takes it out again with the fix.
func TestFix(t *testing.T) {
	read := ReadFrom(repo(t).Root)
	for _, e := range Bugs() {
		fix, err := e.Fix(read)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(fix.Page); err != nil || fix.Fault == "" {
			t.Errorf("%s: the fault %q, %v", e.ID, fix.Fault, err)
		}
		patch, err := read(e.pitfallDir() + "/bug.patch")
		if err != nil {
			t.Fatal(err)
		}
		bug, back := parsePatch(t, patch), parsePatch(t, fix.Patch)
		for i := range bug {
			text, err := read(bug[i].Path)
			if err != nil {
				t.Fatal(err)
			}
			bad, err := bug[i].Apply(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if good, err := back[i].Apply(bad); err != nil || good != string(text) || bad == good {
				t.Errorf("%s: the fix of %s does not give the real code back: %v", e.ID, bug[i].Path, err)
			}
		}
		for line := range strings.Lines(string(fix.Patch)) {
			if strings.HasPrefix(line, "+++ a/") {
				t.Errorf("%s: %s", e.ID, line)
			}
		}
	}
}

func parsePatch(t *testing.T, text []byte) []variants.FilePatch {
	t.Helper()
	files, err := variants.ParsePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReverse turns a small patch round.
func TestReverse(t *testing.T) {
	const patch = "--- a/f\n+++ b/f\n@@ -1,3 +1,4 @@\n a\n-b\n+c\n+d\n e\n@@ -9,2 +10,1 @@\n-x\n y\n"
	const want = "--- a/f\n+++ b/f\n@@ -1,4 +1,3 @@\n a\n-c\n-d\n+b\n e\n@@ -10,1 +9,2 @@\n+x\n y\n"
	if got := string(reverse([]byte(patch))); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestHintsNameAPlaceOnce reads the hints of the bugs.
func TestHintsNameAPlaceOnce(t *testing.T) {
	for _, e := range Bugs() {
		_, places, _ := strings.Cut(strings.TrimSuffix(e.Hints[1], "."), " with ")
		seen := map[string]bool{}
		for _, p := range strings.Split(places, ", ") {
			if seen[p] {
				t.Errorf("%s: %q is named twice", e.ID, p)
			}
			seen[p] = true
		}
	}
}
