package cases

import (
	"errors"
	"fmt"
	"mime"
	"strings"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/wire"
)

// alphabet is a file of 26 different bytes, each of which shows its position.
const alphabet = "/range/alphabet.txt"

// oneRange is a request for one range, and its 206 response.
func oneRange(spec, body, contentRange string) ask {
	return ask{
		target: alphabet, fields: []string{"Range: " + spec}, want: 206, body: body,
		has: []string{
			"Content-Range: bytes " + contentRange, fmt.Sprint("Content-Length: ", len(body)), "Content-Type: text/plain; charset=utf-8",
			"Accept-Ranges: bytes", "X-Content-Type-Options: nosniff",
		},
	}
}

// unsatisfiable is a request for ranges outside the file, and its 416 response.
func unsatisfiable(target, spec string, size int) ask {
	return ask{
		target: target, fields: []string{"Range: " + spec}, want: 416,
		has: []string{fmt.Sprintf("Content-Range: bytes */%d", size)}, lacks: []string{"ETag", "Last-Modified"},
	}
}

// ignoredRange is a request whose Range is ignored: the response is the whole file.
func ignoredRange(fields ...string) ask {
	return ask{
		target: alphabet, fields: fields, want: 200, body: docroot.FileTexts[alphabet[1:]],
		has: []string{"Content-Length: 26", "Content-Type: text/plain; charset=utf-8"}, lacks: []string{"Content-Range"},
	}
}

