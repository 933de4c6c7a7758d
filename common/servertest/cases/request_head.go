package cases

import (
	"fmt"
	"strings"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/wire"
)

// line returns a request with this request line.
func line(l string) string { return l + "\r\nHost: h\r\n\r\n" }

func lineCases() []Case {
	long := func(n int) string { return strings.Repeat("a", n) }
	tooLong := "X: " + long(70_000) + "\r\n\r\n"
	return []Case{
		{Name: "line-first", IDs: []string{"line-first"}, Run: func(t *T) {
			exchange(t,
				bad("a bad request line in a head over 64 KiB", "GET /\x01 HTTP/1.1\r\n"+tooLong),
				bad("a bad version in a head over 64 KiB", "GET / HTTP/x.1\r\n"+tooLong),
				row{name: "an unknown version in a head over 64 KiB", send: "GET / HTTP/2.0\r\n" + tooLong, want: 505},
				row{name: "a target over 8 KiB in a head over 64 KiB", send: "GET /" + long(9000) + " HTTP/1.1\r\n" + tooLong, want: 414},
				row{name: "a target over 64 KiB", send: line("GET /" + long(100_000) + " HTTP/1.1"), want: 414},
				bad("a method over 64 KiB", line(long(100_000)+" / HTTP/1.1")),
				row{name: "a valid request line in a head over 64 KiB", send: "GET / HTTP/1.1\r\n" + tooLong, want: 431},
			)
		}},
		{Name: "line-method-8k", IDs: []string{"line-method-8k"}, Run: func(t *T) {
			exchange(t,
				row{name: "8192 bytes", send: line(long(8192) + " / HTTP/1.1"), want: 501, kept: true},
				bad("8193 bytes", line(long(8193)+" / HTTP/1.1")),
			)
		}},
		{Name: "line-target-8k", IDs: []string{"line-target-8k"}, Run: func(t *T) {
			exchange(t,
				row{name: "a path of 8192 bytes", send: line("GET /" + long(8191) + " HTTP/1.1"), want: 404, kept: true},
				ok("a path and a query of 8192 bytes", line("GET /healthz?"+long(8192-len("/healthz?"))+" HTTP/1.1")),
				row{name: "a path of 8193 bytes", send: line("GET /" + long(8192) + " HTTP/1.1"), want: 414},
				row{name: "a query that makes 8193 bytes", send: line("GET /?" + long(8191) + " HTTP/1.1"), want: 414},
				// A server may parse the last bytes of a target in another function than the rest.
				row{name: "8192 bytes with an escape at the end", send: line("GET /" + long(8188) + "%41 HTTP/1.1"), want: 404, kept: true},
				row{name: "an escape that makes 8193 bytes", send: line("GET /" + long(8189) + "%41 HTTP/1.1"), want: 414},
				row{name: "an escape that makes 8194 bytes", send: line("GET /" + long(8190) + "%41 HTTP/1.1"), want: 414},
				row{name: "an escape after 8192 bytes", send: line("GET /" + long(8191) + "%41 HTTP/1.1"), want: 414},
				row{name: "a question mark after 8192 bytes", send: line("GET /" + long(8191) + "? HTTP/1.1"), want: 414},
			)
		}},
		{Name: "line-version-minor", IDs: []string{"line-version-minor"}, Run: func(t *T) {
			for minor := 1; minor <= 9; minor++ {
				exchange(t, ok(fmt.Sprint("HTTP/1.", minor), line(fmt.Sprintf("GET /healthz HTTP/1.%d", minor))))
			}
		}},
		{Name: "line-version-505", IDs: []string{"line-version-505", "refuse-505"}, Run: func(t *T) {
			for _, v := range []string{"HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9", "HTTP/2.1"} {
				exchange(t, row{name: v, send: line("GET / " + v), want: 505})
			}
		}},
		{Name: "line-version-400", IDs: []string{"line-version-400"}, Run: func(t *T) {
			for _, v := range []string{
				"http/1.1", "Http/1.1", "HTTP/1.", "HTTP/1", "HTTP/.1", "HTTP/", "HTTP", "HTTP/1.10", "HTTP/1.x", "HTTP/x.1",
				"HTTP/11", "HTTP/1,1", "HTTPS/1.1", "XTTP/1.1", "HTTP-1.1", "/1.1", "HTTP/1.1.1",
			} {
				exchange(t, bad(v, line("GET / "+v)))
			}
			exchange(t, bad("no version", "GET /\r\n"))
		}},
		{Name: "line-spaces", IDs: []string{"line-spaces"}, Run: func(t *T) {
			for _, l := range []string{
				"GET  / HTTP/1.1", "GET /  HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/ HTTP/1.1", "GET /\tHTTP/1.1",
				"GET / HTTP/1.1\t", "GET /a b HTTP/1.1", "GET / HTTP /1.1", "GET / HTTP/ 1.1", "GET", "GET ", "GET / ", "GET HTTP/1.1",
				" / HTTP/1.1", "GET /\x0bHTTP/1.1", "GET / HTTP/1.1 x",
			} {
				exchange(t, bad(fmt.Sprintf("%q", l), line(l)))
			}
		}},
	}
}

