package site

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"fourways.example/common/h1"
)

// big is the content of a file that is too large for the cache's memory. It does not repeat
// itself, so a test notices bytes from a wrong offset.
var big = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 5*maxSmall; i++ {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String()
}()

func TestGet(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{
		"index.html":          "<h1>top</h1>",
		"a.txt":               "a",
		"empty.txt":           "",
		"big.bin":             big,
		"edge.bin":            big[:maxSmall],
		"over.bin":            big[:maxSmall+1],
		"clip.mp4":            "clip",
		"picture.svg":         "<svg/>",
		"a b%c.txt":           "odd",
		"sub/index.html":      "sub",
		"sub/x.json":          "{}",
		"sub/none/":           "",
		"odd/index.html/":     "",
		".dot":                "dot",
		"sub/.dot":            "dot",
		".well-known/x":       "well known",
		"in.txt":              "-> a.txt",
		"sub/up.txt":          "-> ../a.txt",
		"subdir":              "-> sub",
		"out.txt":             "-> ../../../../../../etc/passwd",
		"abs.txt":             "-> /etc/passwd",
		"loop":                "-> loop",
		"dangling":            "-> nowhere",
		"healthz":             "never seen",
		"api/login":           "never seen",
		"private/x.txt":       "secret",
		"private/index.html":  "secret",
		"xprivate/private/ok": "not private",
	})
	for name, kind := range map[string]uint32{"fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK} {
		if err := unix.Mknod(filepath.Join(f.dir, name), kind|0o644, 0); err != nil {
			t.Fatal(name, err)
		}
	}
	for _, tt := range []struct {
		target string
		status int
		kind   string
		body   string // checked only if status is 200
	}{
		{"/", 200, "text/html; charset=utf-8", "<h1>top</h1>"},
		{"/?x=y", 200, "text/html; charset=utf-8", "<h1>top</h1>"},
		{"/index.html", 200, "text/html; charset=utf-8", "<h1>top</h1>"},
		{"/a.txt", 200, "text/plain; charset=utf-8", "a"},
		{"/empty.txt", 200, "text/plain; charset=utf-8", ""},
		{"/big.bin", 200, otherType, big},
		{"/edge.bin", 200, otherType, big[:maxSmall]},
		{"/over.bin", 200, otherType, big[:maxSmall+1]},
		{"/clip.mp4", 200, "video/mp4", "clip"},
		{"/a%20b%25c.txt", 200, "text/plain; charset=utf-8", "odd"},
		{"/sub/", 200, "text/html; charset=utf-8", "sub"},
		{"/sub/x.json", 200, "application/json", "{}"},
		{"/.well-known/x", 200, otherType, "well known"},
		{"/in.txt", 200, "text/plain; charset=utf-8", "a"},
		{"/sub/up.txt", 200, "text/plain; charset=utf-8", "a"},
		{"/subdir/x.json", 200, "application/json", "{}"},
		{"/xprivate/private/ok", 200, otherType, "not private"},
		{"/healthz", 200, "text/plain; charset=utf-8", "ok"},
		{"/api/login", 200, "application/json", "{}"},

		{"/nope", 404, "", ""},
		{"/nope/", 404, "", ""},
		{"/sub/none/", 404, "", ""},
		{"/odd/", 404, "", ""},
		{"/a.txt/", 404, "", ""},
		{"/a.txt/x", 404, "", ""},
		{"/.dot", 404, "", ""},
		{"/sub/.dot", 404, "", ""},
		{"/sub/../a.txt", 404, "", ""},
		{"/sub/%2e%2e/a.txt", 404, "", ""},
		{"/sub%2F..%2Fa.txt", 404, "", ""},
		{"/./a.txt", 404, "", ""},
		{"//a.txt", 404, "", ""},
		{"/sub//x.json", 404, "", ""},
		{"/%2Fa.txt", 404, "", ""},
		{"/out.txt", 404, "", ""},
		{"/abs.txt", 404, "", ""},
		{"/loop", 404, "", ""},
		{"/dangling", 404, "", ""},
		{"/fifo", 404, "", ""},
		{"/socket", 404, "", ""},
		{"/picture.svg", 200, "image/svg+xml; charset=utf-8", "<svg/>"},
		{"/" + strings.Repeat("x", 300), 404, "", ""},
		{"/" + strings.Repeat("x/", 3000), 404, "", ""},
		{"/api", 404, "", ""},
		{"/api/", 404, "", ""},
		{"/api/nope", 404, "", ""},
		{"/api/login/", 404, "", ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := f.do(method, tt.target)
			if r.Status != tt.status {
				t.Errorf("%s %.60s: status %d, want %d", method, tt.target, r.Status, tt.status)
				continue
			}
			if nosniff := r.get("X-Content-Type-Options"); nosniff != "nosniff" {
				t.Errorf("%s %.60s: X-Content-Type-Options %q", method, tt.target, nosniff)
			}
			if tt.status != 200 {
				continue
			}
			if kind := r.get("Content-Type"); kind != tt.kind {
				t.Errorf("%s %s: type %q, want %q", method, tt.target, kind, tt.kind)
			}
			if n := r.get("Content-Length"); n != fmt.Sprint(len(tt.body)) {
				t.Errorf("%s %s: length %s, want %d", method, tt.target, n, len(tt.body))
			}
			if method == "GET" && r.Body != tt.body {
				t.Errorf("%s: the body has %d bytes and is not the content of the file", tt.target, len(r.Body))
			}
		}
	}
	head, get := f.do("HEAD", "/big.bin"), f.get("/big.bin")
	if diff := cmp.Diff(get.undated().Fields, head.undated().Fields); diff != "" {
		t.Errorf("fields of HEAD (-GET +HEAD):\n%s", diff)
	}
}

