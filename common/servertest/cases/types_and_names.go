package cases

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
)

// fileTypes has the Content-Type of each file as a regular expression, because some types have two
// registered names.
var fileTypes = map[string][]struct{ name, kind string }{
	"type-text": {
		{"page.html", `text/html; charset=utf-8`},
		{"style.css", `text/css; charset=utf-8`},
		{"script.js", `text/javascript; charset=utf-8`}, // RFC 9239
		{"module.mjs", `text/javascript; charset=utf-8`},
		{"plain.txt", `text/plain; charset=utf-8`},
		{"two.png.txt", `text/plain; charset=utf-8`},
		{"empty.txt", `text/plain; charset=utf-8`},
		{"notes.md", `text/markdown; charset=utf-8`}, // RFC 7763
	},
	"type-xml": {
		{"image.svg", `image/svg\+xml(; charset=utf-8)?`},
		{"feed.xml", `application/xml(; charset=utf-8)?|text/xml; charset=utf-8`},
	},
	"type-binary": {
		{"image.png", `image/png`},
		{"image.jpg", `image/jpeg`},
		{"image.gif", `image/gif`},
		{"image.webp", `image/webp`},
		{"favicon.ico", `image/vnd\.microsoft\.icon|image/x-icon`},
		{"paper.pdf", `application/pdf`},
		{"font.woff2", `font/woff2`},
		{"module.wasm", `application/wasm`},
		{"clip.webm", `video/webm`},
		{"song.mp3", `audio/mpeg`},
	},
	"type-mp4":  {{"a.mp4", `video/mp4`}, {"videos/b.mp4", `video/mp4`}},
	"type-json": {{"data.json", `application/json`}},
	"type-unknown": {
		{"odd.xyzzy", `application/octet-stream`},
		{"noext", `application/octet-stream`},
		{"ends-in-dot.", `application/octet-stream`},
		{"v1.0/readme", `application/octet-stream`},
		{"big.bin", `application/octet-stream`},
	},
}

func typeCases() []Case {
	var cases []Case
	for id, files := range fileTypes {
		cases = append(cases, Case{Name: id, IDs: []string{id, "type-nosniff", "content-get", "content-head"}, Run: func(t *T) {
			c := t.Dial()
			for _, f := range files {
				want := regexp.MustCompile(`^(?:` + f.kind + `)$`)
				for _, method := range []string{"GET", "HEAD"} {
					if method == "GET" && f.name == "big.bin" {
						continue
					}
					resp := c.Request(method, "/"+f.name).WantTo(method, 200)
					if got := resp.Get("Content-Type"); !want.MatchString(got) {
						t.Errorf("%s /%s: Content-Type is %q, want %s", method, f.name, got, f.kind)
					}
					if got := resp.Get("X-Content-Type-Options"); got != "nosniff" {
						t.Errorf("%s /%s: X-Content-Type-Options is %q, want nosniff", method, f.name, got)
					}
					text, ok := docroot.Texts[f.name]
					if !ok {
						text = docroot.FileTexts[f.name]
					}
					if method == "GET" && string(resp.Body) != text {
						t.Errorf("the body of /%s is %q, want %q", f.name, resp.Body, text)
					}
					if want := fmt.Sprint(len(text)); f.name != "big.bin" && resp.Get("Content-Length") != want {
						t.Errorf("%s /%s: Content-Length is %s, want %s", method, f.name, resp.Get("Content-Length"), want)
					}
				}
			}
			c.WantKept()
		}})
	}
	slices.SortFunc(cases, func(a, b Case) int { return cmp.Compare(a.Name, b.Name) })
	return cases
}

