package site

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"fourways.example/common/h1"
)

func TestAPI(t *testing.T) {
	f := serveSite(t, Config{Stage: "stage4-epoll", Version: `1"2`}, map[string]string{"index.html": "i"})
	for target, want := range map[string]string{
		"/healthz":     `^ok$`,
		"/loadavg":     `^\{"loadavg":\["[0-9.]+","[0-9.]+","[0-9.]+"\],"running_threads":"\d+","total_threads":"\d+"\}$`,
		"/api/loadavg": `^\{"loadavg":\[`,
		"/meminfo":     `^\{"MemTotal":\d+,"MemFree":\d+,.*\}$`,
		"/api/meminfo": `^\{"MemTotal":\d+,`,
		"/api/video":   `^\[\]$`,
		"/api/login":   `^\{\}$`,
		"/api/server":  `^\{"stage":"stage4-epoll","version":"1\\"2"\}$`,
	} {
		for range 2 { // the second request reads the same descriptors of /proc again
			r := f.get(target)
			if r.Status != 200 || !regexp.MustCompile(want).MatchString(r.Body) || r.get("Cache-Control") != "no-store" {
				t.Errorf("%s: %+v, want %s", target, r, want)
			}
			if target != "/healthz" && (!json.Valid([]byte(r.Body)) || r.get("Content-Type") != "application/json") {
				t.Errorf("%s: not JSON: %+v", target, r)
			}
			head := f.do("HEAD", target)
			if head.Status != 200 || head.get("Content-Type") != r.get("Content-Type") {
				t.Errorf("HEAD %s: %+v", target, head)
			}
		}
	}
}

func TestEcho(t *testing.T) {
	f := serveSite(t, Config{}, nil)
	for _, tt := range []struct{ sent, kind, body string }{
		{"", otherType, "bytes\x00\xff"},
		{"", otherType, ""},
		{"Content-Type: text/plain", "text/plain", "hello"},
		{"content-type:  application/x-odd; a=\"b\" ", `application/x-odd; a="b"`, "hello"},
		{"Content-Type:", otherType, "hello"},
		{"Content-Type: caf\xe9", "caf\xe9", "hello"},
		{"", otherType, big},
	} {
		lines := []string{"", tt.body}
		if tt.sent != "" {
			lines = []string{tt.sent, "", tt.body}
		}
		r := f.do("POST", "/echo", lines...)
		if r.Status != 200 || r.get("Content-Type") != tt.kind || r.Body != tt.body ||
			r.get("X-Content-Type-Options") != "nosniff" || r.get("Cache-Control") != "no-store" {
			t.Errorf("%q, %.20q: %d %q, %d bytes", tt.sent, tt.body, r.Status, r.Fields, len(r.Body))
		}
	}
}

func TestLoadavg(t *testing.T) {
	for text, want := range map[string]string{
		"0.10 0.20 0.30 1/99 4321\n": `{"loadavg":["0.10","0.20","0.30"],"running_threads":"1","total_threads":"99"}`,
		"":                           "",
		"0.10 0.20 0.30":             "",
		"0.10 0.20 0.30 199 4321\n":  "",
	} {
		got, ok := appendLoadavg(nil, []byte(text))
		if ok != (want != "") || ok && string(got) != want {
			t.Errorf("%q: %s, %v; want %s", text, got, ok, want)
		}
	}
}

// TestNoStatistics checks that a missing file in /proc is 404, not an error of the server. If
// it cannot be read for a moment, the answer is 503.
func TestNoStatistics(t *testing.T) {
	f := serveSite(t, Config{}, nil)
	_, _ = f.site.loadavg.Close(), f.site.meminfo.Close()
	for _, target := range []string{"/loadavg", "/meminfo"} {
		if r := f.get(target); r.Status != 503 || r.get("Retry-After") != "1" {
			t.Errorf("%s cannot be read: %+v, want 503", target, r)
		}
	}
	var w h1.Response
	if _, ok := readProc(&w, nil, nil); ok || w.Status != 404 {
		t.Errorf("a missing file: %d, want 404", w.Status)
	}
}

