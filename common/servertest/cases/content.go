package cases

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/wire"
)

// changeLimit is how long a server may serve the old state of a file: 1 s by docs/spec.md, and 200 ms
// for the request and the response.
const changeLimit = 1200 * time.Millisecond

func contentCases() []Case {
	return []Case{
		{Name: "content-get", IDs: []string{"content-get"}, Run: func(t *T) {
			// Near these sizes a server may change the way in which it sends.
			c := t.Dial()
			for _, n := range []int{1, 2, 100, 4095, 4096, 4097, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 1 << 20} {
				data := strings.Repeat("\x00\xff\r\n0123456789ab", n/16+1)[:n]
				name := t.File(".bin", data)
				resp := c.Request("GET", "/"+name).Want(200)
				if string(resp.Body) != data {
					t.Errorf("a file of %d bytes came as %d different bytes", n, len(resp.Body))
				}
				c.WantKept()
			}
		}},
		{Name: "content-head", IDs: []string{"content-head"}, Run: func(t *T) {
			for _, target := range []string{"/k.txt", "/big.bin", "/", "/empty.txt"} {
				t.Sub(target, func(t *T) {
					c := t.Dial()
					head := c.Request("HEAD", target).WantTo("HEAD", 200)
					c.WantKept()
					resp, err := c.Request("GET", target).Stream(func(_ *Response, in io.Reader) error {
						_, err := io.Copy(io.Discard, in)
						return err
					})
					t.Must(err)
					if a, b := fieldLines(resp), fieldLines(head); strings.Join(a, "\n") != strings.Join(b, "\n") {
						t.Errorf("GET has\n\t%s\nHEAD has\n\t%s", strings.Join(a, "\n\t"), strings.Join(b, "\n\t"))
					}
				})
			}
		}},
		{Name: "content-empty", IDs: []string{"content-empty"}, Run: func(t *T) {
			askAll(t,
				ask{target: "/empty.txt", want: 200, has: []string{"Content-Length: 0"}},
				ask{method: "HEAD", target: "/empty.txt", want: 200, has: []string{"Content-Length: 0"}},
			)
		}},
		{Name: "content-big", IDs: []string{"content-big"}, Run: func(t *T) {
			c := t.Dial()
			for range 2 {
				_, err := c.Request("GET", "/big.bin").Stream(wire.Digest(t.Root.BigSum))
				t.Must(err)
				c.WantKept()
			}
		}},
		{Name: "content-big-slow", IDs: []string{"content-big"}, Run: func(t *T) {
			c := t.DialTo(t.Server, DialOptions{RecvBuf: 64 << 10})
			_, err := c.Request("GET", "/big.bin").Stream(func(resp *Response, in io.Reader) error {
				return wire.Digest(t.Root.BigSum)(resp, wire.Slowly(in, 1<<20, 10*time.Millisecond))
			})
			t.Must(err)
			c.WantKept()
		}},
		{Name: "content-changed", IDs: []string{"content-changed", "content-appears", "cond-etag"}, Run: changes},
		{Name: "content-grows", IDs: []string{"content-exact"}, Run: func(t *T) {
			// The server sends as many bytes as it has announced, even if the file has grown.
			name := t.File(".bin", string(t.Root.Big()))
			c := t.DialTo(t.Server, DialOptions{RecvBuf: 16 << 10})
			c.Request("GET", "/"+name).AwaitAnswer()
			f, err := os.OpenFile(t.Root.Path(name), os.O_WRONLY|os.O_APPEND, 0)
			t.Must(err)
			_, err = f.WriteString("and more")
			t.Must(err)
			t.Must(f.Close())
			_, err = c.Stream(wire.Digest(t.Root.BigSum))
			t.Must(err)
			c.WantKept()
		}},
		{Name: "content-replaced", IDs: []string{"content-exact"}, Run: func(t *T) {
			// A file that is replaced or removed while it is sent arrives unchanged.
			for what, change := range map[string]func(path string) error{
				"replaced": func(path string) error {
					if err := os.WriteFile(path+".new", []byte("new"), 0o644); err != nil {
						return err
					}
					return os.Rename(path+".new", path)
				},
				"removed": os.Remove,
			} {
				t.Sub(what, func(t *T) {
					name := t.File(".bin", string(t.Root.Big()))
					c := t.DialTo(t.Server, DialOptions{RecvBuf: 16 << 10})
					c.Request("GET", "/"+name).AwaitAnswer()
					t.Must(change(t.Root.Path(name)))
					_, err := c.Stream(wire.Digest(t.Root.BigSum))
					t.Must(err)
					c.WantKept()
				})
			}
		}},
		{Name: "content-same-stamp", IDs: []string{"content-changed"}, Run: sameStamp},
		{Name: "content-unsized", IDs: []string{"content-unsized"}, Run: func(t *T) {
			s := t.Begin(Config{Root: "/proc/self", Flags: []string{"-s"}})
			c := t.DialTo(s, DialOptions{})
			want, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.PID()))
			t.Must(err)
			c.Request("GET", "/limits").WantBody(200, string(want))
			long, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", s.PID()))
			t.Must(err)
			if len(long) <= 16<<10 {
				t.Fatalf("smaps has only %d bytes", len(long))
			}
			c.Request("GET", "/smaps").Want(500)
			c.WantKept()
		}},
		{Name: "content-root-replaced", IDs: []string{"content-root-replaced"}, Run: rootReplaced},
		{Name: "content-shrinks", IDs: []string{"content-shrinks"}, Run: func(t *T) {
			for _, fields := range [][]string{nil, {"Range: bytes=1-"}, {"Range: bytes=0-9,100-24000000"}} {
				t.Sub(fmt.Sprint(fields), func(t *T) {
					name := t.File(".bin", string(t.Root.Big()))
					c := t.DialTo(t.Server, DialOptions{RecvBuf: 16 << 10})
					c.Request("GET", "/"+name, fields...).AwaitAnswer()
					t.Must(os.Truncate(t.Root.Path(name), 100_000))
					got := int64(0)
					resp, err := c.Stream(func(_ *Response, in io.Reader) (err error) {
						got, err = io.Copy(io.Discard, in)
						return err
					})
					if resp == nil {
						t.Fatalf("no response: %v", err)
					}
					// The server must close the connection early: this tells the client that the body is
					// incomplete.
					if err == nil && fmt.Sprint(got) == resp.Get("Content-Length") {
						t.Fatalf("the file shrank during the transfer, but all of the announced %d bytes came", got)
					}
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("after %d of %s bytes the server neither sends more nor closes", got, resp.Get("Content-Length"))
					}
					c.Close()
					t.DialTo(t.Server, DialOptions{}).Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
				})
			}
		}},
		{Name: "content-methods", IDs: []string{"content-methods", "method-405", "method-options"}, Run: func(t *T) {
			for _, target := range []string{"/plain.txt", "/", "/sub/", "/big.bin", "/page.html?x"} {
				for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE"} {
					t.Sub(method+" "+target, func(t *T) {
						c := t.Dial()
						resp := c.Send(wire.Request(method, target, "other bytes")).WantTo(method, 405)
						allow(t, resp, "GET", "HEAD", "OPTIONS")
						c.WantKept()
					})
				}
				t.Sub("OPTIONS "+target, func(t *T) {
					c := t.Dial()
					allow(t, c.Request("OPTIONS", target).WantTo("OPTIONS", 204), "GET", "HEAD", "OPTIONS")
					c.WantKept()
				})
			}
			if data, err := os.ReadFile(t.Root.Path("plain.txt")); string(data) != docroot.Texts["plain.txt"] {
				t.Errorf("plain.txt was changed to %q: %v", data, err)
			}
		}},
	}
}

