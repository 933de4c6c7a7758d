package servertest

import (
	"os"
	"path/filepath"
	"strings"
)

// folder makes a folder of its own for a case whose root must hold just this. What begins with
// "->" is a symbolic link.
func (t *T) folder(files map[string]string) *Root {
	t.Helper()
	top, err := os.MkdirTemp(filepath.Dir(t.Root.Dir), "folder-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.onEnd(func() { _ = os.RemoveAll(top) })
	r := &Root{Dir: filepath.Join(top, "root")}
	for _, dir := range []string{top, r.Dir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatalf("%v", err)
		}
		_ = os.Chmod(dir, 0o755)
	}
	for name, text := range files {
		to, link := strings.CutPrefix(text, "->")
		if !link {
			err = r.put(name, []byte(text))
		} else if err = os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err == nil {
			err = os.Symlink(to, r.Path(name))
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
	}
	return r
}

// file makes a file of the case's own in the shared root.
func (t *T) file(suffix string, data string) (name string) {
	t.Helper()
	name, err := t.Root.Write(suffix, []byte(data))
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.onEnd(func() { _ = os.Remove(t.Root.Path(name)) })
	return name
}

// must ends the case where something that is not the server's goes wrong.
func (t *T) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}