func TestRedirect(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{
		"sub/index.html": "sub", "a b/": "", `\evil.example/`: "", "link": "-> sub", "private/": "", "pub": "-> private",
	})
	for target, want := range map[string]string{
		"/sub":                  "/sub/",
		"/sub?x=y&z":            "/sub/?x=y&z",
		`/sub?"<>`:              "/sub/?%22%3C%3E",
		"/a%20b":                "/a%20b/",
		"/%5Cevil.example":      "/%5Cevil.example/",
		"/link":                 "/link/",
		"http://other.test/sub": "/sub/",
	} {
		r := f.get(target)
		if got := r.get("Location"); r.Status != 301 || got != want || r.get("Connection") != "" {
			t.Errorf("%s: %d to %q, want 301 to %q", target, r.Status, got, want)
		}
	}
	for _, target := range []string{"//sub", "//evil.example/..", "/pub", "/private"} {
		if r := f.get(target); r.Status == 301 {
			t.Errorf("%s: redirected to %q", target, r.get("Location"))
		}
	}
}

func TestMethods(t *testing.T) {
	f := serveSite(t, withAccount(Config{}), map[string]string{"a.txt": "a", "private/x": "x"})
	const read, post, login = "GET, HEAD, OPTIONS", "POST, OPTIONS", "GET, HEAD, POST, OPTIONS"
	for target, allow := range map[string]string{
		"/a.txt": read, "/": read, "/healthz": read, "/loadavg": read, "/meminfo": read,
		"/api/loadavg": read, "/api/meminfo": read, "/api/video": read,
		"/echo": post, "/api/logout": post, "/api/login": login,
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} {
			r := f.do(method, target, "", "body")
			has := strings.Contains(allow, method)
			if (r.Status == 405) == has || !has && r.get("Allow") != allow || r.get("Connection") != "" {
				t.Errorf("%s %s: %d, Allow %q, want %q", method, target, r.Status, r.get("Allow"), allow)
			}
		}
		if r := f.do("OPTIONS", target); r.Status != 204 || r.get("Allow") != allow {
			t.Errorf("OPTIONS %s: %+v, want 204, Allow %q", target, r, allow)
		}
	}
	if r := f.do("OPTIONS", "*"); r.Status != 204 || r.get("Allow") != login {
		t.Errorf("OPTIONS *: %+v", r)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"} {
		if r := f.do(method, "/private/x"); r.Status != 403 || r.get("Allow") != "" {
			t.Errorf("%s /private/x: %+v, want 403 without Allow", method, r)
		}
		if r := f.do(method, "/api/nope"); r.Status != 404 {
			t.Errorf("%s /api/nope: %d, want 404", method, r.Status)
		}
	}
}

