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

// fakeCache is a cache over entries that are no files, and counts its loads.
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

// TestReadAgain: content belongs to the stamp beside it, also where the entry had other content before.
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
		if kind := e.read(f); kind != regular || string(e.content) != want || e.size != int64(len(want)) {
			t.Errorf("kind %v with %q, %d bytes, want %q", kind, e.content, e.size, want)
		}
		f.Close()
	}
}

func TestCacheLooksOncePerAge(t *testing.T) {
	c, loads := fakeCache(4, nil)
	for now := int64(0); now <= 2*maxAge; now += maxAge / 10 {
		e, _ := c.get([]byte("/a"), now)
		e.Release()
	}
	if loads["/a"] != 3 { // the first, at one age, and at two
		t.Errorf("looked %d times, want 3", loads["/a"])
	}
	for range 3 {
		e, _ := c.get([]byte("/!"), 0)
		e.Release()
	}
	if loads["/!"] != 3 {
		t.Errorf("what is no file was kept: looked %d times, want 3", loads["/!"])
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
	a := get("/a", 1) // used longest ago, but being sent
	get("/b", 2).Release()
	get("/c", 3).Release()
	get("/b", 4).Release()
	get("/d", 5).Release()
	if diff := cmp.Diff([]string{"/a", "/b", "/d"}, c.paths()); diff != "" {
		t.Errorf("the one idle for longest goes first (-want +got):\n%s", diff)
	}
	b, d := get("/b", 6), get("/d", 7)
	e := get("/e", 8)
	if diff := cmp.Diff([]string{"/b", "/d", "/e"}, c.paths()); diff != "" {
		t.Errorf("if all are being sent, the one used longest ago goes (-want +got):\n%s", diff)
	}
	if n := a.refs.Load(); n != 1 {
		t.Errorf("an entry that is being sent has %d references when it is evicted, want 1", n)
	}
	for _, e := range []*entry{a, b, d, e} {
		e.Release()
	}
	c.drop(func(*entry) bool { return true })
	for name, e := range map[string]*entry{"a": a, "b": b, "d": d, "e": e} {
		if n := e.refs.Load(); n != 0 {
			t.Errorf("%s has %d references at the end", name, n)
		}
	}
}

// An entry that is evicted while it is sent stays open until the response is out.
func TestEvictedWhileSent(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"big": big})
	e, err := f.site.cache.get([]byte("/big"), 0)
	if err != nil {
		t.Fatal(err)
	}
	f.site.cache.drop(func(*entry) bool { return true })
	b := make([]byte, len(big))
	if _, err := e.file.ReadAt(b, 0); err != nil || string(b) != big {
		t.Errorf("reading an evicted entry: %v", err)
	}
	e.Release()
	if _, err := e.file.ReadAt(b, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the last reference is gone, but the file is open: %v", err)
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
		t.Fatalf("one failure: %v, want a second attempt", err)
	}
	e.Release()
	if diff := cmp.Diff([]string{"/busy", "/new"}, c.paths()); diff != "" {
		t.Errorf("idle entries make room (-want +got):\n%s", diff)
	}
	fail = 2
	if _, err := get("/newer", 0); !exhausted(err) {
		t.Errorf("two failures: %v, want EMFILE", err)
	}
	fail = 2
	old, err := get("/busy", maxAge)
	if err != nil || old != busy {
		t.Errorf("a look that fails: %v, %v, want the old entry", old, err)
	}
	if n := busy.refs.Load(); n != 3 { // cache, busy, old
		t.Errorf("%d references, want 3", n)
	}
	busy.Release()
	old.Release()
	c.drop(func(*entry) bool { return true })
}

// Many threads, few places, files that change all the time: what a response sees is
// one version of a file, and nothing is left open at the end.
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
				// Each call is an age later: every one looks at the disk.
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
		t.Errorf("%d entries, at most %d", n, files/2)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := openFiles(t, dir); n != 0 {
		t.Errorf("%d descriptors are still open", n)
	}
}

// While one worker looks at the disk, the others go on with what there is.
func TestOthersDoNotWait(t *testing.T) {
	c, _ := fakeCache(4, nil)
	e, _ := c.get([]byte("/a"), 0)
	e.Release()
	load := c.load
	looking, goOn := make(chan bool), make(chan bool)
	c.load = func(path string) (*entry, error) {
		looking <- true
		<-goOn
		return load(path)
	}
	done := make(chan *entry)
	go func() {
		e, _ := c.get([]byte("/a"), maxAge)
		done <- e
	}()
	<-looking
	got := make(chan *entry, 1)
	go func() {
		e, _ := c.get([]byte("/a"), maxAge)
		got <- e
	}()
	select {
	case other := <-got:
		if other != e {
			t.Error("another entry")
		}
	case <-looking:
		t.Error("two look at once")
		goOn <- true
	case <-time.After(10 * time.Second):
		t.Error("the second waits for the first")
	}
	goOn <- true
	<-done
}
