package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// asJSON is the header field of every JSON response.
var asJSON = []string{"Content-Type: application/json"}

func dataCases() []Case {
	return []Case{
		{Name: "api-video", IDs: []string{"api-video", "api-video-private"}, NoServer: true, Run: func(t *T) {
			want := map[string]int64{
				"a.mp4": 3, "empty.mp4": 0, "large.mp4": 100_000, "videos/b.mp4": 4, "videos/deep/er/c.mp4": 5, "with blank.mp4": 1, "grüße/ü.mp4": 2,
				"quote\"back\\slash.mp4": 7, "folder.mp4/inside.mp4": 8, "sub/private/open.mp4": 9, "privately.mp4": 1, "private.mp4": 2, "<&>.mp4": 3, "two.mp4.mp4": 1,
			}
			files := map[string]string{}
			for name, size := range want {
				files[name] = strings.Repeat("v", int(size))
			}
			for _, name := range []string{
				"index.html", "video.webm", "mp4", "xmp4", "a.mp4.txt", "a.mp4x", "private/secret.mp4", "private/deep/secret.mp4", ".hidden.mp4", ".hidden/x.mp4",
				"videos/.hidden.mp4", "videos/.deep/x.mp4", ".mp4", "videos/.mp4", "clip.mp4.part",
			} {
				files[name] = "not in the list"
			}
			files["out.mp4"] = "->/etc/hostname"
			files["loop"] = "->."
			files["dangling.mp4"] = "->nothing-there.mp4"
			files["sneak.mp4"] = "->private/secret.mp4"
			files["sneak"] = "->private"
			r := t.Folder(files)
			t.Must(unix.Mkfifo(r.Path("fifo.mp4"), 0o644))
			for _, flags := range [][]string{nil, {"-a"}} {
				s := t.Begin(Config{Root: r.Dir, Flags: flags, Env: account})
				for _, fields := range [][]string{nil, {"Cookie: " + loggedIn(t, s)}} { // the list is the same with and without a token
					c := t.DialTo(s, DialOptions{})
					resp := askOne(c, ask{target: "/api/video", fields: fields, want: 200, has: asJSON})
					c.WantKept()
					c.Close()
					videos := videos(t, resp)
					for name, size := range want {
						if got, ok := videos[name]; !ok || got != size {
							t.Errorf("%q has %d bytes; the list says %d (found: %t)", name, size, got, ok)
						}
						delete(videos, name)
					}
					for name := range videos {
						t.Errorf("%q must not be in the list", name)
					}
				}
			}
		}},
		{Name: "api-video-none", IDs: []string{"api-video"}, NoServer: true, Run: func(t *T) {
			r := t.Folder(map[string]string{"index.html": "x", "private/x.mp4": "x"})
			s := t.Begin(Config{Root: r.Dir})
			c := t.DialTo(s, DialOptions{})
			if body := c.Request("GET", "/api/video").Want(200).Body; strings.TrimSpace(string(body)) != "[]" {
				t.Errorf("the list of a root without videos is %q, want []", body)
			}
			// The list shows new, changed and removed videos without a restart. docs/spec.md sets no time
			// for it; 3 s are generous.
			t.Must(r.Put("grown.mp4", []byte("old")))
			t.Must(r.Put("removed.mp4", []byte("old")))
			is := func(want map[string]int64) func() bool {
				return func() bool { return maps.Equal(videos(t, c.Request("GET", "/api/video").Want(200)), want) }
			}
			if !kernel.Eventually(3*time.Second, is(map[string]int64{"grown.mp4": 3, "removed.mp4": 3})) {
				t.Errorf("two new videos are not in the list after 3 s")
			}
			t.Must(os.WriteFile(r.Path("grown.mp4"), []byte("longer"), 0o644))
			t.Must(os.Remove(r.Path("removed.mp4")))
			if !kernel.Eventually(3*time.Second, is(map[string]int64{"grown.mp4": 6})) {
				t.Errorf("3 s after one video grew and another was removed the list is still the old one")
			}
			c.WantKept()
		}},
		{Name: "api-video-bounded", IDs: []string{"api-video-bounded"}, NoServer: true, Stderr: "/api/video", Run: func(t *T) {
			// The folder has one file more than a walk visits. All are links to one file: to make and delete as many
			// inodes takes ext4 some seconds.
			const limit = 20_000
			r := t.Folder(map[string]string{"first.mp4": "first"})
			t.Must(os.Mkdir(r.Path("many"), 0o755))
			for i := range limit + 1 {
				t.Must(os.Link(r.Path("first.mp4"), r.Path(fmt.Sprintf("many/%d.mp4", i))))
			}
			s := t.Begin(Config{Root: r.Dir})
			c := t.DialTo(s, DialOptions{})
			get := func() map[string]int64 { return videos(t, c.Request("GET", "/api/video").Want(200)) }
			if all := get(); all["first.mp4"] != 5 || len(all) >= limit {
				t.Errorf("the list has %d videos, want the one in the root and less than %d in all", len(all), limit)
			}
			// A second walk finds a new video in the root. It adds no second line.
			t.Must(r.Put("second.mp4", nil))
			if !kernel.Eventually(3*time.Second, func() bool { _, ok := get()["second.mp4"]; return ok }) {
				t.Errorf("a new video in the root is not in the list after 3 s")
			}
			c.WantKept()
			t.Must(s.Stop())
			if stderr := s.Stderr.String(); strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "/api/video") {
				t.Errorf("want one line on stderr that names /api/video, got:%s", process.Indent(stderr))
			}
		}},
		{Name: "api-loadavg", IDs: []string{"api-loadavg", "api-aliases", "api-head"}, Run: func(t *T) {
			for _, target := range []string{"/loadavg", "/api/loadavg"} {
				t.Sub(target, func(t *T) { statistic(t, target, compareLoad) })
			}
		}},
		{Name: "api-meminfo", IDs: []string{"api-meminfo", "api-aliases", "api-head"}, Run: func(t *T) {
			for _, target := range []string{"/meminfo", "/api/meminfo"} {
				t.Sub(target, func(t *T) { statistic(t, target, compareMemory) })
			}
		}},
		{Name: "api-echo", IDs: []string{"api-echo"}, Run: func(t *T) {
			for _, kind := range []string{
				"text/plain", "text/plain; charset=utf-8", "application/json", "application/octet-stream", `multipart/form-data; boundary="a b"`, "text/html", "x/y;z=1",
				"nonsense", "application/x-www-form-urlencoded", "image/svg+xml",
			} {
				askAll(t,
					ask{
						method: "POST", target: "/echo", send: "the body", fields: []string{"Content-Type: " + kind}, want: 200, body: "the body",
						has: []string{"Content-Type: " + kind, "Content-Length: 8"},
					},
					ask{method: "POST", target: "/echo?x=y", send: "b", fields: []string{"content-type:\t" + kind + " "}, want: 200, body: "b", has: []string{"Content-Type: " + kind}},
				)
			}
			c := t.Dial()
			c.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("5", "hello") + chunk("1;x", " ") + chunk("5", "world") + last)
			if resp := c.WantBody(200, "hello world"); resp.Get("Content-Type") != "a/b" || resp.Get("Content-Length") != "11" {
				t.Errorf("chunked: the header fields are %q", fieldLines(resp))
			}
			c.WantKept()
		}},
		{Name: "api-echo-binary", IDs: []string{"api-echo-binary", "body-length-1m"}, Run: func(t *T) {
			rng := rand.New(rand.NewPCG(3, 4))
			random := make([]byte, mib)
			for i := range random {
				random[i] = byte(rng.Uint32())
			}
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			c := t.Dial()
			for _, body := range []string{
				"", "\x00", "\r\n", "\r\n\r\n", "0\r\n\r\n", follow, string(all), "HTTP/1.1 200 OK\r\n\r\n", string(random[:70_000]), string(random[:mib-1]), string(random),
			} {
				sent := c.SendLater(sized(fmt.Sprint(len(body)), body))
				resp := c.Want(200)
				<-sent
				if !bytes.Equal(resp.Body, []byte(body)) {
					t.Fatalf("%s came back as %s", wire.Quote(body), wire.Quote(string(resp.Body)))
				}
				var chunks strings.Builder
				for rest := body; rest != ""; {
					n := min(len(rest), 1+int(rng.Uint32N(30_000)))
					chunks.WriteString(chunk(fmt.Sprintf("%x", n), rest[:n]))
					rest = rest[n:]
				}
				sent = c.SendLater(chunked(chunks.String() + last))
				resp = c.Want(200)
				<-sent
				if !bytes.Equal(resp.Body, []byte(body)) {
					t.Fatalf("chunked: %s came back as %s", wire.Quote(body), wire.Quote(string(resp.Body)))
				}
			}
			// A request without a body, with and without a Content-Type.
			c.Send("POST /echo HTTP/1.1\r\nHost: h\r\n\r\n").WantBody(200, "")
			c.Send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\n\r\n").WantBody(200, "")
			c.WantKept()
		}},
		{Name: "api-echo-mixed", IDs: []string{"api-echo-binary", "conn-pipeline"}, Run: func(t *T) {
			// Long and short bodies follow each other. No byte of one may appear in the next.
			c := t.Dial()
			for _, n := range []int{100_000, 3, 0, 70_000, 1, 16 << 10, 5} {
				body := strings.Repeat(string(rune('a'+n%26)), n)
				sent := c.SendLater(sized(fmt.Sprint(n), body))
				c.WantBody(200, body)
				<-sent
			}
			c.WantKept()
		}},
		{Name: "api-healthz", IDs: []string{"api-healthz"}, Run: func(t *T) {
			askAll(t,
				ask{target: "/healthz", want: 200, body: "ok", has: []string{"Content-Length: 2"}},
				ask{target: "/healthz?x", want: 200, body: "ok"},
				ask{target: "/%68ealthz", want: 200, body: "ok"},
				ask{target: "/healthz/", want: 404}, ask{target: "/healthz/x", want: 404}, ask{target: "/Healthz", want: 404}, ask{target: "/healthzz", want: 404},
				ask{target: "/healthz.txt", want: 200, body: docroot.FileTexts["healthz.txt"]},
			)
		}},
		{Name: "api-server", IDs: []string{"api-server", "api-head"}, Run: func(t *T) {
			want := fmt.Sprint("stage", t.Stage())
			c := t.Dial()
			for _, target := range []string{"/api/server", "/api/server?x"} {
				resp := askOne(c, ask{target: target, want: 200, has: asJSON})
				var server map[string]string
				if err := json.Unmarshal(resp.Body, &server); err != nil || !strings.HasPrefix(server["stage"], want) || server["version"] == "" || len(server) != 2 {
					t.Errorf("%s answers %s, want the name of the stage and its version", target, wire.Quote(string(resp.Body)))
				}
			}
			askOne(c, ask{target: "/api/server/", want: 404})
			askOne(c, ask{target: "/api/serverx", want: 404})
			c.WantKept()
		}},
		{Name: "api-unknown", IDs: []string{"api-unknown"}, Run: func(t *T) {
			for _, target := range []string{
				"/api", "/api/", "/api/x", "/api/login/", "/api/login/x", "/api/Login", "/api/video/", "/api/videos", "/api/video/a.mp4", "/api/a.mp4", "/api/healthz", "/api/echo",
				"/api/logi", "/api/loginx", "/api?x", "/%61pi/x", "/api%2Fx", "/api//login", "/api/./login", "/api/../plain.txt", "/api/private", "/api/loadavg/x", "/api/meminfo/",
				"/API/login", "/loadavg/", "/meminfo/x", "/echo/", "/echo/x",
			} {
				askAll(t, ask{target: target, want: 404}, ask{method: "HEAD", target: target, want: 404})
			}
			// Names that only begin with /api are files.
			askAll(t, ask{target: "/api.txt", want: 200, body: docroot.FileTexts["api.txt"]}, ask{target: "/apix", want: 404})
			c := t.Dial()
			for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
				if resp := c.Send(wire.Request(method, "/api/nothing-there", "x")).ReadTo(method); resp.Status != 404 {
					t.Errorf("%s /api/nothing-there is answered %d, want 404", method, resp.Status)
				}
			}
			c.WantKept()
		}},
		{Name: "api-methods", IDs: []string{"method-405", "method-options", "keep-405"}, Run: func(t *T) {
			for _, target := range []string{"/healthz", "/loadavg", "/meminfo", "/api/loadavg", "/api/meminfo", "/api/video", "/api/server"} {
				methods(t, target, "GET", "HEAD")
			}
			methods(t, "/echo", "POST")
		}},
		{Name: "api-head", IDs: []string{"api-head"}, Env: account, Run: func(t *T) {
			cookie := "Cookie: " + loggedIn(t, t.Server)
			for _, fields := range [][]string{nil, {cookie}} {
				for _, target := range []string{"/api/login", "/healthz", "/api/video", "/api/server"} {
					t.Sub(fmt.Sprint(target, fields), func(t *T) {
						c := t.Dial()
						get := c.Request("GET", target, fields...).Want(200)
						head := c.Request("HEAD", target, fields...).WantTo("HEAD", 200)
						c.WantKept()
						if !slices.Equal(fieldLines(get), fieldLines(head)) {
							t.Errorf("GET has %q, HEAD has %q", fieldLines(get), fieldLines(head))
						}
					})
				}
			}
		}},
	}
}