func TestPrivate(t *testing.T) {
	f := serveSite(t, withAccount(Config{Fallback: true}), map[string]string{
		"index.html":         "top",
		"private/x.txt":      "secret",
		"private/index.html": "secret index",
		"private/sub/y.txt":  "secret y",
		"private/page.html":  "secret page",
		"private.html":       "not secret",
		"link.txt":           "-> private/x.txt",
		"dir":                "-> private",
		"deep/dir":           "-> ../private/sub",
		"two":                "-> dir",
		"page.html":          "-> private/page.html",
		"x/":                 "",
	})
	token := f.token()
	for _, tt := range []struct {
		target string
		status int // with a token; without a token it is always 403
	}{
		{"/private/x.txt", 200},
		{"/private/", 200},
		{"/private", 301}, // the fallback does not serve private.html for it
		{"/private/nope", 404},
		{"/private/nope/", 404},
		{"/private/sub", 301},
		{"/private/sub/", 404},
		{"/private/page", 404},
		{"/private//x.txt", 404},
		{"/private/../x", 404},
		{"/private/../private/x.txt", 404},
		{"/private/./x.txt", 404},
		{"/private/.x", 404},
		{"/%70rivate/x.txt", 200},
		{"/private%2Fx.txt", 200},
		{"/private?x", 301},
		{"http://test/private/x.txt", 200},
		{"/link.txt", 200},
		{"/dir", 200},      // the fallback serves index.html for a folder
		{"/dir/nope", 200}, // the fallback serves index.html
		{"/dir/x.txt", 200},
		{"/dir/", 200},
		{"/deep/dir/y.txt", 200},
		{"/deep/dir/no/such", 200},
		{"/two/x.txt", 200},
		{"/page", 200},
		{"/page.html", 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if r := f.do(method, tt.target); r.Status != 403 || strings.Contains(r.Body, "secret") {
				t.Errorf("%s %s without a token: %+v, want 403", method, tt.target, r)
			}
			if r := f.do(method, tt.target, "Cookie: auth_jwt="+token); r.Status != tt.status {
				t.Errorf("%s %s with a token: %d, want %d", method, tt.target, r.Status, tt.status)
			}
		}
	}
	if r := f.get("/private.html"); r.Status != 200 {
		t.Errorf("/private.html: %+v", r)
	}
	if r := f.get("/private/x.txt", "Cookie: auth_jwt="+token); r.get("Cache-Control") != "private, no-cache" {
		t.Errorf("a private file: %+v", r)
	}
	// The responses for a name that exists and for one that does not must be equal.
	if diff := cmp.Diff(f.get("/private/nope").undated(), f.get("/private/x.txt").undated()); diff != "" {
		t.Errorf("the 403 shows whether a file exists (-nope +x.txt):\n%s", diff)
	}
	if diff := cmp.Diff(f.get("/dir/nope").undated(), f.get("/dir/x.txt").undated()); diff != "" {
		t.Errorf("the 403 shows whether a file exists (-nope +x.txt):\n%s", diff)
	}
}

// TestBadSpelling checks paths that lead into /private only if a server resolves them. The
// response is the same 404 with and without a token, whether the name exists or not.
func TestBadSpelling(t *testing.T) {
	f := serveSite(t, withAccount(Config{Fallback: true}), map[string]string{
		"index.html": "top", "private/x.txt": "secret", "public/y.txt": "y", "link": "-> private",
	})
	cookie := "Cookie: auth_jwt=" + f.token()
	for _, folder := range []string{
		"//private", "/%2Fprivate", "/./private", "/public/../private", "/public/%2e%2e/private", "/public/..%2Fprivate",
		"/public//../private", "/public//private", "/../private", "/none/../private", "/link/../private", "/link//", "/link/.",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"} {
			want := f.do(method, "/none//none")
			for _, target := range []string{folder + "/x.txt", folder + "/none", folder + "/"} {
				for _, lines := range [][]string{nil, {cookie}} {
					r := f.do(method, target, lines...)
					if diff := cmp.Diff(want.undated(), r.undated()); r.Status != 404 || diff != "" {
						t.Errorf("%s %s with %d cookies: %d; it differs from another 404 (-want +got):\n%s", method, target, len(lines), r.Status, diff)
					}
				}
			}
		}
	}
}