func targetCases() []Case {
	target := func(s string) string { return line("GET " + s + " HTTP/1.1") }
	each := func(make func(name, send string) row, targets ...string) func(*T) {
		return func(t *T) {
			for _, s := range targets {
				exchange(t, make(fmt.Sprintf("%q", s), target(s)))
			}
		}
	}
	missing := func(name, send string) row { return row{name: name, send: send, want: 404, kept: true} }
	return []Case{
		{Name: "target-origin", IDs: []string{"target-origin"}, Run: each(ok,
			"/", "/healthz", "/healthz?", "/healthz?a=b&c=d", "/healthz?a?b/c", "/?x", "/plain.txt?v=1", "/healthz?~!$&'()*+,;=:@/?", "/healthz?//../x",
			"/healthz?http://h/nothing-there", "/healthz?to=http://h/nothing-there",
		)},
		{Name: "target-absolute", IDs: []string{"target-absolute", "target-absolute-authority"}, Run: func(t *T) {
			each(ok,
				"http://h/healthz", "http://h:80/healthz?x", "http://other.example/healthz", "HTTP://H/healthz", "http://h", "http://h/",
				"http://[::1]:8080/healthz", "http://127.0.0.1/plain.txt",
			)(t)
			each(missing, "http://h/nothing-there", "http://h/healthz/http://h/")(t)
			each(bad, "http:///healthz", "http://", "http://h:x/", "http://[::1/", "http://h\\x/")(t)
		}},
		{Name: "target-absolute-userinfo", IDs: []string{"target-absolute-userinfo"}, Run: each(bad,
			"http://u@h/healthz", "http://u:p@h/healthz", "http://@h/healthz",
		)},
		{Name: "target-asterisk", IDs: []string{"target-asterisk", "method-options"}, Run: func(t *T) {
			exchange(t, row{name: "OPTIONS", send: line("OPTIONS * HTTP/1.1"), want: 204, kept: true, method: "OPTIONS"})
			for _, method := range []string{"GET", "POST", "DELETE", "TRACE"} {
				exchange(t, bad(method, line(method+" * HTTP/1.1")))
			}
			exchange(t, bad("a byte after the asterisk", line("OPTIONS *x HTTP/1.1")))
		}},
		{Name: "target-forms", IDs: []string{"target-forms"}, Run: each(bad, "healthz", "h:80", "?x", "h/healthz", "./healthz", "http:h", "mailto:h")},
		{Name: "target-raw-byte", IDs: []string{"target-raw-byte"}, Run: func(t *T) {
			for b := range 256 {
				if b >= 0x21 && b <= 0x7e {
					continue
				}
				for _, s := range []string{"/a" + string([]byte{byte(b)}) + "b", "/a?b" + string([]byte{byte(b)}) + "c"} {
					r := bad(fmt.Sprintf("%q", s), target(s))
					r.once = b != 0 && b != 0x80
					exchange(t, r)
				}
			}
		}},
		{Name: "target-fragment", IDs: []string{"target-fragment"}, Run: each(bad, "/a#b", "/#", "/healthz?a#b", "#")},
		{Name: "target-backslash", IDs: []string{"target-backslash"}, Run: each(bad, "/a\\b", "/\\", "\\", "/..\\plain.txt", "\\\\h\\x")},
		{Name: "target-path-byte", IDs: []string{"target-path-byte"}, Run: func(t *T) {
			for _, b := range "\"<>{}`" {
				each(bad, fmt.Sprintf("/a%cb", b), fmt.Sprintf("/%c", b), fmt.Sprintf("/healthz%c?x", b), fmt.Sprintf("http://h/a%cb", b))(t)
			}
		}},
		{Name: "target-path-lenient", IDs: []string{"target-path-lenient"}, Run: func(t *T) {
			each(missing, "/a[b", "/a]b", "/a|b", "/a^b", "/[]|^", "http://h/a[b]|^c")(t)
			// The escapes of the bytes that must not occur raw are accepted.
			each(missing, "/a%22b", "/a%3Cb", "/a%3Eb", "/a%7Bb", "/a%7Db", "/a%60b", "/a%5Cb")(t)
			marks := docroot.FileTexts["marks\"<>\\`{}[]|^.txt"]
			for _, target := range []string{"/marks%22%3C%3E%5C%60%7B%7D[]|^.txt", "/marks%22%3c%3e%5c%60%7b%7d%5b%5d%7c%5e.txt"} {
				exchange(t, row{name: target, send: line("GET " + target + " HTTP/1.1"), want: 200, kept: true, body: marks})
			}
		}},
		{Name: "target-query-lenient", IDs: []string{"target-query-lenient"}, Run: each(ok,
			"/healthz?a\\b", "/healthz?a\"b", "/healthz?a<b", "/healthz?a>b", "/healthz?a^b", "/healthz?{a|b}", "/healthz?a`b",
			"/healthz?100%", "/healthz?%zz", "/healthz?%0A", "/healthz?%00", "/healthz?a/../b",
		)},
		{Name: "target-decode-once", IDs: []string{"target-decode-once", "name-escapes"}, Run: func(t *T) {
			each(ok, "/%68ealthz", "/%68%65%61%6c%74%68%7a", "/%70lain.txt", "/plain%2Etxt", "/100%25.txt")(t)
			each(missing, "/%2568ealthz", "/%2570lain.txt", "/plain%252etxt")(t)
			for target, text := range map[string]string{"/a%2520b.txt": docroot.Texts["a%20b.txt"], "/blank%20name.txt": docroot.Texts["blank name.txt"]} {
				exchange(t, row{name: target, send: line("GET " + target + " HTTP/1.1"), want: 200, kept: true, body: text})
			}
		}},
		{Name: "target-bad-escape", IDs: []string{"target-bad-escape"}, Run: each(bad,
			"/%", "/%4", "/%zz", "/%4g", "/%g4", "/plain.txt%", "/%%41", "/%u0041", "/%-1", "/%+1", "/healthz%?x",
		)},
		{Name: "target-escape-control", IDs: []string{"target-escape-control"}, Run: func(t *T) {
			for b := range 256 {
				s := fmt.Sprintf("/a%%%02Xb", b)
				r := bad(s, target(s))
				if b >= 0x20 && b != 0x7f {
					r = missing(s, target(s))
				}
				r.once = b != 0 && b != 0x1f && b != 0x7f
				exchange(t, r)
			}
			exchange(t, bad("in lower case", target("/a%0ab")), bad("after a file name", target("/plain.txt%00")))
		}},
		{Name: "target-dotdot", IDs: []string{"target-dotdot"}, Run: each(missing,
			"/..", "/../", "/../plain.txt", "/sub/../plain.txt", "/sub/..", "/sub/../", "/../../../../../../etc/passwd", "/../outside/outside.txt",
			"/sub/../../outside/outside.txt", "/nothing/../plain.txt", "/api/../plain.txt", "/healthz/..",
			"/sub/../private/secret.txt", "/sub/../private/nothing-there", "/nothing/../private/", "/../private", "/sub/../../root/private/secret.txt",
		)},
		{Name: "target-dotdot-encoded", IDs: []string{"target-dotdot-encoded", "name-encoded-slash"}, Run: each(missing,
			"/%2e%2e/plain.txt", "/.%2e/plain.txt", "/%2E./plain.txt", "/sub/%2e%2e/plain.txt", "/sub/..%2fplain.txt", "/..%2foutside%2foutside.txt",
			"/%2e%2e%2fplain.txt", "/sub%2f..%2fplain.txt", "/sub/%2e%2e%2f%2e%2e%2foutside%2foutside.txt",
			"/sub/%2e%2e/private/secret.txt", "/sub%2f%2e%2e%2fprivate%2fsecret.txt",
		)},
		{Name: "target-empty-segment", IDs: []string{"target-empty-segment"}, Run: each(missing,
			"//", "//plain.txt", "//healthz", "/sub//index.html", "/sub//", "/sub//page.html", "///", "//other.example/", "//sub", "/api//login",
			"//private/secret.txt", "//private/nothing-there", "//private", "/sub//private/open.txt",
		)},
		{Name: "target-empty-segment-private", IDs: []string{"target-empty-segment-private", "private-spelling"}, Run: each(
			func(name, send string) row { return row{name: name, send: send, want: 403, kept: true} },
			"/private//secret.txt", "/private//", "/private/sub//deep.txt", "/private//nothing-there",
		)},
	}
}

