package tree

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestCopy copies a folder into a folder inside it, twice.
func TestCopy(t *testing.T) {
	from := t.TempDir()
	for _, name := range []string{"a.go", "sub/b.go", ".git/config", "bin/lab", "sub/skipped/c.go", "sub/bin/d.go"} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(from, "out")
	for range 2 {
		if err := Copy(from, to, func(path string) bool { return path == "sub/skipped" }); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(to, path)
			got = append(got, name)
			if text, err := os.ReadFile(path); err != nil || string(text) != name {
				t.Errorf("%s holds %q, %v", name, text, err)
			}
		}
		return err
	})
	if want := []string{"a.go", "sub/b.go", "sub/bin/d.go"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("copied %q, %v; want %q", got, err, want)
	}
}