// TestPrivateLater moves a file into /private and leaves a link, so that the old path still
// leads to the file. The file must become private, although its stamp does not change.
func TestPrivateLater(t *testing.T) {
	for _, size := range []int{10, len(big)} {
		f := serveSite(t, Config{}, map[string]string{"a/x": big[:size], "private/": ""})
		f.clock.advance(2 * settled)
		if r := f.get("/a/x"); r.Status != 200 {
			t.Fatalf("before the move: %+v", r)
		}
		if err := os.Rename(filepath.Join(f.dir, "a"), filepath.Join(f.dir, "private/a")); err != nil {
			t.Fatal(err)
		}
		f.put("a", "-> private/a")
		f.clock.advance(time.Second)
		if r := f.get("/a/x"); r.Status != 403 {
			t.Errorf("%d bytes: %d, want 403", size, r.Status)
		}
	}
}

func TestFallback(t *testing.T) {
	files := map[string]string{
		"index.html":        "index",
		"about.html":        "about",
		"public.html":       "public",
		"public/file.txt":   "file",
		"sub/index.html":    "sub index",
		"sub/page.html":     "sub page",
		"plain":             "plain",
		"plain.html":        "not plain",
		"folder/index.html": "folder index",
		"out":               "-> /etc/passwd",
		".x.html":           "hidden",
		"bare/.html":        "hidden",
	}
	for _, tt := range []struct {
		target       string
		off, on, on2 string // bodies without -a, with it, and with it and a 200.html
	}{
		{"/", "index", "index", "index"},
		{"/about", "404", "about", "about"},
		{"/about.html", "about", "about", "about"},
		{"/about/", "404", "index", "200"},
		{"/bare/", "404", "index", "200"},
		{"/public", "301", "public", "public"},
		{"/public/", "404", "index", "200"},
		{"/public/file.txt", "file", "file", "file"},
		{"/sub/", "sub index", "sub index", "sub index"},
		{"/sub/page", "404", "sub page", "sub page"},
		{"/sub/nope", "404", "index", "200"},
		{"/plain", "plain", "plain", "plain"},
		{"/folder", "301", "index", "200"},
		{"/no/such/path", "404", "index", "200"},
		{"/plain/x", "404", "index", "200"},
		{"/" + strings.Repeat("x", 300), "404", "index", "200"},
		{"/out", "404", "404", "404"},
		{"/.x", "404", "404", "404"},
		{"/a//b", "404", "404", "404"},
		{"/a/../b", "404", "404", "404"},
		{"/api", "404", "404", "404"},
		{"/api/nope", "404", "404", "404"},
		{"/private/nope", "403", "403", "403"},
	} {
		for i, want := range []string{tt.off, tt.on, tt.on2} {
			f := serveSite(t, Config{Fallback: i > 0}, files)
			if i == 2 {
				f.put("200.html", "200")
			}
			r := f.get(tt.target)
			got := r.Body
			if r.Status != 200 {
				got = fmt.Sprint(r.Status)
			}
			if got != want {
				t.Errorf("%s in case %d: %q, want %q", tt.target, i, got, want)
			}
		}
	}
	f := serveSite(t, Config{Fallback: true}, map[string]string{"empty/": ""})
	if r := f.get("/empty"); r.Status != 301 {
		t.Errorf("a folder without a fallback file: %+v, want 301", r)
	}
	if r := f.get("/nope"); r.Status != 404 {
		t.Errorf("a missing file without a fallback file: %+v, want 404", r)
	}
}