func rangeCases() []Case {
	each := func(make func(spec string) ask, specs ...string) func(*T) {
		return func(t *T) {
			var asks []ask
			for _, spec := range specs {
				asks = append(asks, make(spec))
			}
			askAll(t, asks...)
		}
	}
	whole := func(spec string) ask { return ignoredRange("Range: " + spec) }
	several := func(spec string, parts ...string) func(*T) {
		return func(t *T) {
			severalOf(t, alphabet, docroot.FileTexts[alphabet[1:]], "text/plain; charset=utf-8", spec, parts...)
		}
	}
	many := func(n int) string { // n ranges of one byte, without overlap
		var specs []string
		for i := range n {
			specs = append(specs, fmt.Sprintf("%d-%d", i, i))
		}
		return "bytes=" + strings.Join(specs, ",")
	}
	return []Case{
		{Name: "range-accept", IDs: []string{"range-accept"}, Run: func(t *T) {
			accept := []string{"Accept-Ranges: bytes"}
			for _, target := range []string{"/", "/plain.txt", "/empty.txt", "/a.mp4", "/link-in.txt", "/sub/"} {
				askAll(t, ask{target: target, want: 200, has: accept}, ask{method: "HEAD", target: target, want: 200, has: accept})
			}
			askAll(t, ask{method: "HEAD", target: "/big.bin", want: 200, has: accept})
		}},
		{Name: "range-one", IDs: []string{"range-one"}, Run: func(t *T) {
			askAll(t,
				oneRange("bytes=0-0", "a", "0-0/26"),
				oneRange("bytes=0-4", "abcde", "0-4/26"),
				oneRange("bytes=5-6", "fg", "5-6/26"),
				oneRange("bytes=25-25", "z", "25-25/26"),
				oneRange("bytes=0-25", "abcdefghijklmnopqrstuvwxyz", "0-25/26"),
				oneRange("bytes=00000000000000000000001-002", "bc", "1-2/26"),
				oneRange("BYTES=1-2", "bc", "1-2/26"), // §14.1: units are case-insensitive
				ask{
					target: "/range/one.txt", fields: []string{"Range: bytes=0-"}, want: 206, body: "x",
					has: []string{"Content-Range: bytes 0-0/1", "Content-Length: 1"},
				},
				ask{target: "/sub/", fields: []string{"Range: bytes=0-8"}, want: 206, body: "<!DOCTYPE", has: []string{"Content-Type: text/html; charset=utf-8"}},
				ask{target: "/a.mp4", fields: []string{"Range: bytes=299-299"}, want: 206, body: "4", has: []string{"Content-Type: video/mp4"}},
				// Range applies to files only.
				ask{target: "/healthz", fields: []string{"Range: bytes=0-0"}, want: 200, body: "ok", lacks: []string{"Content-Range"}},
				ask{target: "/nothing-there", fields: []string{"Range: bytes=0-0"}, want: 404, lacks: []string{"Content-Range"}},
				ask{target: "/sub", fields: []string{"Range: bytes=0-0"}, want: 301, lacks: []string{"Content-Range"}},
				ask{method: "POST", target: alphabet, fields: []string{"Range: bytes=0-0"}, want: 405, lacks: []string{"Content-Range"}},
			)
		}},
		{Name: "range-validators", IDs: []string{"range-one"}, Run: func(t *T) {
			// RFC 9110 §15.3.7: a 206 has the validators of the 200.
			c := t.Dial()
			all := c.Request("GET", alphabet).Want(200)
			for _, spec := range []string{"bytes=1-2", "bytes=1-2,4-5"} {
				part := c.Request("GET", alphabet, "Range: "+spec).Want(206)
				for _, name := range []string{"ETag", "Last-Modified", "Cache-Control"} {
					if part.Get(name) != all.Get(name) {
						t.Errorf("%s: %s is %q in 206 and %q in 200", spec, name, part.Get(name), all.Get(name))
					}
				}
			}
		}},
		{Name: "range-open", IDs: []string{"range-open"}, Run: func(t *T) {
			askAll(t,
				oneRange("bytes=20-", "uvwxyz", "20-25/26"),
				oneRange("bytes=25-", "z", "25-25/26"),
				oneRange("bytes=0-", "abcdefghijklmnopqrstuvwxyz", "0-25/26"),
				oneRange("bytes=20-26", "uvwxyz", "20-25/26"),
				oneRange("bytes=20-1000", "uvwxyz", "20-25/26"),
			)
		}},
		{Name: "range-suffix", IDs: []string{"range-suffix"}, Run: func(t *T) {
			askAll(t,
				oneRange("bytes=-1", "z", "25-25/26"),
				oneRange("bytes=-3", "xyz", "23-25/26"),
				oneRange("bytes=-26", "abcdefghijklmnopqrstuvwxyz", "0-25/26"),
				oneRange("bytes=-27", "abcdefghijklmnopqrstuvwxyz", "0-25/26"),
				oneRange("bytes=-1000", "abcdefghijklmnopqrstuvwxyz", "0-25/26"),
			)
		}},
		{Name: "range-416", IDs: []string{"range-416"}, Run: func(t *T) {
			for _, spec := range []string{"bytes=26-", "bytes=26-26", "bytes=26-30", "bytes=1000-", "bytes=-0", "bytes=-000", "bytes=26-,30-31", "bytes=-0,26-"} {
				askAll(t, unsatisfiable(alphabet, spec, 26))
			}
			askAll(t, unsatisfiable("/big.bin", fmt.Sprintf("bytes=%d-", docroot.BigSize), docroot.BigSize))
		}},
		{Name: "range-huge", IDs: []string{"range-open", "range-suffix", "range-416"}, Run: func(t *T) {
			all := func(spec string) ask { return oneRange(spec, "abcdefghijklmnopqrstuvwxyz", "0-25/26") }
			askAll(t,
				all("bytes=0-2147483648"),
				all("bytes=0-9223372036854775807"),
				all("bytes=0-9223372036854775808"),
				all("bytes=0-18446744073709551615"),
				all("bytes=0-18446744073709551616"),
				all("bytes=0-99999999999999999999999999999999999999"),
				all("bytes=-9223372036854775807"),
				all("bytes=-9223372036854775808"),
				all("bytes=-18446744073709551617"), // overflows 64 bits to -1
				all("bytes=-99999999999999999999999999999999999999"),
				all("bytes=0-"+strings.Repeat("9", 1000)),
				unsatisfiable(alphabet, "bytes=4294967296-", 26),
				unsatisfiable(alphabet, "bytes=9223372036854775807-", 26),
				unsatisfiable(alphabet, "bytes=9223372036854775808-", 26),
				unsatisfiable(alphabet, "bytes=18446744073709551616-", 26),
				unsatisfiable(alphabet, "bytes=18446744073709551616-18446744073709551620", 26),
				unsatisfiable(alphabet, "bytes=99999999999999999999999999999999999999-", 26),
				unsatisfiable(alphabet, "bytes="+strings.Repeat("9", 1000)+"-", 26),
			)
		}},
		{Name: "range-empty-file", IDs: []string{"range-416", "range-suffix"}, Run: func(t *T) {
			askAll(t,
				unsatisfiable("/empty.txt", "bytes=0-", 0),
				unsatisfiable("/empty.txt", "bytes=0-0", 0),
				unsatisfiable("/empty.txt", "bytes=-0", 0),
				unsatisfiable("/empty.txt", "bytes=1-", 0),
				// §14.1.2: the range is satisfiable, but Content-Range cannot express zero bytes.
				ask{target: "/empty.txt", fields: []string{"Range: bytes=-5"}, want: 200, has: []string{"Content-Length: 0"}, lacks: []string{"Content-Range"}},
			)
		}},
		{Name: "range-bad", IDs: []string{"range-bad"}, Run: func(t *T) {
			each(whole,
				"", "bytes", "bytes=", "bytes=-", "bytes=,", "bytes=5", "bytes=5-2", "bytes=a-b", "bytes=0-x", "bytes=x-0", "bytes=0-4x", "bytes=x0-4", "bytes=--5",
				"bytes=0--5", "bytes=-1-", "bytes=-1-5", "bytes=+0-4", "bytes=0-+4", "bytes=0x0-0x4", "bytes=1.5-3", "bytes=0-4;5-6", "bytes=0-4 5-6",
				"bytes 0-4", "bytes:0-4", "bytes=0-4,x", "bytes=x,0-4", "bytes=0-4,7-6", "bytes=0-4/26", "=0-4", "0-4", "bytes=0-4,bytes=6-7", "bytes=1-0", "bytes==0-4",
				"bytes=0 - 4", "bytes=\"0-4\"", "bytes=0-4\x80",
				// These are also outside the file, but a malformed Range is ignored all the same.
				"bytes=30-20", "bytes=26-25", "bytes=26-,x", "bytes=x,26-", "bytes=-0,x", "bytes=26", "bytes=26-x",
			)(t)
			askAll(t, ignoredRange("Range: bytes=0-4", "Range: bytes=6-8")) // two Range fields
		}},
		{Name: "range-unit", IDs: []string{"range-unit"}, Run: each(whole,
			"items=0-4", "byte=0-4", "bytess=0-4", "x-bytes=0-4", "none", "none=0-4", "seconds=1-2", "bytes2=0-4", "bytesx=-0", "chars=1000-",
		)},
		{Name: "range-several", IDs: []string{"range-several"}, Run: func(t *T) {
			several("bytes=0-1,4-5", "0-1", "4-5")(t)
			several("bytes=0-0,-1", "0-0", "25-25")(t)
			several("bytes=20-,0-2", "20-25", "0-2")(t) // in the order asked for
			several("bytes=8-9,0-1,4-5", "8-9", "0-1", "4-5")(t)
			several("bytes=0-4,5-9", "0-4", "5-9")(t) // adjacent ranges do not overlap
			several("bytes=0-1, 4-5 ,\t8-9", "0-1", "4-5", "8-9")(t)
			several("bytes=0-1,,4-5,", "0-1", "4-5")(t) // §5.6.1.2
			several("bytes=0-1,20-1000", "0-1", "20-25")(t)
			several("bytes=0-12,13-25", "0-12", "13-25")(t)
		}},
		{Name: "range-several-big", IDs: []string{"range-several"}, Run: func(t *T) {
			// These parts are so large that they are sent from an open file, not from memory.
			big := string(t.Root.Big())
			severalOf(t, "/big.bin", big, "application/octet-stream", "bytes=1000000-2000000,5-9,-70000,3000000-3000000",
				"1000000-2000000", "5-9", fmt.Sprintf("%d-%d", docroot.BigSize-70000, docroot.BigSize-1), "3000000-3000000")
			c := t.Dial()
			for _, r := range [][2]int{{0, 0}, {16383, 16384}, {1 << 20, 3 << 20}, {docroot.BigSize - 1, docroot.BigSize - 1}, {docroot.BigSize - 100_000, docroot.BigSize - 1}} {
				resp := c.Request("GET", "/big.bin", fmt.Sprintf("Range: bytes=%d-%d", r[0], r[1])).Want(206)
				if string(resp.Body) != big[r[0]:r[1]+1] || resp.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", r[0], r[1], docroot.BigSize) {
					t.Errorf("%d-%d: the response has %d bytes, which differ from the file's, or a wrong Content-Range: %s", r[0], r[1], len(resp.Body), resp.Get("Content-Range"))
				}
			}
			c.WantKept()
		}},
		{Name: "range-several-some", IDs: []string{"range-several-some"}, Run: func(t *T) {
			several("bytes=0-1,26-,4-5", "0-1", "4-5")(t)
			several("bytes=1000-1001,0-1,-0,4-5", "0-1", "4-5")(t)
			// Only one range is left. The server may send it alone or as a multipart with one part.
			for _, spec := range []string{"bytes=0-1,26-", "bytes=-0,0-1", "bytes=30-31,0-1,99999999999999999999999-"} {
				t.Sub(spec, func(t *T) {
					c := t.Dial()
					resp := c.Request("GET", alphabet, "Range: "+spec).Want(206)
					c.WantKept()
					c.Close()
					if strings.HasPrefix(resp.Get("Content-Type"), "multipart/") {
						several(spec, "0-1")(t)
					} else if string(resp.Body) != "ab" || resp.Get("Content-Range") != "bytes 0-1/26" {
						t.Errorf("the body is %q with Content-Range: %s", resp.Body, resp.Get("Content-Range"))
					}
				})
			}
		}},
		{Name: "range-16", IDs: []string{"range-16"}, Run: func(t *T) {
			var parts []string
			for i := range 16 {
				parts = append(parts, fmt.Sprintf("%d-%d", i, i))
			}
			several(many(16), parts...)(t)
			askAll(t, whole(many(17)), whole(many(16)+",1000-"), whole("bytes=1000-,"+strings.TrimPrefix(many(16), "bytes=")), whole(many(26)), whole("bytes="+strings.Repeat("0-0,", 5000)+"1-1"), whole("bytes=0-"+strings.Repeat(",5-", 1000)))
		}},
		{Name: "range-overlap", IDs: []string{"range-overlap"}, Run: each(whole,
			"bytes=0-4,3-7", "bytes=0-4,4-7", "bytes=3-7,0-4", "bytes=0-4,0-4", "bytes=0-,5-6", "bytes=5-6,0-", "bytes=0-,-1", "bytes=-3,-2", "bytes=0-1,4-5,5-9",
			"bytes=10-20,0-1,15-16", "bytes=-26,0-0", "bytes=0-10,-20", "bytes=0-1,26-,1-2", "bytes=0-1000,3-99999999999999999999",
		)},
		{Name: "range-head", IDs: []string{"range-head"}, Run: func(t *T) {
			for _, spec := range []string{"bytes=0-4", "bytes=0-1,4-5", "bytes=1000-", "bytes=-0"} {
				askAll(t, ask{
					method: "HEAD", target: alphabet, fields: []string{"Range: " + spec}, want: 200,
					has: []string{"Content-Length: 26", "Content-Type: text/plain; charset=utf-8"}, lacks: []string{"Content-Range"},
				})
			}
		}},
	}
}