func fieldCases() []Case {
	// with returns a request with these header fields after Host.
	with := func(fields string) string { return get + fields + "\r\n\r\n" }
	hosts := func(version, fields string) string { return "GET /healthz HTTP/" + version + "\r\n" + fields + "\r\n" }
	many := func(n int) string { // a request with n header fields, including Host
		var b strings.Builder
		b.WriteString(get)
		for i := range n - 1 {
			fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
		}
		return b.String() + "\r\n"
	}
	head := func(n int) string { // a request with a head of n bytes
		const rest = get + "X: \r\n\r\n"
		return get + "X: " + strings.Repeat("x", n-len(rest)) + "\r\n\r\n"
	}
	return []Case{
		{Name: "host", IDs: []string{"host-missing", "host-two", "host-empty"}, Run: func(t *T) {
			exchange(t,
				bad("no header field", hosts("1.1", "")),
				bad("no Host among other fields", hosts("1.1", "X: y\r\n")),
				bad("two different ones", hosts("1.1", "Host: a\r\nHost: b\r\n")),
				bad("two equal ones", hosts("1.1", "Host: h\r\nHost: h\r\n")),
				bad("two in different letter case", hosts("1.1", "Host: h\r\nX: y\r\nHOST: h\r\n")),
				bad("two in HTTP/1.0", hosts("1.0", "Host: h\r\nHost: h\r\n")),
				bad("an empty Host", hosts("1.1", "Host:\r\n")),
				bad("only white space", hosts("1.1", "Host: \t \r\n")),
				bad("an empty Host in HTTP/1.0", hosts("1.0", "Host:\r\n")),
				bad("no Host with the absolute form", "GET http://h/healthz HTTP/1.1\r\n\r\n"),
				bad("an empty Host with the absolute form", "GET http://h/healthz HTTP/1.1\r\nHost:\r\n\r\n"),
			)
		}},
		{Name: "host-form", IDs: []string{"host-form", "host-10"}, Run: func(t *T) {
			for _, h := range []string{"h", "h:80", "www.example.com", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a-b.c_d:1", "H"} {
				exchange(t, ok(h, hosts("1.1", "Host: "+h+"\r\n")))
			}
			for _, h := range []string{
				"u@h", "u:p@h", "h/", "h/x", "/", "http://h", "h h", "h:port", "h:8x", "[::1", "::1]", "h?x", "h#x", "h\\x", ":80", "h:80:80", "<h>",
			} {
				exchange(t, bad(h, hosts("1.1", "Host: "+h+"\r\n")))
			}
			exchange(t, bad("userinfo in HTTP/1.0", hosts("1.0", "Host: u@h\r\n")))
		}},
		{Name: "field-name", IDs: []string{"field-name-token", "field-colon", "field-space-colon"}, Run: func(t *T) {
			for _, f := range []string{
				"B(d: x", "Bad Name: x", ": x", ":", "b@d: x", "b\x80d: x", "\"q\": x", "a/b: x", "a\x00b: x", "a[b]: x", "a{: x", "a=b: x", "a\x7f: x",
				"nocolon", "no colon at all", "X : y", "X\t: y", "Host : h", "Content-Length : 0",
			} {
				exchange(t, bad(fmt.Sprintf("%q", f), with(f)))
			}
			exchange(t,
				bad("in the first field", "GET /healthz HTTP/1.1\r\nHost : h\r\n\r\n"),
				ok("every byte of a token", with("!#$%&'*+-.^_`|~09azAZ: x")),
			)
		}},
		{Name: "field-obs-fold", IDs: []string{"field-obs-fold"}, Run: func(t *T) {
			exchange(t,
				bad("a space", with("X: y\r\n z")),
				bad("a tab", with("X: y\r\n\tz")),
				bad("a space alone", with("X: y\r\n ")),
				bad("a folded line that looks like a field", with("X: y\r\n Content-Length: 5")),
				bad("the first header line", "GET /healthz HTTP/1.1\r\n Host: h\r\n\r\n"),
				bad("the value of Host", "GET /healthz HTTP/1.1\r\nHost:\r\n h\r\n\r\n"),
			)
		}},
		{Name: "field-line-end", IDs: []string{"field-bare-lf", "field-bare-cr"}, Run: func(t *T) {
			exchange(t,
				bad("LF everywhere", "GET /healthz HTTP/1.1\nHost: h\n\n"),
				bad("LF after the request line", "GET /healthz HTTP/1.1\nHost: h\r\n\r\n"),
				bad("LF after a field", "GET /healthz HTTP/1.1\r\nHost: h\n\r\n"),
				bad("LF as the empty line", "GET /healthz HTTP/1.1\r\nHost: h\r\n\n"),
				bad("CR as the empty line", "GET /healthz HTTP/1.1\r\nHost: h\r\n\rX"),
				bad("CR after the request line", "GET /healthz HTTP/1.1\rHost: h\r\n\r\n"),
				bad("CR in a value", with("X: a\rb")),
				bad("CR before a value", with("X:\ra")),
				bad("CR at the end of a value", "GET /healthz HTTP/1.1\r\nHost: h\r\r\n\r\n"),
				bad("CR in a name", with("X\rY: a")),
				bad("CR between fields", "GET /healthz HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"),
			)
		}},
		{Name: "field-value", IDs: []string{"field-value-control", "field-value-high"}, Run: func(t *T) {
			for b := range 256 {
				value := "a" + string([]byte{byte(b)}) + "b"
				r := ok(fmt.Sprintf("%q", value), with("X: "+value))
				if b < 0x20 && b != '\t' || b == 0x7f {
					r = bad(r.name, r.send)
				}
				r.once = b != 0 && b != 0x7f && b != 0xff
				exchange(t, r)
			}
			exchange(t,
				bad("a control byte alone", with("X:\x0b")),
				bad("a control byte at the end", with("X: y\x0c")),
				bad("a control byte in Host", "GET /healthz HTTP/1.1\r\nHost: h\x0b\r\n\r\n"),
			)
		}},
		{Name: "field-ows", IDs: []string{"field-ows"}, Run: func(t *T) {
			for _, f := range []string{"X:y", "X: \t y", "X:y \t ", "X:", "X: ", "X:\t", "X: a\tb  c"} {
				exchange(t, ok(fmt.Sprintf("%q", f), with(f)))
			}
			exchange(t,
				ok("Host", "GET /healthz HTTP/1.1\r\nHost:\t h \t\r\n\r\n"),
				row{name: "Content-Length", send: "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: \t5\t \r\n\r\nhello", want: 200, kept: true, body: "hello"},
			)
			c := t.Dial()
			resp := c.Post("/echo", "x", "Content-Type:\t text/x-odd \t").Want(200)
			if got := resp.Get("Content-Type"); got != "text/x-odd" && !mayLack(t, resp, "Content-Type") {
				t.Errorf("Content-Type: %q came back, want %q", got, "text/x-odd")
			}
		}},
		{Name: "field-name-case", IDs: []string{"field-name-case"}, Run: func(t *T) {
			exchange(t,
				ok("host", "GET /healthz HTTP/1.1\r\nhOST: h\r\n\r\n"),
				row{
					name: "content-length", send: "POST /echo HTTP/1.1\r\nHOST: h\r\ncONTENT-lENGTH: 5\r\n\r\nhello",
					want: 200, kept: true, body: "hello",
				},
				row{
					name: "transfer-encoding", send: "POST /echo HTTP/1.1\r\nhost: h\r\nTRANSFER-ENCODING: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
					want: 200, kept: true, body: "hello",
				},
			)
		}},
		{Name: "field-content-type-two", IDs: []string{"field-content-type-two"}, Run: func(t *T) {
			post := func(fields string) string {
				return "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n" + fields + "\r\n\r\nx"
			}
			exchange(t,
				bad("two different ones", post("Content-Type: text/plain\r\nContent-Type: text/html")),
				bad("two equal ones", post("Content-Type: text/plain\r\ncontent-type: text/plain")),
				bad("in a GET", with("Content-Type: a/b\r\nContent-Type: a/b")),
			)
		}},
		{Name: "field-head-64k", IDs: []string{"field-head-64k", "field-one-long", "refuse-431"}, Run: func(t *T) {
			exchange(t,
				ok("a field of 50,000 bytes", with("X: "+strings.Repeat("x", 50_000))),
				ok("64 KiB", head(64<<10)),
				row{name: "64 KiB and one byte", send: head(64<<10 + 1), want: 431},
				row{name: "100 KiB", send: head(100 << 10), want: 431},
			)
			// The limit is for each head, not for all heads on a connection.
			c := t.Dial()
			for range 4 {
				c.Send(head(60_000)).WantBody(200, "ok")
			}
		}},
		{Name: "field-200", IDs: []string{"field-200", "refuse-431"}, Run: func(t *T) {
			exchange(t,
				ok("200 fields", many(200)),
				row{name: "201 fields", send: many(201), want: 431},
				row{name: "1000 fields", send: many(1000), want: 431},
			)
		}},
	}
}

