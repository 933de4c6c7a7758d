package site

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bothWays runs a test with the kernel's openat2 and with os.Root, which replaces it where it
// is missing.
func bothWays(t *testing.T, test func(t *testing.T, serve func(Config, map[string]string) *fixture, walker bool)) {
	for _, walker := range []bool{false, true} {
		name := "openat2"
		if walker {
			name = "os.Root"
		}
		t.Run(name, func(t *testing.T) {
			test(t, func(c Config, files map[string]string) *fixture {
				t.Helper()
				f := serveSite(t, c, files)
				r, err := openRootBy(f.site.name, func(*os.File) (bool, error) { return !walker, nil })
				if err != nil {
					t.Fatal(err)
				}
				old := f.site.root
				f.site.root = r
				f.site.release(old)
				return f
			}, walker)
		})
	}
}

func TestBeneath(t *testing.T) {
	bothWays(t, func(t *testing.T, serve func(Config, map[string]string) *fixture, walker bool) {
		files := map[string]string{
			"a.txt": "a", "sub/b.txt": "b", "private/x": "secret",
			"in": "-> a.txt", "sub/up": "-> ../a.txt", "folder": "-> sub", "to-private": "-> private",
			"out": "-> ../../../../etc/passwd", "abs": "-> /etc/passwd", "dir-out": "-> ../", "loop": "-> loop",
			"back": "-> sub/../../" + filepath.Base(t.TempDir()),
			"l1":   "-> a.txt",
		}
		for i := 2; i <= 50; i++ {
			files[fmt.Sprintf("l%d", i)] = fmt.Sprintf("-> l%d", i-1)
		}
		f := serve(withAccount(Config{}), files)
		abs := filepath.Join(f.dir, "a.txt")
		f.put("abs-inside", "-> "+abs)
		longest := 40
		if walker {
			longest = 8
		}
		for target, want := range map[string]int{
			"/a.txt": 200, "/in": 200, "/sub/up": 200, "/folder/b.txt": 200, "/folder": 301, "/sub": 301,
			"/out": 404, "/abs": 404, "/abs-inside": 404, "/dir-out/etc": 404, "/loop": 404, "/back": 404,
			"/none": 404, "/none/x": 404, "/a.txt/x": 404, "/sub/none": 404,
			"/to-private/x": 403, "/to-private/none": 403, "/to-private/a/b/c": 403,
			fmt.Sprintf("/l%d", longest): 200, fmt.Sprintf("/l%d", longest+1): 404,
		} {
			if r := f.get(target); r.Status != want {
				t.Errorf("%s: %d, want %d", target, r.Status, want)
			}
		}
		if _, err := f.site.root.folder("folder"); err == nil {
			t.Error("a link is opened as a folder")
		}
		if d, err := f.site.root.folder("sub"); err != nil {
			t.Error(err)
		} else {
			d.Close()
		}
	})
}

// TestProbe checks which errors of openat2 mean that it cannot be used.
func TestProbe(t *testing.T) {
	for err, works := range map[error]string{
		unix.ENOSYS: "false <nil>", unix.EPERM: "false <nil>", unix.EACCES: "false permission denied",
		&os.SyscallError{Syscall: "openat2", Err: unix.ENOSYS}: "false <nil>",
	} {
		ok, got := beneathWorks(-1, err)
		if s := fmt.Sprint(ok, got); s != works {
			t.Errorf("%v: %s, want %s", err, s, works)
		}
	}
}

// TestSearchFolders looks for the last folder that exists of a path with 2,000 folders. It must
// not open each of them.
func TestSearchFolders(t *testing.T) {
	path := "/" + strings.Repeat("x/", 2000) + "y"
	for _, exist := range []int{0, 1, 2, 999, 1999, 2000} {
		visits, last := 0, 0
		err := searchFolders(path, func(name string) (bool, error) {
			visits++
			n := strings.Count(name, "/") + 1
			if n <= exist {
				last = n
			}
			return n <= exist, nil
		})
		if err != nil || last != exist || visits > 12 {
			t.Errorf("%d folders exist: found %d in %d visits, %v; want at most 12 visits", exist, last, visits, err)
		}
	}
	visits := 0
	err := searchFolders(path, func(string) (bool, error) { visits++; return false, unix.ENOMEM })
	if err != unix.ENOMEM || visits != 1 {
		t.Errorf("out of memory: %v after %d visits, want the error after one", err, visits)
	}
}