// severalOf requests several ranges and checks the parts. Each expected part is given as "first-last".
func severalOf(t *T, target, whole, kind, spec string, parts ...string) {
	t.Helper()
	t.Sub(wire.Quote(spec), func(t *T) {
		c := t.Dial()
		resp := c.Request("GET", target, "Range: "+spec).Want(206)
		c.WantKept()
		if r := resp.Get("Content-Range"); r != "" {
			t.Errorf("a response with several parts has Content-Range: %s", r) // RFC 9110 §15.3.7.2
		}
		got, err := byteranges(resp)
		if err != nil {
			t.Fatalf("%v\n\tgot: %s", err, wire.Quote(string(resp.Body)))
		}
		if len(got) != len(parts) {
			t.Fatalf("%d parts, want %d\n\tgot: %s", len(got), len(parts), wire.Quote(string(resp.Body)))
		}
		for i, p := range got {
			var first, last int
			_, _ = fmt.Sscanf(parts[i], "%d-%d", &first, &last)
			if want := fmt.Sprintf("bytes %s/%d", parts[i], len(whole)); p.contentRange != want {
				t.Errorf("part %d has Content-Range: %s, want %s", i, p.contentRange, want)
			}
			if p.kind != kind {
				t.Errorf("part %d has Content-Type: %q, want %s", i, p.kind, kind)
			}
			if p.data != whole[first:last+1] {
				t.Errorf("the data of part %d is %s, want %s", i, wire.Quote(p.data), wire.Quote(whole[first:last+1]))
			}
		}
	})
}