// allow checks that Allow names the wanted methods and no others. OPTIONS is always allowed.
func allow(t *T, resp *Response, want ...string) {
	t.Helper()
	got := map[string]bool{}
	for method := range strings.SplitSeq(resp.Get("Allow"), ",") {
		got[strings.TrimSpace(method)] = true
	}
	for _, method := range want {
		if !got[method] {
			t.Errorf("Allow: %s, want %s in it", resp.Get("Allow"), method)
		}
		delete(got, method)
	}
	delete(got, "OPTIONS") // every resource has it
	for method := range got {
		t.Errorf("Allow: %s, though %q is not allowed", resp.Get("Allow"), method)
	}
}

// changes makes all kinds of changes to files at once. The server must serve the new state of each
// file within a second.
func changes(t *T) {
	long := strings.Repeat("old, and too long to be kept in memory\n", 2000)
	replace := func(path, text string) error {
		if err := os.WriteFile(path+"-new", []byte(text), 0o644); err != nil {
			return err
		}
		return os.Rename(path+"-new", path)
	}
	type change struct {
		name   string
		before string
		after  string
		make   func(path, after string) error
		mtime  bool // restore the modification time after the change
		gone   bool // the name is not a file after the change
	}
	write := func(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }
	rows := []change{
		{name: "longer", before: "old", after: "new and longer", make: write},
		{name: "shorter", before: "old and long", after: "new", make: write},
		{name: "same length", before: "old", after: "new", make: write},
		{name: "same length and time", before: "old", after: "new", make: write, mtime: true},
		{name: "replaced", before: "old", after: "new", make: replace},
		{name: "replaced, same time", before: "old", after: "new", make: replace, mtime: true},
		{name: "a large file, replaced", before: long, after: strings.ReplaceAll(long, "old", "new"), make: replace},
		{name: "a large file, overwritten, same time", before: long, after: strings.ReplaceAll(long, "old", "new"), make: write, mtime: true},
		{name: "a large file, now small", before: long, after: "new", make: write},
		{name: "a small file, now large", before: "old", after: long, make: write},
		{name: "appended to", before: "old", after: "old and new", make: write},
		{name: "emptied", before: "old", after: "", make: func(path, _ string) error { return os.Truncate(path, 0) }},
		{name: "removed", gone: true, before: "old", make: func(path, _ string) error { return os.Remove(path) }},
		{name: "a large file, removed", gone: true, before: long, make: func(path, _ string) error { return os.Remove(path) }},
		{name: "replaced by a folder", gone: true, before: "old", make: func(path, _ string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o755)
		}},
		{name: "replaced by a symbolic link", before: "old", after: docroot.Texts["plain.txt"], make: func(path, _ string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("plain.txt", path)
		}},
		{name: "created", after: "new", make: write},
		{name: "created as an index", after: "new", make: func(path, text string) error {
			return write(filepath.Join(path, "index.html"), text)
		}},
	}
	names, tags := make([]string, len(rows)), make([]string, len(rows))
	c := t.Dial()
	for i, r := range rows {
		names[i] = t.File(".txt", r.before)
		if r.name == "created" {
			t.Must(os.Remove(t.Root.Path(names[i])))
			c.Request("GET", "/"+names[i]).Want(404)
			continue
		}
		if r.name == "created as an index" {
			t.Must(os.Remove(t.Root.Path(names[i])))
			t.Must(os.Mkdir(t.Root.Path(names[i]), 0o755))
			t.OnEnd(func() { _ = os.Remove(t.Root.Path(names[i] + "index.html")) })
			names[i] += "/"
			c.Request("GET", "/"+names[i]).Want(404)
			continue
		}
		tags[i] = c.Request("GET", "/"+names[i]).WantBody(200, r.before).Get("ETag")
	}
	start := time.Now()
	for i, r := range rows {
		path := t.Root.Path(names[i])
		t.Must(r.make(path, r.after))
		if r.mtime {
			t.Must(os.Chtimes(path, docroot.Modified, docroot.Modified))
		}
	}
	done := time.Now()
	for i, r := range rows {
		// A large file is sent from the open file. Until the server sees the change, it may announce
		// the old tag and the old length. If the old length is too long, the server closes the
		// connection, and this loop opens another.
		seen := func() bool {
			if c == nil {
				c = t.Dial()
			}
			resp, err := c.Request("GET", "/"+names[i], "If-None-Match: \"none\"").TryRead("GET")
			switch {
			case err != nil:
				c.Close()
				c = nil
				return false
			case r.gone:
				return resp.Status == 404 || resp.Status == 301
			}
			return resp.Status == 200 && string(resp.Body) == r.after && resp.Get("ETag") != tags[i]
		}
		if !kernel.Eventually(changeLimit-time.Since(done), seen) {
			t.Errorf("%s: the server does not serve the change after %v", r.name, time.Since(start))
		}
	}
	if c != nil {
		c.WantKept()
	}
}