func methodCases() []Case {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
	return []Case{
		{Name: "method-known", IDs: []string{"method-known"}, Run: func(t *T) {
			for _, target := range []string{"/plain.txt", "/healthz", "/echo", "/nothing-there"} {
				c := t.Dial()
				for _, method := range known {
					if resp := c.Send(line(method + " " + target + " HTTP/1.1")).ReadTo(method); resp.Status == 501 {
						t.Errorf("%s %s is answered 501, though the method is known", method, target)
					}
				}
				c.WantKept()
				c.Close()
			}
		}},
		{Name: "method-405", IDs: []string{"method-405"}, Run: func(t *T) {
			for _, r := range []struct{ method, target, lists string }{
				{"POST", "/plain.txt", "GET"},
				{"PUT", "/plain.txt", "HEAD"},
				{"DELETE", "/", "GET"},
				{"TRACE", "/plain.txt", "GET"},
				{"PATCH", "/plain.txt", "GET"},
				{"GET", "/echo", "POST"},
				{"DELETE", "/healthz", "GET"},
				{"TRACE", "/healthz", "GET"},
				{"GET", "/api/logout", "POST"},
				{"PUT", "/api/login", "POST"},
			} {
				c := t.Dial()
				resp := c.Send(line(r.method + " " + r.target + " HTTP/1.1")).Want(405)
				if !resp.Has("Allow", r.lists) || resp.Has("Allow", r.method) {
					t.Errorf("%s %s: Allow is %q, want it with %s and without %s", r.method, r.target, resp.Get("Allow"), r.lists, r.method)
				}
				c.WantKept()
				c.Close()
			}
		}},
		{Name: "method-501", IDs: []string{"method-501", "keep-501"}, Run: func(t *T) {
			for _, l := range []string{
				"BREW /", "get /healthz", "Get /healthz", "GETT /healthz", "GE /healthz", "CONNECT h:80", "LINK /plain.txt", "M-SEARCH /",
				"!#$%&'*+-.^_`|~09azAZ /", "PROPFIND /",
			} {
				exchange(t, row{name: l, send: line(l + " HTTP/1.1"), want: 501, kept: true})
			}
			exchange(t, row{
				name: "with a body", send: wire.Request("BREW", "/", follow), want: 501, kept: true,
			})
		}},
		{Name: "method-options", IDs: []string{"method-options"}, Run: func(t *T) {
			for target, lists := range map[string]string{"/plain.txt": "GET", "/echo": "POST", "/healthz": "GET", "/api/login": "POST", "*": "", "/": "HEAD"} {
				c := t.Dial()
				resp := c.Send(line("OPTIONS "+target+" HTTP/1.1")).WantTo("OPTIONS", 204)
				if resp.Get("Allow") == "" || lists != "" && !resp.Has("Allow", lists) {
					t.Errorf("OPTIONS %s: Allow is %q, want %s in it", target, resp.Get("Allow"), lists)
				}
				c.WantKept()
				c.Close()
			}
		}},
		{Name: "method-token", IDs: []string{"method-token"}, Run: func(t *T) {
			for _, m := range []string{"G(T", "G\x00T", "G\xc3T", "\"GET\"", "G/T", "G@T", "G:T", "GET,", "\x7f", "G=T", "[GET]"} {
				exchange(t, bad(fmt.Sprintf("%q", m), line(m+" / HTTP/1.1")))
			}
		}},
	}
}
