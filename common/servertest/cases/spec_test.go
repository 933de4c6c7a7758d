package cases

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// claims reads the names of all claims from docs/spec.md.
func claims(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range regexp.MustCompile("(?m)^- `([a-z0-9-]+)`: ").FindAllSubmatch(doc, -1) {
		if id := string(m[1]); slices.Contains(ids, id) {
			t.Errorf("%s is claimed twice", id)
		} else {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Fatal("no claims in docs/spec.md")
	}
	return ids
}

// TestComplete holds the claims of docs/spec.md and those of the cases against each other.
func TestComplete(t *testing.T) {
	ids := claims(t)
	names := map[string]bool{}
	proven := map[string]bool{}
	for _, c := range All() {
		if names[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		names[c.Name] = true
		if c.Run == nil || len(c.IDs) == 0 {
			t.Errorf("case %s proves nothing", c.Name)
		}
		for _, id := range c.IDs {
			proven[id] = true
			if !slices.Contains(ids, id) {
				t.Errorf("case %s proves %s, which docs/spec.md does not claim", c.Name, id)
			}
		}
	}
	for _, id := range ids {
		if !proven[id] {
			t.Errorf("%s has no case", id)
		}
	}
	t.Logf("%d claims, %d cases", len(ids), len(names))
}
