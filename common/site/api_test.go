package site

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
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

// TestNoStatistics checks that a missing file in /proc is 404, not an error of the server.
func TestNoStatistics(t *testing.T) {
	f := serveSite(t, Config{}, nil)
	_, _ = f.site.loadavg.Close(), f.site.meminfo.Close()
	for _, target := range []string{"/loadavg", "/meminfo"} {
		if r := f.get(target); r.Status != 404 || !strings.Contains(r.Body, "does not provide these statistics") {
			t.Errorf("%s: %d %q", target, r.Status, r.Body)
		}
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
	tree := fstest.MapFS{}
	for name, size := range map[string]int{
		"b.mp4": 2, "a.MP4": 1, "sub/deep/c.mp4": 3, "sub/private/d.mp4": 4, ".well-known/e.mp4": 5, "gr\u00fcn.mp4": 6,
		"private/x.mp4": 1, "private/sub/x.mp4": 1, ".x.mp4": 1, ".dir/x.mp4": 1, "sub/.dir/x.mp4": 1,
		"sub/.well-known/x.mp4": 1, "x.mp4.txt": 1, "mp4": 1, "line\nfeed.mp4": 1, "\xff.mp4": 1, "dir.mp4/x.txt": 1,
	} {
		tree[name] = &fstest.MapFile{Data: make([]byte, size)}
	}
	tree["fifo.mp4"] = &fstest.MapFile{Mode: os.ModeNamedPipe}
	tree["link.mp4"] = &fstest.MapFile{Mode: os.ModeSymlink, Data: []byte("b.mp4")}
	want := []video{{".well-known/e.mp4", 5}, {"a.MP4", 1}, {"b.mp4", 2}, {"gr\u00fcn.mp4", 6}, {"sub/deep/c.mp4", 3}, {"sub/private/d.mp4", 4}}
	if diff := cmp.Diff(want, findVideos(tree)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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