func TestConditionalGet(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.txt": "abcdef", "big.bin": big})
	f.clock.advance(2 * settled)
	for _, target := range []string{"/a.txt", "/big.bin"} {
		first := f.get(target)
		tag, date := first.get("ETag"), first.get("Last-Modified")
		if len(tag) != 26 || tag[0] != '"' || date != "Sun, 17 May 2020 12:00:00 GMT" || first.get("Accept-Ranges") != "bytes" {
			t.Fatalf("%s: %q", target, first.Fields)
		}
		for _, tt := range []struct {
			field  string
			status int
		}{
			{"If-None-Match: " + tag, 304},
			{"If-None-Match: W/" + tag, 304},
			{`If-None-Match: "x"`, 200},
			{"If-Modified-Since: " + date, 304},
			{"If-Match: " + tag, 200},
			{`If-Match: "x"`, 412},
			{"If-Unmodified-Since: Sun, 17 May 2020 11:59:59 GMT", 412},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				r := f.do(method, target, tt.field)
				if r.Status != tt.status || r.get("Connection") != "" {
					t.Errorf("%s %s with %s: %+v, want %d", method, target, tt.field, r, tt.status)
				}
				if r.Status == 304 && (r.get("ETag") != tag || r.get("Date") == "" || r.get("Cache-Control") == "" || r.get("Content-Type") != "") {
					t.Errorf("%s %s with %s: %q", method, target, tt.field, r.Fields)
				}
			}
		}
	}
	// RFC 9110 §13.2.1: a precondition matters only if the status would be 2xx without it.
	if r := f.get("/nope", "If-Match: *"); r.Status != 404 {
		t.Errorf("If-Match for a missing file: %+v, want 404", r)
	}
}

func TestRangeGet(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"small.txt": big[:1000], "big.txt": big, "empty.txt": ""})
	for target, text := range map[string]string{"/small.txt": big[:1000], "/big.txt": big} {
		n := len(text)
		tag := f.get(target).get("ETag")
		for _, tt := range []struct {
			fields  []string
			status  int
			content string // Content-Range
			body    string
		}{
			{[]string{"Range: bytes=0-0"}, 206, fmt.Sprintf("bytes 0-0/%d", n), text[:1]},
			{[]string{"Range: bytes=5-"}, 206, fmt.Sprintf("bytes 5-%d/%d", n-1, n), text[5:]},
			{[]string{"Range: bytes=-7"}, 206, fmt.Sprintf("bytes %d-%d/%d", n-7, n-1, n), text[n-7:]},
			{[]string{"Range: bytes=0-"}, 206, fmt.Sprintf("bytes 0-%d/%d", n-1, n), text},
			{[]string{fmt.Sprintf("Range: bytes=%d-", n)}, 416, fmt.Sprintf("bytes */%d", n), ""},
			{[]string{"Range: lines=1-2"}, 200, "", text},
			{[]string{"Range: bytes=0-9,5-14"}, 200, "", text},
			{[]string{"Range: bytes=3-4", "If-Range: " + tag}, 206, fmt.Sprintf("bytes 3-4/%d", n), text[3:5]},
			{[]string{"Range: bytes=3-4", `If-Range: "x"`}, 200, "", text},
			{[]string{fmt.Sprintf("Range: bytes=%d-", n), `If-Range: "x"`}, 200, "", text},
			{[]string{"Range: bytes=3-4", "If-None-Match: " + tag}, 304, "", ""},
			{[]string{"Range: bytes=3-4", `If-Match: "x"`}, 412, "", ""},
		} {
			r := f.get(target, tt.fields...)
			if r.Status != tt.status || r.get("Content-Range") != tt.content || r.Status < 300 && r.Body != tt.body {
				t.Errorf("%s %q: %d %q, %d bytes; want %d %q", target, tt.fields, r.Status, r.Fields, len(r.Body), tt.status, tt.content)
			}
			if r.Status == 206 && (r.get("ETag") != tag || r.get("Content-Type") != "text/plain; charset=utf-8") {
				t.Errorf("%s %q: %q", target, tt.fields, r.Fields)
			}
		}
		if r := f.do("HEAD", target, "Range: bytes=0-0"); r.Status != 200 || r.get("Content-Length") != fmt.Sprint(n) {
			t.Errorf("HEAD with a range: %+v, want 200", r)
		}
	}
	if r := f.get("/empty.txt", "Range: bytes=0-"); r.Status != 416 || r.get("Content-Range") != "bytes */0" {
		t.Errorf("range of an empty file: %+v, want 416", r)
	}
	if r := f.get("/empty.txt", "Range: bytes=-5"); r.Status != 200 {
		t.Errorf("suffix of an empty file: %+v, want 200", r)
	}
}