// videos parses the list. Its objects must have a name and a size, and no name may occur twice.
func videos(t *T, resp *Response) map[string]int64 {
	t.Helper()
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(resp.Body, &list); err != nil || list == nil {
		t.Fatalf("%s is not a list of objects: %v", wire.Quote(string(resp.Body)), err)
	}
	videos := map[string]int64{}
	for _, v := range list {
		var name string
		var size int64
		if json.Unmarshal(v["name"], &name) != nil || json.Unmarshal(v["size"], &size) != nil || len(v) != 2 {
			t.Fatalf("%s is not an object with a name and a size", v)
		}
		if _, ok := videos[name]; ok {
			t.Errorf("%q is in the list twice", name)
		}
		videos[name] = size
	}
	return videos
}

// statistic checks a resource with numbers from /proc, with GET and HEAD. The numbers may change between
// the response and the comparison, so there are four tries.
func statistic(t *T, target string, compare func(body []byte) error) {
	t.Helper()
	c := t.Dial()
	var err error
	for range 4 {
		resp := askOne(c, ask{target: target, want: 200, has: asJSON})
		if err = compare(resp.Body); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("%v", err)
	}
	askOne(c, ask{method: "HEAD", target: target, want: 200, has: asJSON})
	askOne(c, ask{target: target + "?x", want: 200, has: asJSON})
	c.WantKept()
}