func nameCases() []Case {
	missing := func(targets ...string) func(*T) {
		return func(t *T) {
			for _, target := range targets {
				askAll(t, ask{target: target, want: 404}, ask{method: "HEAD", target: target, want: 404})
			}
		}
	}
	return []Case{
		{Name: "name-index", IDs: []string{"name-index"}, Run: func(t *T) {
			html := []string{"Content-Type: text/html; charset=utf-8", "X-Content-Type-Options: nosniff"}
			askAll(t,
				ask{target: "/", want: 200, body: docroot.Texts["index.html"], has: html},
				ask{target: "/?x=y", want: 200, body: docroot.Texts["index.html"], has: html},
				ask{target: "/index.html", want: 200, body: docroot.Texts["index.html"], has: html},
				ask{target: "/sub/", want: 200, body: docroot.Texts["sub/index.html"], has: html},
				ask{target: "/sub/?x=y", want: 200, body: docroot.Texts["sub/index.html"], has: html},
				ask{target: "/sub/index.html", want: 200, body: docroot.Texts["sub/index.html"], has: html},
				ask{method: "HEAD", target: "/sub/", want: 200, has: html},
			)
		}},
		{Name: "name-dir-redirect", IDs: []string{"name-dir-redirect"}, Run: func(t *T) {
			to := func(target, location string) ask {
				return ask{target: target, want: 301, has: []string{"Location: " + location}}
			}
			askAll(t,
				to("/sub", "/sub/"),
				to("/videos", "/videos/"),
				to("/empty", "/empty/"),
				to("/public", "/public/"),
				to("/private-index", "/private-index/"),
				to("/sub/private", "/sub/private/"),
				to("/link-dir", "/link-dir/"),
				to("/sub?a=b&c=%20d", "/sub/?a=b&c=%20d"),
				to("/sub?a/../b?c", "/sub/?a/../b?c"),
				to("/s%75b", "/sub/"),
				// The decoded path is encoded again. Otherwise the Location would name another path.
				to("/percent%20%25%20%3f%23&", "/percent%20%25%20%3F%23&/"),
				to("/%5C%5chost", "/%5C%5Chost/"),
				// Escapes in a query are not decoded: this one would end the field line.
				to("/sub?%0d%0aX:%20y", "/sub/?%0d%0aX:%20y"),
				to("http://other.example/sub", "/sub/"),
				ask{method: "HEAD", target: "/sub?x", want: 301, has: []string{"Location: /sub/?x"}},
				ask{target: "/percent%20%25%20%3F%23&/", want: 200, body: docroot.FileTexts["percent % ?#&/index.html"]},
				ask{target: "/%5C%5Chost/", want: 200, body: docroot.FileTexts["\\\\host/index.html"]},
			)
		}},
		{Name: "name-no-listing", IDs: []string{"name-no-listing"}, Run: func(t *T) {
			missing("/empty/", "/videos/", "/public/", "/v1.0/", "/videos/?C=N", "/index-folder/")(t)
			c := t.Dial()
			if body := string(c.Request("GET", "/videos/").Want(404).Body); strings.Contains(body, "b.mp4") {
				t.Errorf("the 404 lists the folder: %q", body)
			}
		}},
		{Name: "name-dot", IDs: []string{"name-dot"}, Run: missing(
			"/.dot", "/%2edot", "/.git", "/.git/", "/.git/config", "/.%67it/config", "/sub/.dot", "/sub/%2Edot", "/videos/.hidden.mp4", "/.", "/sub/.",
			"/./plain.txt", "/sub/./page.html", "/%2e/plain.txt", "/...", "/..dot", "/.well-known/.dot", "/sub/.well-known/x", "/.well-knownx",
			"/.nothing-there",
		)},
		{Name: "name-well-known", IDs: []string{"name-well-known"}, Run: func(t *T) {
			askAll(t,
				ask{target: "/.well-known/x", want: 200, body: docroot.Texts[".well-known/x"]},
				ask{target: "/%2Ewell-known/x", want: 200, body: docroot.Texts[".well-known/x"]},
				ask{target: "/.well-known/nothing-there", want: 404},
				ask{target: "/.well-known/../plain.txt", want: 404},
				ask{target: "/.well-known/./x", want: 404},
			)
		}},
		{Name: "name-missing", IDs: []string{"name-missing"}, Run: missing(
			"/nothing-there", "/nothing-there/", "/nothing/there", "/sub/nothing-there", "/plain", "/plain.tx", "/plain.txt.", "/plain.txt%20", "/%20plain.txt",
			"/PLAIN.TXT", "/Sub/page.html", "/plain.txt;v=1", "/plain.txt%3Fx", "/plain.txt%23x", "/*", "/nothing?/plain.txt",
			"/"+strings.Repeat("n", 255), "/"+strings.Repeat("n", 256), "/"+strings.Repeat("n", 5000), "/"+strings.Repeat("n/", 3000)+"x",
		)},
		{Name: "name-escapes", IDs: []string{"name-escapes"}, Run: func(t *T) {
			askAll(t,
				ask{target: "/blank%20name.txt", want: 200, body: docroot.Texts["blank name.txt"]},
				ask{target: "/gr%C3%BC%c3%9Fe.txt", want: 200, body: docroot.Texts["grüße.txt"]},
				ask{target: "/100%25.txt", want: 200, body: docroot.Texts["100%.txt"]},
				ask{target: "/a%2520b.txt", want: 200, body: docroot.Texts["a%20b.txt"]},
				ask{target: "/%70%6C%61%69%6E%2E%74%78%74", want: 200, body: docroot.Texts["plain.txt"]},
				ask{target: "/quote%22and'apostrophe%3C&%3E.txt", want: 200, body: docroot.FileTexts["quote\"and'apostrophe<&>.txt"]},
				ask{target: "/a%20b.txt", want: 404},
				ask{target: "/blank+name.txt", want: 404},
				ask{target: "/%ff%FE.txt", want: 404},
			)
		}},
		{Name: "name-slash-file", IDs: []string{"name-slash-file"}, Run: missing(
			"/plain.txt/", "/sub/page.html/", "/plain.txt/x", "/plain.txt/index.html", "/index.html/", "/link-in.txt/", "/big.bin/", "/empty.txt/",
		)},
		{Name: "name-link-inside", IDs: []string{"name-link-inside"}, Run: func(t *T) {
			plain := []string{"Content-Type: text/plain; charset=utf-8"}
			askAll(t,
				ask{target: "/link-in.txt", want: 200, body: docroot.Texts["plain.txt"], has: plain},
				ask{method: "HEAD", target: "/link-in.txt", want: 200, has: plain},
				ask{target: "/sub/link-up.txt", want: 200, body: docroot.Texts["plain.txt"], has: plain},
				ask{target: "/link-chain.txt", want: 200, body: docroot.Texts["plain.txt"], has: plain},
				ask{target: "/link-dir/", want: 200, body: docroot.Texts["sub/index.html"]},
				ask{target: "/link-dir/page.html", want: 200, body: docroot.Texts["sub/page.html"]},
				ask{target: "/link-dir/link-up.txt", want: 200, body: docroot.Texts["plain.txt"], has: plain},
				ask{target: "/link-dir/nothing-there", want: 404},
				ask{target: "/link-in.txt", fields: []string{"Range: bytes=2-6"}, want: 206, body: "plain"},
				ask{target: "/link-in.txt", fields: []string{"If-None-Match: $TAG"}, want: 304},
			)
		}},
		{Name: "name-link-outside", IDs: []string{"name-link-outside"}, Run: missing(
			"/link-out.txt", "/link-out-rel.txt", "/link-out-and-back.txt", "/link-loop", "/link-dangling.txt", "/link-null",
		)},
		{Name: "name-link-absolute", IDs: []string{"name-link-absolute"}, Run: missing(
			"/link-abs.txt", "/link-abs-dir/", "/link-abs-dir/page.html", "/link-etc/", "/link-etc/hostname", "/link-etc/passwd",
		)},
		{Name: "name-link-dir-outside", IDs: []string{"name-link-dir-outside"}, Run: missing(
			"/link-out-dir/outside.txt", "/link-out-dir/", "/link-out-dir/nothing-there", "/link-out-dir/../root/plain.txt",
		)},
		{Name: "name-link-many", IDs: []string{"name-link-inside"}, Run: linkMany},
		{Name: "name-transient", IDs: []string{"name-transient"}, Run: leased},
		{Name: "name-fifo", IDs: []string{"name-fifo"}, Run: func(t *T) {
			var targets []string
			for name := range docroot.Specials {
				if _, err := os.Lstat(t.Root.Path(name)); err == nil {
					targets = append(targets, "/"+name)
				}
			}
			targets = append(targets, "/fifo", "/fifo/", "/fifo/x", "/link-fifo", "/fifo-folder/")
			for _, target := range targets {
				for _, method := range []string{"GET", "HEAD"} {
					t.Sub(method+" "+target, func(t *T) {
						// A server that waits until somebody writes to the FIFO never answers.
						c := t.Dial().Patience(3 * time.Second)
						c.Request(method, target).WantTo(method, 404)
						c.Request(method, target, "Range: bytes=0-3").WantTo(method, 404)
						c.WantKept()
					})
				}
			}
		}},
		{Name: "name-fifo-written", IDs: []string{"name-fifo"}, Run: func(t *T) {
			// A FIFO that somebody has written to can be read at once. It is 404 all the same, and
			// the server must not read its bytes.
			name := "fifo-written"
			t.Must(unix.Mkfifo(t.Root.Path(name), 0o644))
			f, err := os.OpenFile(t.Root.Path(name), os.O_RDWR|unix.O_NONBLOCK, 0)
			t.Must(err)
			defer func() { _ = f.Close() }()
			_, err = f.WriteString("written")
			t.Must(err)
			askAll(t, ask{target: "/" + name, want: 404}, ask{target: "/" + name, fields: []string{"Range: bytes=0-3"}, want: 404})
			rest := make([]byte, 20)
			t.Must(f.SetReadDeadline(time.Now().Add(process.Patience)))
			if n, _ := f.Read(rest); string(rest[:n]) != "written" {
				t.Errorf("the FIFO has %q left, want %q", rest[:n], "written")
			}
		}},
		{Name: "name-unreadable", IDs: []string{"name-unreadable"}, NoServer: true, Run: func(t *T) {
			r := t.Folder(map[string]string{
				"secret.txt": "secret", "plain.txt": "plain", "closed/x.txt": "x", "unread/index.html": "x",
			})
			t.Must(os.Chmod(r.Path("secret.txt"), 0))
			t.Must(os.Chmod(r.Path("closed"), 0))
			t.Must(os.Chmod(r.Path("unread/index.html"), 0))
			wrap, ok := withoutPrivileges(t)
			if !ok {
				t.Logf("skipped: root cannot give up its right to read every file")
				return
			}
			s := t.Begin(Config{Root: r.Dir, Wrap: wrap})
			client := t.DialTo(s, DialOptions{})
			for _, target := range []string{"/secret.txt", "/closed/x.txt", "/closed/", "/closed", "/closed/nothing-there", "/unread/"} {
				resp := client.Request("GET", target).Read()
				if resp.Status != 404 && resp.Status != 403 && !(target == "/closed" && resp.Status == 301) {
					t.Errorf("%s: answered %d, want 404 or 403", target, resp.Status)
				}
				if strings.Contains(string(resp.Body), r.Dir) {
					t.Errorf("%s: the response has the path of the root: %q", target, resp.Body)
				}
				client.WantKept()
			}
			client.Request("GET", "/plain.txt").WantBody(200, "plain")
		}},
		{Name: "name-encoded-slash", IDs: []string{"name-encoded-slash"}, Run: func(t *T) {
			missing(
				"/..%2foutside/outside.txt", "/..%2Foutside%2Foutside.txt", "/%2e%2e%2foutside%2foutside.txt", "/sub%2f..%2fplain.txt", "/%2Fetc%2Fpasswd",
				"/%2fplain.txt", "/sub%2F%2Fpage.html", "/sub%2f.dot", "/.git%2Fconfig", "/link-out-dir%2Foutside.txt", "/plain.txt%2F", "/%2e%2Fplain.txt",
				"/sub%5Cpage.html", "/..%5Coutside%5Coutside.txt", "/%252e%252e/outside/outside.txt", "/..%252foutside%252foutside.txt",
				"/..%c0%afoutside/outside.txt", "/%c0%ae%c0%ae/outside/outside.txt",
			)(t)
			askAll(t,
				ask{target: "/private%2Fsecret.txt", want: 403},
				ask{target: "/private%2F", want: 403},
			)
			// A server may take %2F for a slash, or for a byte that no name can have.
			c := t.Dial()
			if resp := c.Request("GET", "/sub%2Fpage.html").Read(); resp.Status != 404 &&
				(resp.Status != 200 || string(resp.Body) != docroot.Texts["sub/page.html"]) {
				t.Errorf("/sub%%2Fpage.html is answered %v, want 404 or the file", resp)
			}
		}},
	}
}

