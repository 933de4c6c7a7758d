package site

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeCache returns a cache with entries that have no file. loads counts the loads of each
// path.
func fakeCache(limit int, kinds map[string]kind) (c *cache, loads map[string]int) {
	loads = map[string]int{}
	c = newCache(limit, func(path string) (*entry, error) {
		loads[path]++
		e := &entry{kind: kinds[path]}
		if path[1] != '!' {
			e.kind = regular
		}
		e.refs.Store(1)
		return e, nil
	})
	return c, loads
}

// paths returns the paths of all entries, sorted.
func (c *cache) paths() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var all []string
	for p := range c.entries {
		all = append(all, p)
	}
	sort.Strings(all)
	return all
}

// TestReadAgain reads changed files into the same entry. The content must belong to the new
// stamp, not to the old one.
func TestReadAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	var e entry
	for i, want := range []string{"old", "new", "longer"} {
		if err := os.WriteFile(name, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if kind, err := e.read(f); kind != regular || err != nil || string(e.content) != want || e.size != int64(len(want)) {
			t.Errorf("kind %v, %v, with %q, %d bytes, want %q", kind, err, e.content, e.size, want)
		}
		f.Close()
	}
}

func TestCacheChecksDiskOncePerAge(t *testing.T) {
	c, loads := fakeCache(4, nil)
	for now := int64(0); now <= 2*maxAge; now += maxAge / 10 {
		e, _ := c.get([]byte("/a"), now)
		e.Release()
	}
	if loads["/a"] != 3 { // at time 0, after one maxAge, and after two
		t.Errorf("%d loads, want 3", loads["/a"])
	}
	for range 3 {
		e, _ := c.get([]byte("/!"), 0)
		e.Release()
	}
	if loads["/!"] != 3 {
		t.Errorf("%d loads of a path that is not a file, want 3: it must not be cached", loads["/!"])
	}
}

func TestCacheEvicts(t *testing.T) {
	c, _ := fakeCache(3, nil)
	get := func(path string, now int64) *entry {
		e, err := c.get([]byte(path), now)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	a := get("/a", 1) // least recently used, but being sent
	get("/b", 2).Release()
	get("/c", 3).Release()
	get("/b", 4).Release()
	get("/d", 5).Release()
	if diff := cmp.Diff([]string{"/a", "/b", "/d"}, c.paths()); diff != "" {
		t.Errorf("the least recently used idle entry is removed (-want +got):\n%s", diff)
	}
	b, d := get("/b", 6), get("/d", 7)
	e := get("/e", 8)
	if diff := cmp.Diff([]string{"/b", "/d", "/e"}, c.paths()); diff != "" {
		t.Errorf("if all entries are being sent, the least recently used is removed (-want +got):\n%s", diff)
	}
	if n := a.refs.Load(); n != 1 {
		t.Errorf("a removed entry that is being sent has %d references, want 1", n)
	}
	for _, e := range []*entry{a, b, d, e} {
		e.Release()
	}
	c.drop(func(*entry) bool { return true })
	for name, e := range map[string]*entry{"a": a, "b": b, "d": d, "e": e} {
		if n := e.refs.Load(); n != 0 {
			t.Errorf("%s has %d references at the end, want 0", name, n)
		}
	}
}

// TestEvictedWhileSent checks that a removed entry stays open until the response is sent.
func TestEvictedWhileSent(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"big": big})
	e, err := f.site.cache.get([]byte("/big"), 0)
	if err != nil {
		t.Fatal(err)
	}
	f.site.cache.drop(func(*entry) bool { return true })
	b := make([]byte, len(big))
	if _, err := e.file.ReadAt(b, 0); err != nil || string(b) != big {
		t.Errorf("reading a removed entry: %v", err)
	}
	e.Release()
	if _, err := e.file.ReadAt(b, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the last reference is released, but the file is still open: %v", err)
	}
}

func TestOutOfDescriptors(t *testing.T) {
	fail := 0
	c := newCache(4, nil)
	c.load = func(path string) (*entry, error) {
		if fail > 0 {
			fail--
			return nil, &os.PathError{Op: "openat", Path: path, Err: syscall.EMFILE}
		}
		file, err := os.Open(os.DevNull)
		e := &entry{kind: regular, file: file, stamp: stamp{size: 1}}
		e.refs.Store(1)
		return e, err
	}
	get := func(path string, now int64) (*entry, error) { return c.get([]byte(path), now) }

	busy, _ := get("/busy", 0)
	idle, _ := get("/idle", 0)
	idle.Release()
	fail = 1
	e, err := get("/new", 0)
	if err != nil {
		t.Fatalf("one failed open: %v, want a second attempt", err)
	}
	e.Release()
	if diff := cmp.Diff([]string{"/busy", "/new"}, c.paths()); diff != "" {
		t.Errorf("without descriptors, the cache removes idle entries (-want +got):\n%s", diff)
	}
	fail = 2
	if _, err := get("/newer", 0); !exhausted(err) {
		t.Errorf("two failed opens: %v, want EMFILE", err)
	}
	fail = 2
	old, err := get("/busy", maxAge)
	if err != nil || old != busy {
		t.Errorf("a failed check of the disk: %v, %v, want the old entry", old, err)
	}
	if n := busy.refs.Load(); n != 3 { // of the cache, busy and old
		t.Errorf("%d references, want 3", n)
	}
	busy.Release()
	old.Release()
	c.drop(func(*entry) bool { return true })
}