func TestMeminfo(t *testing.T) {
	for text, want := range map[string]string{
		"MemTotal:       16315168 kB\nActive(anon):    10 kB\nHugePages_Total:       0\n": `{"MemTotal":16315168,"Active(anon)":10,"HugePages_Total":0}`,
		"MemTotal: 1 kB\nOdd: x kB\nNone\n: 5 kB\nMemFree: 2 kB\n":                        `{"MemTotal":1,"MemFree":2}`,
		"MemTotal: 1 kB\nMemFree: 12":                                                     `{"MemTotal":1}`, // the last line is incomplete
		"":                                                                                "",
	} {
		got, ok := appendMeminfo(nil, []byte(text))
		if ok != (want != "") || ok && string(got) != want {
			t.Errorf("%q: %s, %v; want %s", text, got, ok, want)
		}
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := appendMeminfo(nil, text)
	var all map[string]int64
	if err := json.Unmarshal(got, &all); err != nil || len(all) != strings.Count(string(text), "\n") {
		t.Errorf("%d values of %d lines: %v", len(all), strings.Count(string(text), "\n"), err)
	}
}

func TestFindVideos(t *testing.T) {
	files := map[string]string{
		"link.mp4": "-> b.mp4", "folder": "-> sub", "dir.mp4/x.txt": "", "empty/": "", "private.mp4/private/y.mp4": "1234567",
	}
	for name, size := range map[string]int{
		"b.mp4": 2, "a.MP4": 1, "sub/deep/c.mp4": 3, "sub/private/d.mp4": 4, ".well-known/e.mp4": 5, "gr\u00fcn.mp4": 6,
		"private/x.mp4": 1, "private/sub/x.mp4": 1, ".x.mp4": 1, ".dir/x.mp4": 1, "sub/.dir/x.mp4": 1,
		"sub/.well-known/x.mp4": 1, "x.mp4.txt": 1, "mp4": 1, "line\nfeed.mp4": 1, "\xff.mp4": 1,
	} {
		files[name] = strings.Repeat("v", size)
	}
	f := serveSite(t, Config{}, files)
	if err := unix.Mkfifo(filepath.Join(f.dir, "fifo.mp4"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []video{
		{".well-known/e.mp4", 5},
		{"a.MP4", 1},
		{"b.mp4", 2},
		{"gr\u00fcn.mp4", 6},
		{"private.mp4/private/y.mp4", 7},
		{"sub/deep/c.mp4", 3},
		{"sub/private/d.mp4", 4},
	}
	w := findVideos(f.site.root.folder, f.clock.now, maxWalk)
	if diff := cmp.Diff(want, w.list); diff != "" || w.partial {
		t.Errorf("partial: %v (-want +got):\n%s", w.partial, diff)
	}
}

// TestWalkFollowsNoLink opens folders as a walk does after somebody has replaced them by
// links.
func TestWalkFollowsNoLink(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"sub/deep/x": "x", "link": "-> sub", "priv": "-> private", "private/sub/": "", "file": "x"})
	before := openFiles(t, f.dir)
	for name, want := range map[string]bool{
		".": true, "sub": true, "sub/deep": true, "link": false, "link/deep": false, "priv": false, "priv/sub": false, "file": false, "none": false,
	} {
		folder, err := f.site.root.folder(name)
		if (err == nil) != want {
			t.Errorf("%s: %v; opened: %v, want %v", name, err, err == nil, want)
		}
		if err == nil {
			_ = folder.Close()
		}
	}
	if after := openFiles(t, f.dir); after != before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

// TestWalkTime moves the clock at each folder that the walk opens.
func TestWalkTime(t *testing.T) {
	files := map[string]string{}
	for i := range 3 * walkPiece {
		files[fmt.Sprintf("%d/%d.mp4", i%8, i)] = ""
	}
	f := serveSite(t, Config{}, files)
	for _, tt := range []struct {
		step    time.Duration
		folders int // opened, with the root
	}{
		{walkTime / 9, 9},
		{walkTime / 6, 7}, // six are in time, and the seventh ends after the time
		{time.Hour, 3},    // the first three have more than walkPiece entries
	} {
		opened, before := 0, openFiles(t, f.dir)
		w := findVideos(func(name string) (*os.File, error) {
			f.clock.advance(tt.step)
			opened++
			if n := openFiles(t, f.dir); n != before {
				t.Errorf("%d descriptors are open when the walk opens a folder, %d before it began", n, before)
			}
			return f.site.root.folder(name)
		}, f.clock.now, maxWalk)
		all := tt.folders == 9
		if opened > tt.folders+1 || all != (opened == 9) || w.partial == all || (len(w.list) == 3*walkPiece) != all || len(w.list) < walkPiece {
			t.Errorf("%v for each folder: %d folders opened, %d videos, partial: %v", tt.step, opened, len(w.list), w.partial)
		}
	}
}

// TestWalkBounded checks that a walk stops at its limit of files and folders, and that one
// message says so until the list is complete again.
func TestWalkBounded(t *testing.T) {
	var warned []string
	c := Config{Warn: func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }}
	f := serveSite(t, c, map[string]string{"x.mp4": ""})
	const limit = 2*walkPiece + 50
	if f.site.video.limit != maxWalk {
		t.Errorf("the limit is %d, want %d", f.site.video.limit, maxWalk)
	}
	f.site.video.limit = limit
	many := filepath.Join(f.dir, "many")
	fill := func(n int) {
		t.Helper()
		for i := range n {
			if err := unix.Mknod(fmt.Sprintf("%s/%d.mp4", many, i), unix.S_IFREG|0o644, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	length := func() int {
		t.Helper()
		f.clock.advance(time.Second)
		var all []video
		if r := f.get("/api/video"); json.Unmarshal([]byte(r.Body), &all) != nil {
			t.Fatalf("%+v", r)
		}
		return len(all)
	}
	for range 2 {
		warned = nil
		if err := os.Mkdir(many, 0o755); err != nil {
			t.Fatal(err)
		}
		fill(limit - 2) // the folder itself and x.mp4 count too
		if n := length(); n != limit-1 || len(warned) != 0 {
			t.Errorf("%d videos, want all %d; messages: %q", n, limit-1, warned)
		}
		for i := range 2 {
			if err := unix.Mknod(fmt.Sprintf("%s/more%d.mp4", many, i), unix.S_IFREG|0o644, 0); err != nil {
				t.Fatal(err)
			}
			if n := length(); n != limit-1 {
				t.Errorf("%d videos with %d files too many, want %d", n, i+1, limit-1)
			}
		}
		if len(warned) != 1 || !strings.Contains(warned[0], fmt.Sprintf(`in the folder "many" after %d files and folders`, limit)) {
			t.Errorf("messages: %q, want one", warned)
		}
		if err := os.RemoveAll(many); err != nil {
			t.Fatal(err)
		}
		if n := length(); n != 1 {
			t.Errorf("%d videos after the folder was removed, want 1", n)
		}
	}
}

// TestVideoDoesNotWait asks for the list while another worker walks. Only the first walk is
// waited for.
func TestVideoDoesNotWait(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.mp4": "aa"})
	old := f.get("/api/video")
	f.put("b.mp4", "b")
	f.clock.advance(time.Hour)
	r := func() reply {
		f.site.video.mu.Lock()
		defer f.site.video.mu.Unlock()
		return f.get("/api/video")
	}()
	if diff := cmp.Diff(old.Body, r.Body); diff != "" {
		t.Errorf("during a walk, the list is not the old one (-old +new):\n%s", diff)
	}
	if r := f.get("/api/video"); !strings.Contains(r.Body, "b.mp4") {
		t.Errorf("after the walk: %+v", r)
	}
}

func TestVideo(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{
		"a.mp4": "aa", "sub/b&c.mp4": "b", "private/p.mp4": "p",
		"out.mp4": "-> /etc/passwd", "priv.mp4": "-> private/p.mp4", "dir": "-> private", "loop": "-> .",
	})
	list := func() (all []video) {
		t.Helper()
		r := f.get("/api/video")
		if err := json.Unmarshal([]byte(r.Body), &all); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		return all
	}
	want := []video{{"a.mp4", 2}, {"sub/b&c.mp4", 1}}
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.put("c.mp4", "ccc")
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Errorf("within a second, the list is not walked again (-want +got):\n%s", diff)
	}
	f.clock.advance(time.Second)
	want = []video{{"a.mp4", 2}, {"c.mp4", 3}, {"sub/b&c.mp4", 1}}
	if diff := cmp.Diff(want, list()); diff != "" {
		t.Errorf("after a second (-want +got):\n%s", diff)
	}
}