// withoutPrivileges returns the command that takes from root its right to read everything. It is empty
// for any other user; ok is false if root cannot give up the right.
func withoutPrivileges(t *T) (wrap []string, ok bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil, true
	}
	wrap = []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}
	_, status := try(t, wrap, "true")
	return wrap, status == 0
}

// linkMany makes a chain of links. The server follows eight links, and as many as the kernel if that has openat2(2).
func linkMany(t *T) {
	files := map[string]string{"plain.txt": "plain", "1": "->plain.txt"}
	for i := 2; i <= 41; i++ {
		files[fmt.Sprint(i)] = fmt.Sprintf("->%d", i-1)
	}
	s := t.Begin(Config{Root: t.Folder(files).Dir})
	c := t.DialTo(s, DialOptions{})
	longest := 40
	fd, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{Flags: unix.O_PATH})
	if err != nil {
		longest = 8
	} else {
		_ = unix.Close(fd)
	}
	for i := 1; i <= longest; i++ {
		c.Request("GET", fmt.Sprintf("/%d", i)).WantBody(200, "plain")
	}
	c.Request("GET", "/41").Want(404)
}

// leased takes a write lease on two files (fcntl(2), F_SETLEASE), so that no other process can open them without a
// wait. That says nothing about the files.
func leased(t *T) {
	cached, other := t.File(".txt", "cached"), t.File(".txt", "other")
	c := t.Dial()
	c.Request("GET", "/"+cached).WantBody(200, "cached")
	for _, name := range []string{cached, other} {
		f, err := os.OpenFile(t.Root.Path(name), os.O_RDWR, 0)
		t.Must(err)
		defer f.Close()
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			t.Logf("this file system has no leases: %v", err)
			return
		}
	}
	resp := c.Request("GET", "/"+other).Want(503)
	if resp.Get("Retry-After") == "" {
		t.Errorf("a 503 without Retry-After")
	}
	for end := time.Now().Add(changeLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c.Request("GET", "/"+cached).WantBody(200, "cached")
	}
}