// TestCacheConcurrently uses a small cache in many goroutines while files change. Each
// entry must hold one version of its file, and no file may stay open at the end.
func TestCacheConcurrently(t *testing.T) {
	dir := t.TempDir()
	version := func(file, n int) string {
		text := fmt.Sprintf("%d.%d;", file, n)
		if file%2 == 0 {
			return strings.Repeat(text, 2*maxSmall/len(text))
		}
		return text
	}
	write := func(file, n int) error {
		tmp := filepath.Join(dir, fmt.Sprintf("tmp%d", file))
		if err := os.WriteFile(tmp, []byte(version(file, n)), 0o644); err != nil {
			return err
		}
		return os.Rename(tmp, filepath.Join(dir, fmt.Sprintf("f%d", file)))
	}
	const files = 8
	for i := range files {
		if err := write(i, 0); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.cache.limit = files / 2
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 300 {
				file := (i + worker) % files
				if worker == 0 && i%5 == 0 {
					if err := write(file, i); err != nil {
						t.Error(err)
					}
				}
				// Each call is maxAge later, so each checks the disk.
				e, err := s.cache.get(fmt.Appendf(nil, "/f%d", file), int64(i)*maxAge)
				if err != nil {
					t.Error(err)
					return
				}
				b := e.content
				if b == nil {
					b = make([]byte, e.size)
					if _, err := e.file.ReadAt(b, 0); err != nil {
						t.Error(err)
					}
				}
				first, _, _ := strings.Cut(string(b), ";")
				if strings.Trim(string(b), first+";") != "" || int64(len(b)) != e.size {
					t.Errorf("file %d: %.40q, %d bytes of %d", file, b, len(b), e.size)
				}
				e.Release()
			}
		})
	}
	all.Wait()
	if n := len(s.cache.entries); n > files/2 {
		t.Errorf("%d entries, want at most %d", n, files/2)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := openFiles(t, dir); n != 0 {
		t.Errorf("%d descriptors are still open", n)
	}
}

// TestOthersDoNotWait checks that while one worker checks the disk, the others use the old
// entry.
func TestOthersDoNotWait(t *testing.T) {
	c, _ := fakeCache(4, nil)
	e, _ := c.get([]byte("/a"), 0)
	e.Release()
	load := c.load
	loading, resume := make(chan bool), make(chan bool)
	c.load = func(path string) (*entry, error) {
		loading <- true
		<-resume
		return load(path)
	}
	done := make(chan *entry)
	go func() {
		e, _ := c.get([]byte("/a"), maxAge)
		done <- e
	}()
	<-loading
	got := make(chan *entry, 1)
	go func() {
		e, _ := c.get([]byte("/a"), maxAge)
		got <- e
	}()
	select {
	case other := <-got:
		if other != e {
			t.Error("the second worker got another entry, want the old one")
		}
	case <-loading:
		t.Error("two workers check the disk at the same time")
		resume <- true
	case <-time.After(10 * time.Second):
		t.Error("the second worker waits for the first")
	}
	resume <- true
	<-done
}

// TestUnchangedFileIsReleased checks that the cache keeps one reference to a file that has
// not changed: the file that it opened to find out is closed again.
func TestUnchangedFileIsReleased(t *testing.T) {
	var loaded []*entry
	c := newCache(4, func(string) (*entry, error) {
		e := &entry{kind: regular}
		e.refs.Store(1)
		loaded = append(loaded, e)
		return e, nil
	})
	for _, now := range []int64{0, maxAge} {
		e, err := c.get([]byte("/a"), now)
		if err != nil {
			t.Fatal(err)
		}
		e.Release()
	}
	if len(loaded) != 2 || loaded[0].refs.Load() != 1 || loaded[1].refs.Load() != 0 {
		t.Errorf("%d entries are loaded; the first has %d references, want the cache's", len(loaded), loaded[0].refs.Load())
	}
}