var loadFormat = regexp.MustCompile(
	`^\{"loadavg":\["(\d+\.\d\d)","(\d+\.\d\d)","(\d+\.\d\d)"\],"running_threads":"(\d+)","total_threads":"(\d+)"\}\n?$`)

// compareLoad compares a body of /loadavg with /proc/loadavg.
func compareLoad(body []byte) error {
	got := loadFormat.FindStringSubmatch(string(body))
	if got == nil {
		return fmt.Errorf("%q does not match %v", body, loadFormat)
	}
	proc, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	words := strings.Fields(strings.ReplaceAll(string(proc), "/", " "))
	if !slices.Equal(words[:3], got[1:4]) {
		return fmt.Errorf("the load is %q, in /proc it is %q", got[1:4], words[:3])
	}
	running, _ := strconv.Atoi(got[4])
	total, _ := strconv.Atoi(got[5])
	active, _ := strconv.Atoi(words[3])
	now, _ := strconv.Atoi(words[4])
	if running < 1 || running > total || running == total && active < now || total < now/2 || total > 2*now {
		return fmt.Errorf("%d of %d threads are running, in /proc it is %d of %d", running, total, active, now)
	}
	return nil
}

// compareMemory compares a body of /meminfo with /proc/meminfo.
func compareMemory(body []byte) error {
	var got map[string]int64
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("%s is not an object of numbers: %w", wire.Quote(string(body)), err)
	}
	proc, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for _, m := range regexp.MustCompile(`(?m)^([^:]+):\s+(\d+) kB$`).FindAllStringSubmatch(string(proc), -1) {
		n, ok := got[m[1]]
		want, _ := strconv.ParseInt(m[2], 10, 64)
		switch fixed := m[1] == "MemTotal" || m[1] == "SwapTotal" || m[1] == "VmallocTotal"; {
		case !ok:
			return fmt.Errorf("%s is missing in %s", m[1], wire.Quote(string(body)))
		case fixed && n != want:
			return fmt.Errorf("%s is %d, in /proc it is %d", m[1], n, want)
		case n < 0 || m[1] == "MemFree" && (n > got["MemTotal"] || n == 0):
			return fmt.Errorf("%s is %d, which is out of range", m[1], n)
		}
	}
	return nil
}
