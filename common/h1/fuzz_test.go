package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"fourways.example/common/stream"
)

// seed adds the inputs of the test tables, without their marks, to a fuzz target.
func seed(add func(in []byte)) {
	for _, c := range accepted {
		add([]byte(c.in))
	}
	for _, c := range refused {
		add([]byte(strings.Replace(c.in, "¶", "", 1)))
	}
	add([]byte("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n" + chunks("3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n") + "GET http://a/?%"))
}

// FuzzSplits checks that the outcome does not depend on how the input is split into reads.
func FuzzSplits(f *testing.F) {
	seed(func(in []byte) { f.Add(in, []byte{0}) })
	f.Add([]byte(chunks("5\r\nhello\r\n0\r\n\r\n")+with("Content-Length: 3\r\n\r\nabc")), []byte{3, 0, 9})
	f.Fuzz(func(t *testing.T, in, splits []byte) {
		if len(in) > 100_000 {
			return // longer than every limit except that of the body
		}
		whole := parsePieces(t, 0, [][]byte{in}, plain)
		var pieces [][]byte
		rest := in
		for i := 0; len(rest) > 0; i++ {
			n := 1
			if len(splits) > 0 {
				n += int(splits[i%len(splits)]) // repeat splits, so that one byte of it splits the whole input
			}
			n = min(n, len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		got := parsePieces(t, 1<<33, pieces, withEOF)
		if got.err != whole.err || got.taken != whole.taken || len(got.reqs) != len(whole.reqs) {
			t.Fatalf("in pieces: %v, %d bytes taken, %d requests; in one piece: %v, %d, %d", got.err, got.taken, len(got.reqs), whole.err, whole.taken, len(whole.reqs))
		}
		for i := range whole.reqs {
			if got.reqs[i] != whole.reqs[i] {
				t.Fatalf("request %d in pieces:\n%s\nin one piece:\n%s", i, got.reqs[i], whole.reqs[i])
			}
		}
	})
}

// knownDifference returns the reason why net/http refuses with err a request that this
// parser accepts, or "" if the difference is not intended. body is the input after the
// request head.
func knownDifference(req *Request, body []byte, err error) string {
	said := func(text string) bool { return strings.Contains(err.Error(), text) }
	trailer, _ := req.Get("Trailer")
	switch {
	case req.Method == Unknown && string(req.bytes(req.method)) == connect:
		return "the server answers CONNECT with 501 and does not check its target"
	case said("bad trailer key") && trailer != nil:
		return "this parser drops trailers, so it need not check the names that Trailer announces"
	case said("invalid URL escape") && strings.HasPrefix(strings.ToLower(string(req.Target())), "http"):
		return "RFC 3986 §3.2.2 allows every escape in a host name; net/url allows only those of bytes 80 to FF"
	case said("invalid byte in chunk length") && (bytes.Contains(body, []byte(" ;")) || bytes.Contains(body, []byte("\t;"))):
		return "RFC 9112 §7.1.1 allows white space between a chunk size and its extension"
	case said("too much non-data"):
		return "this parser limits the extensions to 1 MiB in total; net/http has a smaller limit"
	case said("header line too long"):
		return "this parser does not count the CRLF in the 4 KiB of a chunk line; net/http does"
	case said("suspiciously long trailer"):
		return "this parser allows trailers of 64 KiB, as in a request head; net/http has a smaller limit"
	case said("Content-Length") && count(req, "Content-Length") > 1:
		return "this parser compares lengths as numbers, so 5 and 05 are equal; net/http compares text"
	}
	return ""
}

// different has one example of each known difference.
var different = []string{
	"CONNECT ^ HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET http://a%41/ HTTP/1.1\r\nHost: h\r\n\r\n",
	with("Content-Length: 5\r\nContent-Length: 05\r\n\r\nhello"),
	with("Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
	chunks("1 ;x\r\nx\r\n0\r\n\r\n"),
	chunks("1;" + strings.Repeat("x", 4094) + "\r\nx\r\n0\r\n\r\n"),
	chunks(strings.Repeat("1;"+strings.Repeat("x", 400)+"\r\nx\r\n", 60) + "0\r\n\r\n"),
	chunks("0\r\nA: " + strings.Repeat("x", 5000) + "\r\n\r\n"),
}

// TestKnownDifferences checks that each known difference still exists. An outdated entry
// could hide a new difference.
func TestKnownDifferences(t *testing.T) {
	reasons := make(map[string]bool)
	for _, in := range different {
		var (
			buf stream.Buffer
			p   Parser
			req Request
		)
		p.Reset(&req, &buf)
		buf.Grow(len(in))
		buf.Fill(strings.NewReader(in))
		if done, err := p.Parse(&buf); !done || err != nil {
			t.Errorf("%.60q: %v, %v", in, done, err)
			continue
		}
		std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
		if err == nil {
			_, err = io.ReadAll(std.Body)
		}
		if err == nil {
			t.Errorf("%.60q: net/http accepts it", in)
			continue
		}
		reason := knownDifference(&req, []byte(in)[p.bodyStart:], err)
		if reason == "" || reasons[reason] {
			t.Errorf("%.60q: net/http returns %v; the reason %q is missing or not unique", in, err, reason)
		}
		reasons[reason] = true
	}
}

func count(req *Request, name string) (n int) {
	for range req.Values(name) {
		n++
	}
	return n
}

// FuzzReadRequest checks that net/http accepts every request that this parser accepts, and
// interprets it in the same way. If two implementations interpret a request differently,
// an attacker can use it to smuggle another request.
func FuzzReadRequest(f *testing.F) {
	seed(func(in []byte) { f.Add(in) })
	for _, in := range different {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var (
			buf stream.Buffer
			p   Parser
			req Request
		)
		p.Reset(&req, &buf)
		buf.Grow(len(in) + 1)
		buf.Fill(bytes.NewReader(in))
		if done, err := p.Parse(&buf); !done || err != nil {
			return
		}
		raw := in[p.bodyStart:]
		// Skip the empty lines before the request line: RFC 9112 §2.2 says that a server
		// should ignore them, but net/http does not.
		r := bufio.NewReader(bytes.NewReader(in[req.method.from:]))
		std, err := http.ReadRequest(r)
		if err != nil {
			if knownDifference(&req, raw, err) == "" {
				t.Fatalf("this parser accepts the request; net/http returns %v", err)
			}
			return
		}
		body, err := io.ReadAll(std.Body)
		if err != nil {
			if knownDifference(&req, raw, err) == "" {
				t.Fatalf("this parser accepts the body; net/http returns %v", err)
			}
			return
		}
		if got := string(req.bytes(req.method)); std.Method != got {
			t.Errorf("method %q, net/http %q", got, std.Method)
		}
		if std.RequestURI != string(req.Target()) {
			t.Errorf("target %q, net/http %q", req.Target(), std.RequestURI)
		}
		if !bytes.Equal(body, req.Body) {
			t.Errorf("body %q, net/http %q", req.Body, body)
		}
		if std.ProtoMajor != 1 || std.ProtoMinor != req.Minor {
			t.Errorf("version 1.%d, net/http %s", req.Minor, std.Proto)
		}
		if std.Method != connect && std.Host != string(req.bytes(req.host)) {
			t.Errorf("host %q, net/http %q", req.bytes(req.host), std.Host)
		}
		if std.Method != connect && string(req.Path) != "*" && std.URL.Path != string(req.Path) && (std.URL.Path != "" || string(req.Path) != "/") {
			t.Errorf("path %q, net/http %q", req.Path, std.URL.Path)
		}
		rest, _ := io.ReadAll(r)
		if left := buf.Unread(); !bytes.Equal(rest, left) {
			t.Errorf("bytes after the request %q, net/http %q", left, rest)
		}
	})
}