// sameStamp changes a file through mapped memory (mmap(2)). The kernel sets the times of the file only when a page
// becomes dirty, so the second change leaves them as they are.
func sameStamp(t *T) {
	name := t.File(".txt", "before")
	f, err := os.OpenFile(t.Root.Path(name), os.O_RDWR, 0)
	t.Must(err)
	defer f.Close()
	memory, err := unix.Mmap(int(f.Fd()), 0, len("before"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	t.Must(err)
	defer func() { _ = unix.Munmap(memory) }()
	c := t.Dial()
	for _, text := range []string{"second", "third!"} {
		copy(memory, text)
		if !kernel.Eventually(changeLimit, func() bool { return string(c.Request("GET", "/"+name).Want(200).Body) == text }) {
			t.Errorf("%q is not served after %v", text, changeLimit)
		}
		if text == "third!" {
			break
		}
		var st unix.Stat_t
		t.Must(unix.Stat(f.Name(), &st))
		// A server may compare the contents only while the times are fresh.
		for time.Since(time.Unix(st.Ctim.Unix())) < 2600*time.Millisecond {
			c.Request("GET", "/"+name).WantBody(200, text)
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// rootReplaced gives the name of the root to another folder.
func rootReplaced(t *T) {
	top := t.Folder(map[string]string{
		"one/a.txt": "one", "one/sub/index.html": "one", "two/a.txt": "two", "three/a.txt": "three", "four/a.txt": "four", "www": "->one",
	})
	www := top.Path("www")
	s := t.Begin(Config{Root: www})
	c := t.DialTo(s, DialOptions{})
	want := func(when, text string) {
		t.Helper()
		start := time.Now()
		if !kernel.Eventually(changeLimit, func() bool { return string(c.Request("GET", "/a.txt").Want(200).Body) == text }) {
			t.Errorf("%s: /a.txt is not %q after %v", when, text, time.Since(start))
		}
	}
	want("at first", "one")
	c.Request("GET", "/sub/").WantBody(200, "one")
	t.Must(os.Symlink("two", top.Path("next")))
	t.Must(os.Rename(top.Path("next"), www))
	want("after the link was switched", "two")
	c.Request("GET", "/sub/").Want(404)
	t.Must(os.Remove(www))
	for end := time.Now().Add(changeLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c.Request("GET", "/a.txt").WantBody(200, "two") // nothing has the name
	}
	t.Must(os.Rename(top.Path("three"), www))
	want("after a folder got the name", "three")
	t.Must(os.Rename(www, top.Path("old")))
	t.Must(os.Rename(top.Path("four"), www))
	want("after the folder was moved and another one got the name", "four")
}