func TestMultipart(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"small.txt": big[:1000], "big.txt": big})
	seen := map[string]bool{} // both halves of each boundary: neither may occur twice
	for target, text := range map[string]string{"/small.txt": big[:1000], "/big.txt": big} {
		n := len(text)
		r := f.get(target, "Range: bytes=10-19, 99999999-, 0-0, -5")
		if r.Status != 206 || r.get("Content-Range") != "" {
			t.Fatalf("%s: %d %q", target, r.Status, r.Fields)
		}
		kind, params, err := mime.ParseMediaType(r.get("Content-Type"))
		boundary := params["boundary"]
		if err != nil || kind != "multipart/byteranges" || len(boundary) != 32 || seen[boundary[:16]] || seen[boundary[16:]] {
			t.Fatalf("Content-Type %q: %v", r.get("Content-Type"), err)
		}
		seen[boundary[:16]], seen[boundary[16:]] = true, true
		type part struct{ Kind, Range, Body string }
		var got []part
		for parts := multipart.NewReader(strings.NewReader(r.Body), boundary); ; {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(p)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part{p.Header.Get("Content-Type"), p.Header.Get("Content-Range"), string(body)})
		}
		const kindOfParts = "text/plain; charset=utf-8"
		want := []part{
			{kindOfParts, fmt.Sprintf("bytes 10-19/%d", n), text[10:20]},
			{kindOfParts, fmt.Sprintf("bytes 0-0/%d", n), text[:1]},
			{kindOfParts, fmt.Sprintf("bytes %d-%d/%d", n-5, n-1, n), text[n-5:]},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

// TestChanges changes a file in many ways. The site must notice each change after maxAge.
func TestChanges(t *testing.T) {
	for _, size := range []int{100, len(big)} { // a file in memory and an open file
		text := big[:size]
		other := strings.ToUpper(strings.ReplaceAll(text, "1", "x"))
		f := serveSite(t, Config{}, map[string]string{"a.txt": text})
		path := filepath.Join(f.dir, "a.txt")
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		tag := ""
		for _, step := range []struct {
			name   string
			change func()
			status int
			body   string
		}{
			{"unchanged", func() {}, 200, text},
			{"overwritten", func() { must(os.WriteFile(path, []byte(other), 0o644)) }, 200, other},
			{"overwritten with the same length and time", func() { f.put("a.txt", text) }, 200, text},
			{"truncated", func() { must(os.Truncate(path, 50)) }, 200, text[:50]},
			{"replaced by a rename", func() {
				f.put("b.txt", other)
				must(os.Rename(filepath.Join(f.dir, "b.txt"), path))
			}, 200, other},
			{"removed", func() { must(os.Remove(path)) }, 404, ""},
			{"replaced by a folder", func() { must(os.Mkdir(path, 0o755)) }, 301, ""},
			{"removed again", func() { must(os.Remove(path)) }, 404, ""},
			{"created again", func() { f.put("a.txt", text) }, 200, text},
			{"replaced by a link", func() {
				f.put("c.txt", other)
				must(os.Remove(path))
				f.put("a.txt", "-> c.txt")
			}, 200, other},
		} {
			step.change()
			f.clock.advance(time.Duration(maxAge))
			r := f.get("/a.txt")
			if r.Status != step.status || r.Status == 200 && r.Body != step.body {
				t.Errorf("%d bytes, %s: %d, %d bytes; want %d, %d", size, step.name, r.Status, len(r.Body), step.status, len(step.body))
			}
			if r.Status == 200 && r.get("ETag") == tag {
				t.Errorf("%d bytes, %s: the tag is still %s", size, step.name, tag)
			}
			tag = r.get("ETag")
		}
	}
}

// TestSameStamp changes a file without a change of its stamp, as a write to mapped memory or
// a program that sets the times back can. The site must compare the contents.
func TestSameStamp(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.txt": "one"})
	f.clock.advance(2 * settled)
	f.get("/a.txt")
	e, err := f.site.cache.get([]byte("/a.txt"), f.site.clock())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	f.put("a.txt", "two")
	now, err := f.site.load("/a.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer now.Release()
	e.stamp, e.racy = now.stamp, now.racy
	f.clock.advance(time.Duration(maxAge))
	if r := f.get("/a.txt"); r.Body != "two" {
		t.Errorf("got %q, want two", r.Body)
	}
}

// TestSameTick changes a file twice in one tick of the file system's clock, so the stamps
// are equal. The site must compare the contents while the entry is racy.
func TestSameTick(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.txt": "one"})
	e, err := f.site.cache.get([]byte("/a.txt"), f.site.clock())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	if !e.racy {
		t.Fatal("the entry of a file that was just written is not racy")
	}
	f.put("a.txt", "two")
	now, err := f.site.load("/a.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer now.Release()
	e.stamp = now.stamp // as if both changes were in one tick
	f.clock.advance(time.Duration(maxAge))
	if r := f.get("/a.txt"); r.Body != "two" {
		t.Errorf("got %q, want two", r.Body)
	}
	f.clock.advance(settled + time.Second)
	if r := f.get("/a.txt"); r.Body != "two" {
		t.Fatal(r)
	}
	settledEntry, err := f.site.cache.get([]byte("/a.txt"), f.site.clock())
	if err != nil {
		t.Fatal(err)
	}
	defer settledEntry.Release()
	if settledEntry.racy {
		t.Error("the entry is still racy after the time settled")
	}
}

// TestTagOfContent checks that the entity tag of a small file depends only on its content,
// not on its modification time.
func TestTagOfContent(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.txt": "same", "b.txt": "same", "c.txt": "other"})
	later := longAgo.Add(time.Hour)
	if err := os.Chtimes(filepath.Join(f.dir, "b.txt"), later, later); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(2 * settled)
	a, b, c := f.get("/a.txt"), f.get("/b.txt"), f.get("/c.txt")
	if a.get("ETag") != b.get("ETag") || a.get("Last-Modified") == b.get("Last-Modified") {
		t.Errorf("want equal tags and different times:\na %q\nb %q", a.Fields, b.Fields)
	}
	if a.get("ETag") == c.get("ETag") {
		t.Errorf("two different contents have the tag %s", a.get("ETag"))
	}
}

// TestLastModified checks the date of files whose times are fresh, in the future, or before
// the year 1.
func TestLastModified(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.txt": "a", "future.txt": "f", "early.txt": "e"})
	setTime := func(name string, when time.Time) {
		t.Helper()
		if err := os.Chtimes(filepath.Join(f.dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	setTime("future.txt", f.clock.now().Add(24*time.Hour))
	for _, target := range []string{"/a.txt", "/future.txt"} {
		r := f.get(target)
		if r.get("Last-Modified") != "" {
			t.Errorf("%s: a file that has just changed has a Last-Modified: %q", target, r.Fields)
		}
		// RFC 9110 §13.1.3, §13.1.4: without a date, these conditions are ignored.
		for _, field := range []string{"If-Modified-Since", "If-Unmodified-Since"} {
			for _, date := range []string{"Sun, 17 May 2020 12:00:00 GMT", "Sun, 17 May 2009 12:00:00 GMT", "Sun, 17 May 2099 12:00:00 GMT"} {
				if r := f.get(target, field+": "+date); r.Status != 200 {
					t.Errorf("%s with %s: %s: %d, want 200", target, field, date, r.Status)
				}
			}
		}
	}
	if r := f.get("/a.txt", "Range: bytes=0-0", "If-Range: "+longAgo.Format(h1.IMFFixdate)); r.Status != 200 {
		t.Errorf("If-Range with the date of a file that has just changed: %d, want 200", r.Status)
	}

	f.clock.advance(2 * settled)
	if r := f.get("/a.txt"); r.get("Last-Modified") != longAgo.Format(h1.IMFFixdate) {
		t.Errorf("a file that has settled: %q", r.Fields)
	}
	if r := f.get("/a.txt", "Range: bytes=0-0", "If-Range: "+longAgo.Format(h1.IMFFixdate)); r.Status != 206 {
		t.Errorf("If-Range with the date of a file that has settled: %d, want 206", r.Status)
	}
	r := f.get("/future.txt")
	date := r.get("Last-Modified")
	if want := f.clock.now().UTC().Format(h1.IMFFixdate); date != want {
		t.Errorf("a file from the future: Last-Modified %q, want the time of the look, %q", date, want)
	}
	if r := f.get("/future.txt", "Range: bytes=0-0", "If-Range: "+date); r.Status != 200 {
		t.Errorf("If-Range with the date of a file from the future: %d, want 200", r.Status)
	}
	if r := f.get("/future.txt", "If-Modified-Since: "+date); r.Status != 304 {
		t.Errorf("If-Modified-Since with the date of a file from the future: %d, want 304", r.Status)
	}

	// ext4 cannot store a time before 1901, so the entry is described as if the file had it.
	for _, c := range []struct {
		year int
		want bool
	}{{-1, false}, {0, false}, {1, true}, {1850, true}} {
		e := &entry{content: []byte{}, size: 0}
		when := time.Date(c.year, time.June, 1, 0, 0, 0, 0, time.UTC)
		e.stamp.mtime, e.stamp.ctime = unix.Timespec{Sec: when.Unix()}, unix.Timespec{Sec: longAgo.Unix()}
		e.describe("x", f.clock.now())
		if got := strings.Contains(string(e.fields), "Last-Modified"); got != c.want || (e.lastMod != nil) != c.want {
			t.Errorf("a file from the year %d: %q; want a Last-Modified: %v", c.year, e.fields, c.want)
		}
	}
}

// TestChangedInOneSecond changes a file twice in one second, as in RFC 9110 §8.8.2.2. A client
// that has the first half of the old bytes must not get the second half of the new ones.
func TestChangedInOneSecond(t *testing.T) {
	f := serveSite(t, Config{}, map[string]string{"a.txt": strings.Repeat("A", 100)})
	when := f.clock.now().Truncate(time.Second)
	set := func(text string) {
		t.Helper()
		path := filepath.Join(f.dir, "a.txt")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	set(strings.Repeat("A", 100))
	date := f.get("/a.txt").get("Last-Modified")
	set(strings.Repeat("B", 100))
	f.clock.advance(time.Duration(maxAge))
	if date == "" {
		date = when.UTC().Format(h1.IMFFixdate)
	}
	if r := f.get("/a.txt", "Range: bytes=50-99", "If-Range: "+date); r.Status != 200 {
		t.Errorf("If-Range with the date of the old file: %d %q, want 200", r.Status, r.Body)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root has permission to read every file")
	}
	f := serveSite(t, Config{Fallback: true}, map[string]string{"a.txt": "a", "index.html": "i"})
	if err := os.Chmod(filepath.Join(f.dir, "a.txt"), 0); err != nil {
		t.Fatal(err)
	}
	if r := f.get("/a.txt"); r.Status != 403 {
		t.Errorf("%+v, want 403", r)
	}
}

// TestNoDescriptorLeft checks that a site without free descriptors still serves what needs
// no descriptor.
func TestNoDescriptorLeft(t *testing.T) {
	f := serveSite(t, Config{Fallback: true}, map[string]string{"a.txt": "a", "b.txt": "b"})
	if r := f.get("/a.txt"); r.Status != 200 {
		t.Fatal(r)
	}
	f.starved.Store(true)
	if r := f.get("/b.txt"); r.Status != 503 || r.get("Retry-After") != "1" || r.get("Connection") != "close" {
		t.Errorf("a file that is not in the cache: %+v, want 503 and a close", r)
	}
	f.clock.advance(time.Second)
	if r := f.get("/a.txt"); r.Status != 200 || r.Body != "a" {
		t.Errorf("a file in memory: %+v, want 200", r)
	}
	if r := f.get("/healthz"); r.Status != 200 {
		t.Errorf("/healthz: %+v", r)
	}
}

func TestNewErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(dir, "nope"), ""} {
		_, err := New(Config{Root: root})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", root)) || !strings.Contains(err.Error(), "--root") {
			t.Errorf("root %q: %v", root, err)
		}
	}
}

// TestNoLeaks checks that no descriptor stays open after Close.
func TestNoLeaks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), []byte(big), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/big", "/sub", "/nope", "/sub/nope", "/gone"} {
		for now := range int64(5) {
			if path == "/gone" && now%2 == 0 {
				err = os.WriteFile(filepath.Join(dir, "gone"), []byte(big), 0o644)
			} else if path == "/gone" {
				err = os.Remove(filepath.Join(dir, "gone"))
			}
			if err != nil {
				t.Fatal(err)
			}
			e, err := s.cache.get([]byte(path), now*maxAge)
			if err != nil {
				t.Fatal(err)
			}
			e.Release()
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := openFiles(t, dir); n != 0 {
		t.Errorf("%d descriptors are still open", n)
	}
}
