package cases

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// claims returns the names of all claims in docs/spec.md.
func claims(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range regexp.MustCompile("(?m)^- `([a-z0-9-]+)`: ").FindAllSubmatch(doc, -1) {
		if id := string(m[1]); slices.Contains(ids, id) {
			t.Errorf("docs/spec.md has the claim %s twice", id)
		} else {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Fatal("no claims in docs/spec.md")
	}
	return ids
}

// TestComplete checks that each claim of docs/spec.md has a case, and that each case names only claims
// of docs/spec.md.
func TestComplete(t *testing.T) {
	ids := claims(t)
	names := map[string]bool{}
	tested := map[string]bool{}
	for _, c := range All() {
		if names[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		names[c.Name] = true
		if c.Run == nil || len(c.IDs) == 0 {
			t.Errorf("case %s has no function or names no claim", c.Name)
		}
		for _, id := range c.IDs {
			tested[id] = true
			if !slices.Contains(ids, id) {
				t.Errorf("case %s names the claim %s, which is not in docs/spec.md", c.Name, id)
			}
		}
	}
	for _, id := range ids {
		if !tested[id] {
			t.Errorf("the claim %s has no case", id)
		}
	}
	t.Logf("%d claims, %d cases", len(ids), len(names))
}