// TestTransient lets the open of a file fail for reasons that say nothing about the file. A
// cached file stays in service, and another file is 503, never 404.
func TestTransient(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOMEM, unix.EIO, unix.ENFILE, unix.EMFILE, unix.EAGAIN, unix.ENOBUFS, unix.ESTALE, unix.EINTR} {
		if k, err := kindOf(&os.PathError{Op: "openat2", Path: "x", Err: errno}); err == nil {
			t.Errorf("%v is kind %v, want the error", errno, k)
		}
	}
	for errno, want := range map[unix.Errno]kind{
		unix.ENOENT: missing, unix.ENOTDIR: missing, unix.ENAMETOOLONG: missing, unix.EACCES: denied, unix.EPERM: denied,
		unix.ELOOP: other, unix.EXDEV: other, unix.ENXIO: other,
	} {
		if k, err := kindOf(os.NewSyscallError("openat2", errno)); k != want || err != nil {
			t.Errorf("%v is kind %v, %v; want %v", errno, k, err, want)
		}
	}
	if k, err := kindOf(errors.New("path escapes from parent")); k != other || err != nil {
		t.Errorf("a link out of an os.Root: %v, %v", k, err)
	}

	bothWays(t, func(t *testing.T, serve func(Config, map[string]string) *fixture, _ bool) {
		f := serve(Config{Fallback: true}, map[string]string{"cached.txt": "cached", "new.txt": "new", "index.html": "i"})
		if r := f.get("/cached.txt"); r.Status != 200 {
			t.Fatal(r)
		}
		for _, name := range []string{"cached.txt", "new.txt"} {
			lease(t, filepath.Join(f.dir, name))
		}
		f.clock.advance(time.Second)
		if r := f.get("/cached.txt"); r.Status != 200 || r.Body != "cached" {
			t.Errorf("a cached file that another process leases: %+v, want 200", r)
		}
		if r := f.get("/new.txt"); r.Status != 503 || r.get("Retry-After") != "1" || r.get("Connection") != "" {
			t.Errorf("a file that another process leases: %+v, want 503 without a close", r)
		}
	})
}

// lease takes a write lease on a file (fcntl(2)) until the test ends.
func lease(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("this file system has no leases: %v", err)
	}
}

// TestLongerThanItsSize serves /proc, where files have the size 0 and more bytes than that.
func TestLongerThanItsSize(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps"); err != nil {
		t.Skip(err)
	}
	s, err := New(Config{Root: "/proc/self"})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, site: s, clock: newClock()}
	t.Cleanup(func() { _ = s.Close() })
	f.listen()
	f.dial()
	want, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		t.Fatal(err)
	}
	if r := f.get("/limits"); r.Status != 200 || r.Body != string(want) {
		t.Errorf("a short file: %d with %d bytes, want %d", r.Status, len(r.Body), len(want))
	}
	if r := f.get("/smaps"); r.Status != 500 {
		t.Errorf("a file of more than 16 KiB: %d with %d bytes, want 500", r.Status, len(r.Body))
	}
	if r := f.get("/exe"); r.Status != 404 {
		t.Errorf("a magic link: %d, want 404", r.Status)
	}
}

// TestRootReplaced gives the name of the root to another folder.
func TestRootReplaced(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	version := func(name, text string) {
		t.Helper()
		must(os.Mkdir(at(name), 0o755))
		must(os.WriteFile(filepath.Join(at(name), "a.txt"), []byte(text), 0o644))
		must(os.WriteFile(filepath.Join(at(name), text+".mp4"), []byte(text), 0o644))
	}
	version("one", "one")
	version("two", "two")
	must(os.Symlink("one", at("www")))
	clock := newClock()
	s, err := New(Config{Root: at("www"), now: clock.now})
	must(err)
	f := &fixture{t: t, site: s, clock: clock}
	t.Cleanup(func() { _ = s.Close() })
	f.listen()
	f.dial()
	want := func(when, text string) {
		t.Helper()
		f.clock.advance(time.Second)
		if r := f.get("/a.txt"); r.Body != text {
			t.Errorf("%s: %d %q, want %q", when, r.Status, r.Body, text)
		}
		if r := f.get("/api/video"); !strings.Contains(r.Body, text+".mp4") {
			t.Errorf("%s: the list of videos is %s", when, r.Body)
		}
		if n := openFiles(t, top); n != 1 {
			t.Errorf("%s: %d descriptors are open beneath the root, want 1", when, n)
		}
	}
	want("at first", "one")
	must(os.Symlink("two", at("next")))
	must(os.Rename(at("next"), at("www")))
	want("after the link was switched", "two")
	must(os.Remove(at("www")))
	want("while nothing has the name", "two")
	must(os.WriteFile(at("www"), nil, 0o644))
	want("while a file has the name", "two")
	must(os.Remove(at("www")))
	version("www", "three")
	want("after a folder was made", "three")
	must(os.Rename(at("www"), at("old")))
	want("after the folder was moved", "three")
	version("www", "four")
	want("after it was made anew", "four")
}
