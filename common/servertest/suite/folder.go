package suite

import (
	"os"
	"path/filepath"
	"strings"

	"fourways.example/common/servertest/docroot"
)

// Folder creates a root folder that holds exactly these files, by name. A content of "->TARGET" makes a symbolic
// link to TARGET. The folder is removed when the case ends.
func (t *T) Folder(files map[string]string) *docroot.Root {
	t.Helper()
	top, err := os.MkdirTemp(filepath.Dir(t.Root.Dir), "folder-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.OnEnd(func() { _ = os.RemoveAll(top) })
	r := &docroot.Root{Dir: filepath.Join(top, "root")}
	for _, dir := range []string{top, r.Dir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatalf("%v", err)
		}
		_ = os.Chmod(dir, 0o755)
	}
	for name, text := range files {
		to, link := strings.CutPrefix(text, "->")
		if !link {
			err = r.Put(name, []byte(text))
		} else if err = os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err == nil {
			err = os.Symlink(to, r.Path(name))
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
	}
	return r
}

// File creates a file with a fresh name in the shared root. It is removed when the case ends.
func (t *T) File(suffix string, data string) (name string) {
	t.Helper()
	name, err := t.Root.Write(suffix, []byte(data))
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.OnEnd(func() { _ = os.Remove(t.Root.Path(name)) })
	return name
}

// Must ends the case if the test itself, not the server, meets an error.
func (t *T) Must(err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}
