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

// seed gives a fuzz target the inputs of the tables, the mark taken out.
func seed(add func(in []byte)) {
	for _, c := range accepted {
		add([]byte(c.in))
	}
	for _, c := range refused {
		add([]byte(strings.Replace(c.in, "¶", "", 1)))
	}
	add([]byte("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n" + chunks("3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n") + "GET http://a/?%"))
}

// FuzzSplits: however the bytes come, what is made of them is the same.
func FuzzSplits(f *testing.F) {
	seed(func(in []byte) { f.Add(in, []byte{0}) })
	f.Add([]byte(chunks("5\r\nhello\r\n0\r\n\r\n")+with("Content-Length: 3\r\n\r\nabc")), []byte{3, 0, 9})
	f.Fuzz(func(t *testing.T, in, splits []byte) {
		if len(in) > 100_000 {
			return // over every limit but the body's
		}
		whole := parsePieces(t, 0, [][]byte{in}, plain)
		var pieces [][]byte
		rest := in
		for i := 0; len(rest) > 0; i++ {
			n := 1
			if len(splits) > 0 {
				n += int(splits[i%len(splits)]) // over again: one byte splits all of it
			}
			n = min(n, len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		got := parsePieces(t, 1<<33, pieces, withEOF)
		if got.err != whole.err || got.taken != whole.taken || len(got.reqs) != len(whole.reqs) {
			t.Fatalf("in pieces %v, %d taken, %d requests; whole %v, %d, %d", got.err, got.taken, len(got.reqs), whole.err, whole.taken, len(whole.reqs))
		}
		for i := range whole.reqs {
			if got.reqs[i] != whole.reqs[i] {
				t.Fatalf("request %d in pieces:\n%s\nwhole:\n%s", i, got.reqs[i], whole.reqs[i])
			}
		}
	})
}

// knownDifference tells why net/http may refuse a request that is accepted here. Each
// is a difference on purpose; a request is exempt only where net/http says this. body is what follows the head.
func knownDifference(req *Request, body []byte, err error) string {
	said := func(text string) bool { return strings.Contains(err.Error(), text) }
	trailer, _ := req.Get("Trailer")
	switch {
	case req.Method == Unknown && string(req.bytes(req.method)) == connect:
		return "CONNECT is answered with 501 whatever its target is"
	case said("bad trailer key") && trailer != nil:
		return "trailers are dropped here, so it does not matter which of them are announced"
	case said("invalid URL escape") && strings.HasPrefix(strings.ToLower(string(req.Target())), "http"):
		return "RFC 3986 §3.2.2 allows any escape in a host name; net/url only those of bytes from 80 on"
	case said("invalid byte in chunk length") && (bytes.Contains(body, []byte(" ;")) || bytes.Contains(body, []byte("\t;"))):
		return "RFC 9112 §7.1.1 allows white space between a chunk size and its extension"
	case said("too much non-data"):
		return "here the time-out of the body bounds how much extensions may take"
	case said("header line too long"):
		return "a chunk line may be 4 KiB long here, without its CRLF; in net/http with it"
	case said("suspiciously long trailer"):
		return "trailers may be as long as a head here"
	case said("Content-Length") && count(req, "Content-Length") > 1:
		return "equal lengths that are spelled differently (5, 05) are one length here; net/http compares text"
	}
	return ""
}

// different has an example of each known difference.
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

// What is on the list is really different: an entry that no longer is would hide others.
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
			t.Errorf("%.60q: net/http says %v; reason %q", in, err, reason)
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

// FuzzReadRequest: whatever is accepted here, net/http accepts too, and understands in
// the same way. A request that two implementations understand differently is how requests
// are smuggled.
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
		// net/http skips no empty lines; RFC 9112 §2.2 says that a server should.
		r := bufio.NewReader(bytes.NewReader(in[req.method.from:]))
		std, err := http.ReadRequest(r)
		if err != nil {
			if knownDifference(&req, raw, err) == "" {
				t.Fatalf("accepted here, net/http says %v", err)
			}
			return
		}
		body, err := io.ReadAll(std.Body)
		if err != nil {
			if knownDifference(&req, raw, err) == "" {
				t.Fatalf("accepted here, net/http says of the body: %v", err)
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
		if std.Method != connect && std.Host != string(req.Host()) {
			t.Errorf("host %q, net/http %q", req.Host(), std.Host)
		}
		if std.Method != connect && string(req.Path) != "*" && std.URL.Path != string(req.Path) && (std.URL.Path != "" || string(req.Path) != "/") {
			t.Errorf("path %q, net/http %q", req.Path, std.URL.Path)
		}
		rest, _ := io.ReadAll(r)
		if left := buf.Unread(); !bytes.Equal(rest, left) {
			t.Errorf("behind the request %q, net/http %q", left, rest)
		}
	})
}