// A part is one part of a multipart/byteranges response.
type part struct{ kind, contentRange, data string }

// byteranges parses a multipart/byteranges response. It is stricter than RFC 2046 §5.1.1: only a
// CRLF may come before the first boundary or after the last one.
func byteranges(resp *Response) (parts []part, err error) {
	kind, params, err := mime.ParseMediaType(resp.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" || len(params) != 1 {
		return nil, fmt.Errorf("the Content-Type of several ranges is %q", resp.Get("Content-Type"))
	}
	boundary := params["boundary"]
	if n := len(boundary); n < 1 || n > 70 || strings.ContainsFunc(boundary, func(c rune) bool { return c > 126 || !wire.TokenByte(byte(c)) }) {
		return nil, fmt.Errorf("%q is not a valid boundary", boundary)
	}
	pieces := strings.Split("\r\n"+strings.TrimPrefix(string(resp.Body), "\r\n"), "\r\n--"+boundary)
	if pieces[0] != "" {
		return nil, errors.New("there are bytes before the first boundary")
	}
	if end := pieces[len(pieces)-1]; end != "--\r\n" && end != "--" {
		return nil, fmt.Errorf("the last boundary is followed by %s", wire.Quote(end))
	}
	for _, piece := range pieces[1 : len(pieces)-1] {
		head, data, ok := strings.Cut(piece, "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "\r\n") {
			return nil, fmt.Errorf("%s is not a part", wire.Quote(piece))
		}
		p := part{data: data}
		for line := range strings.SplitSeq(head[2:], "\r\n") {
			name, value, ok := strings.Cut(line, ": ")
			switch {
			case !ok || !wire.IsToken(name):
				return nil, fmt.Errorf("%q is not a field line of a part", line)
			case strings.EqualFold(name, "Content-Type") && p.kind == "":
				p.kind = value
			case strings.EqualFold(name, "Content-Range") && p.contentRange == "":
				p.contentRange = value
			default:
				return nil, fmt.Errorf("unexpected field line %q in a part", line)
			}
		}
		parts = append(parts, p)
	}
	return parts, nil
}
