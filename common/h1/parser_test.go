package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"fourways.example/common/stream"
)

// An outcome is the complete result of parsing an input. Positions are relative to the
// beginning of the input.
type outcome struct {
	err   *Error
	taken int      // bytes taken until the last request was complete or refused
	fed   int      // bytes that had arrived at that time
	reqs  []string // the description of each complete request
}

// parsePieces feeds the pieces to a parser, one after another, and parses after each. It
// reads all requests in the pieces and stops early if one is refused. first is the position
// of the first byte. r returns a reader for a piece.
func parsePieces(t testing.TB, first stream.Pos, pieces [][]byte, r func([]byte) io.Reader) outcome {
	var (
		in   stream.Buffer
		p    Parser
		req  Request
		work counter
		o    outcome
	)
	in.Reset(first, 0)
	p.Reset(&req, &in)
	work.watch(&p)
	for _, piece := range pieces {
		if in.Free() < len(piece) {
			in.Grow(max(len(piece), in.Cap()/16)) // as little as possible, so that the bytes move often
		}
		if n, _ := in.Fill(r(piece)); n != len(piece) {
			t.Fatalf("Fill took %d of %d bytes", n, len(piece))
		}
		o.fed += len(piece)
		for {
			done, err := p.Parse(&in)
			if work.bytes > 2*o.fed {
				t.Fatalf("the states examined %d bytes of an input of %d, want at most twice the input", work.bytes, o.fed)
			}
			o.taken = int(in.Pos() - first)
			if err != nil {
				if !errors.As(err, &o.err) {
					t.Fatalf("the error has no status: %v", err)
				}
				return o
			}
			if !done {
				if len(in.Unread()) > 0 {
					t.Fatalf("Parse needs more bytes, but did not take %q", in.Unread())
				}
				break
			}
			o.reqs = append(o.reqs, describe(&req, first))
			in.Discard()
			p.Reset(&req, &in)
			work.watch(&p)
		}
	}
	return o
}

// A counter counts the bytes that the states of a parser examine. It wraps the state
// function, so the parser itself needs no counter.
type counter struct {
	bytes int   // bytes taken, and one for each call that examined a byte and took none
	state state // the state that the parser is really in
}

// watch wraps the state of p. It must be called again after each Reset.
func (c *counter) watch(p *Parser) {
	c.state = p.state
	p.state = c.run
}

func (c *counter) run(p *Parser, data []byte) (int, error) {
	p.state = c.state
	n, err := c.state(p, data)
	c.bytes += max(n, 1)
	c.watch(p)
	return n, err
}

// parseHidden parses input byte by byte. After each byte it overwrites, in the buffer, all
// bytes that the parser has taken. It restores them only where the parser may examine a
// complete token or field line: before a space that ends a part of the request line, and
// before a line feed. A parser that examines a byte again only because more bytes arrived
// finds filler there, and has another outcome.
func parseHidden(t *testing.T, input []byte, filler byte) outcome {
	t.Helper()
	var (
		in  stream.Buffer
		p   Parser
		req Request
		o   outcome
	)
	p.Reset(&req, &in)
	var start stream.Pos // of the current request
	hidden := false
	// overwrite copies text over the bytes from position from up to the read position, as
	// far as the buffer still has them.
	overwrite := func(from stream.Pos, text func(i int) byte) {
		to := in.Pos()
		if p.phase == phaseBody && p.coding == codingChunked {
			to = min(to, p.bodyStart) // the encoded body is cut
		}
		if from >= to {
			return
		}
		for i, b := 0, in.Bytes(from, to); i < len(b); i++ {
			b[i] = text(int(from) + i)
		}
	}
	original := func(i int) byte { return input[i] }
	fill := func(int) byte { return filler }
	for i, c := range input {
		if in.Free() == 0 {
			in.Grow(in.Cap() + 1)
		}
		if n, err := in.Fill(bytes.NewReader(input[i : i+1])); n != 1 || err != nil {
			t.Fatalf("Fill: %d, %v", n, err)
		}
		before := in.Pos()
		inRequestLine := req.version == span{}
		complete := c == '\n' || c == ' ' && inRequestLine
		if complete && hidden {
			overwrite(start, original)
			hidden = false
		}
		done, err := p.Parse(&in)
		o.fed, o.taken = i+1, int(in.Pos())
		switch {
		case err != nil:
			if !errors.As(err, &o.err) {
				t.Fatalf("the error has no status: %v", err)
			}
			return o
		case done:
			overwrite(start, original) // the body too, for describe
			o.reqs = append(o.reqs, describe(&req, 0))
			in.Discard()
			p.Reset(&req, &in)
			start, hidden = in.Pos(), false
		case hidden:
			overwrite(before, fill)
		default:
			overwrite(start, fill)
			hidden = true
		}
	}
	return o
}

// TestParserExaminesBytesOnce hides the bytes that the parser has taken. The outcome must
// be the same as with all bytes at hand.
func TestParserExaminesBytesOnce(t *testing.T) {
	check := func(t *testing.T, in string) {
		t.Helper()
		input := []byte(in)
		whole := parsePieces(t, 0, [][]byte{input}, plain)
		// The line ends and separators are what a parser would search for; NUL is valid in
		// no token, path or field value.
		for _, filler := range []byte("\n\r:, \x00") {
			got := parseHidden(t, input, filler)
			if got.err != whole.err || got.taken != whole.taken || strings.Join(got.reqs, "\n") != strings.Join(whole.reqs, "\n") {
				t.Errorf("%.60q, taken bytes overwritten with %q:\n%v, %d bytes taken, %q\nwant\n%v, %d bytes taken, %q",
					in, filler, got.err, got.taken, got.reqs, whole.err, whole.taken, whole.reqs)
			}
		}
	}
	for _, c := range accepted {
		check(t, c.in+"GET /next HTTP/1.0\r\n\r\n")
	}
	for _, c := range refused {
		check(t, strings.Replace(c.in, "¶", "", 1))
	}
	for _, c := range limits() {
		check(t, strings.Replace(c.in, "¶", "", 1))
	}
}

func plain(b []byte) io.Reader { return bytes.NewReader(b) }

// withEOF returns a reader that returns io.EOF together with the last bytes, as io.Reader
// allows.
func withEOF(b []byte) io.Reader { return endWithData(b) }

type endWithData []byte

func (b endWithData) Read(p []byte) (int, error) { return copy(p, b), io.EOF }

// describe returns a text with all parts of a request and their positions in the stream.
func describe(r *Request, first stream.Pos) string {
	var b strings.Builder
	at := func(name string, s span) {
		if s.to != s.from {
			fmt.Fprintf(&b, "%s %d-%d %s\n", name, s.from-first, s.to-first, r.bytes(s))
		}
	}
	at("method", r.method)
	at("target", r.target)
	at("query", r.query)
	at("version", r.version)
	for i, f := range r.fields {
		at(fmt.Sprintf("name%d", i), f.name)
		at(fmt.Sprintf("value%d", i), f.value)
	}
	at("host", r.host)
	fmt.Fprintf(&b, "path %s\n", r.Path)
	if r.Body != nil {
		fmt.Fprintf(&b, "body %q\n", r.Body)
	}
	fmt.Fprintf(&b, "is %v 1.%d", r.Method, r.Minor)
	if r.close {
		b.WriteString(" close")
	}
	if r.keep10 {
		b.WriteString(" keep-alive")
	}
	return b.String()
}

// splitEveryWay parses input in one piece and in many different splits, and fails the test
// if an outcome differs. It returns the outcome.
func splitEveryWay(t *testing.T, input []byte) outcome {
	t.Helper()
	whole := parsePieces(t, 0, [][]byte{input}, plain)
	check := func(how string, pieces ...[]byte) {
		t.Helper()
		got := parsePieces(t, 1<<40, pieces, plain)
		if got.err != whole.err || got.taken != whole.taken || strings.Join(got.reqs, "\n") != strings.Join(whole.reqs, "\n") {
			t.Fatalf("%s:\n%v, %d bytes taken, %q\nwant, as in one piece,\n%v, %d bytes taken, %q",
				how, got.err, got.taken, got.reqs, whole.err, whole.taken, whole.reqs)
		}
	}
	if got := parsePieces(t, 7, [][]byte{input}, withEOF); got.err != whole.err || got.taken != whole.taken {
		t.Fatalf("data together with EOF: %v, %d bytes taken; want %v, %d", got.err, got.taken, whole.err, whole.taken)
	}
	bytewise := make([][]byte, len(input))
	for i := range input {
		bytewise[i] = input[i : i+1]
	}
	check("byte by byte", bytewise...)
	pair := func(i, j int) {
		t.Helper()
		check(fmt.Sprint("split at ", i, " and ", j), input[:i], input[i:j], input[j:])
	}
	n := len(input)
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		switch {
		case n < 60:
			for j := i; j < n; j++ { // if j is i, the second piece is empty
				pair(i, j)
			}
		case n < 2000:
			pair(i, i)
			pair(i, i+rnd.IntN(n-i))
			pair(i, min(i+1+rnd.IntN(4), n))
		case rnd.IntN(n) < 50 || i > n-10: // long inputs reach a limit in their last bytes
			pair(i, i+rnd.IntN(n-i))
		}
	}
	if whole.err != nil { // after how many bytes the request is refused, read byte by byte
		whole.fed = parsePieces(t, 0, bytewise, plain).fed
	}
	return whole
}

// TestParserSpans checks the position of each part of a request in the stream.
func TestParserSpans(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{
			"the shortest request", "GET / HTTP/1.0\r\n\r\n",
			`method 0-3 GET
target 4-5 /
version 6-14 HTTP/1.0
path /
is GET 1.0 close`,
		},
		{
			"fields and a query", "HEAD /a%20b?c=%41 HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nx:\t a\tb \t\r\n\r\n",
			`method 0-4 HEAD
target 5-17 /a%20b?c=%41
query 12-17 c=%41
version 18-26 HTTP/1.1
name0 28-32 Host
value0 34-35 h
name1 37-44 X-Empty
name2 47-48 x
value2 51-54 a	b
host 34-35 h
path /a b
is HEAD 1.1`,
		},
		{
			"a body, and the next request", "POST / HTTP/1.1\r\nHost:h\r\nContent-Length:5\r\n\r\nhelloGET / HTTP/1.1\r\nHost:i\r\n\r\n",
			`method 0-4 POST
target 5-6 /
version 7-15 HTTP/1.1
name0 17-21 Host
value0 22-23 h
name1 25-39 Content-Length
value1 40-41 5
host 22-23 h
path /
body "hello"
is POST 1.1
method 50-53 GET
target 54-55 /
version 56-64 HTTP/1.1
name0 66-70 Host
value0 71-72 i
host 71-72 i
path /
is GET 1.1`,
		},
		{
			"chunks, a trailer, and the next request",
			"PUT / HTTP/1.1\r\nHost:h\r\nTransfer-Encoding: Chunked\r\n\r\n" +
				"3\r\nabc\r\n00A ; x = \"y\\\"\"\r\n0123456789\r\n0;z\r\nTrailer: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
			`method 0-3 PUT
target 4-5 /
version 6-14 HTTP/1.1
name0 16-20 Host
value0 21-22 h
name1 24-41 Transfer-Encoding
value1 43-50 Chunked
host 21-22 h
path /
body "abc0123456789"
is PUT 1.1
method 110-113 GET
target 114-115 /
version 116-124 HTTP/1.0
path /
is GET 1.0 close`,
		},
		{
			"absolute form", "GET http://a.example:80/b?c HTTP/1.1\r\nHost: other\r\n\r\n",
			`method 0-3 GET
target 4-27 http://a.example:80/b?c
query 26-27 c
version 28-36 HTTP/1.1
name0 38-42 Host
value0 44-49 other
host 11-23 a.example:80
path /b
is GET 1.1`,
		},
		{
			"empty lines before the request line", "\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
			`method 4-11 OPTIONS
target 12-13 *
version 14-22 HTTP/1.1
name0 24-28 Host
value0 30-31 h
host 30-31 h
path *
is OPTIONS 1.1`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := splitEveryWay(t, []byte(c.in))
			if got := strings.Join(o.reqs, "\n"); got != c.want || o.err != nil {
				t.Errorf("%v\n%s\nwant\n%s", o.err, got, c.want)
			}
		})
	}
}

// with returns the beginning of a valid request, followed by lines.
func with(lines string) string { return "POST / HTTP/1.1\r\nHost: h\r\n" + lines }

// chunks returns a request with the chunked body body.
func chunks(body string) string { return with("Transfer-Encoding: chunked\r\n\r\n") + body }

// accepted lists inputs. Each is one complete, valid request.
var accepted = []struct{ name, in string }{
	{"the highest minor version", "GET / HTTP/1.9\r\nHost: h\r\n\r\n"},
	{"an unknown method", "BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"every byte of a token", "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"CONNECT with an authority", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"},
	{"odd bytes in a path", "GET /!$&'()*+,-.:;=@[]^_|~ HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"odd bytes in a query", "GET /?!\"$&'()*+,-.:;<=>@[\\]^_`{|}~ HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"odd bytes in a query", "GET /?\\\"<>^{|}??%%zz% HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"escapes", "GET /%20%7e%80%fF HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"dot segments are not resolved", "GET /../%2e%2e//x HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"absolute form without a path", "GET HTTPS://h?x HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"absolute form of OPTIONS *", "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n"},
	{"hosts: port", "GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n"},
	{"hosts: empty port", "GET / HTTP/1.1\r\nHost: h:\r\n\r\n"},
	{"hosts: IPv4", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"},
	{"hosts: IPv6", "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"},
	{"hosts: IPv6 and port", "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n"},
	{"hosts: the longest IPv6", "GET / HTTP/1.1\r\nHost: [ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:80\r\n\r\n"},
	{"hosts: every byte of a name", "GET / HTTP/1.1\r\nHost: a-._~!$&'()*+,;=%20%0a%A0%fF\r\n\r\n"},
	{"values: tab and high bytes", "GET / HTTP/1.1\r\nHost: h\r\nX: a\tb\x80\xFFc\r\n\r\n"},
	{"values: long, with tabs", "GET / HTTP/1.1\r\nHost: h\r\nX: 0123456\t       \t!!!!!!!!~~~~~~~~\t\t\t\r\n\r\n"},
	{"spaces around a value", "GET / HTTP/1.1\r\nHost:\t \th \t\t\r\n\r\n"},
	{"Content-Length 0", with("Content-Length: 0\r\n\r\n")},
	{"leading zeros", with("Content-Length: 005\r\n\r\n12345")},
	{"equal lengths", with("Content-Length: 5\r\ncontent-length: 05\r\n\r\n12345")},
	{"100 leading zeros", with("Content-Length: " + strings.Repeat("0", 100) + "1\r\n\r\n1")},
	{"a body on GET", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nGET"},
	{"a body in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"},
	{"Expect", with("Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx")},
	{"Expect: a list", with("Expect: ,100-continue, 100-Continue ,\r\nContent-Length: 1\r\n\r\nx")},
	{"Expect: empty", with("Expect:\r\nExpect: ,\r\nContent-Length: 1\r\n\r\nx")},
	{"any Expect in HTTP/1.0", "POST / HTTP/1.0\r\nExpect: much\r\nContent-Length: 1\r\n\r\nx"},
	{"chunk: only the last one", chunks("0\r\n\r\n")},
	{"chunk: many zeros", chunks("0000000000000000\r\n\r\n")},
	{"chunk: 16 digits", chunks("0000000000000003\r\nabc\r\n0\r\n\r\n")},
	{"chunk: upper and lower case", chunks("0A\r\n0123456789\r\n0b\r\n0123456789a\r\n0\r\n\r\n")},
	{"chunk: data that looks like framing", chunks("9\r\n\r\n0\r\n\r\nGE\r\n0\r\n\r\n")},
	{"extension: name", chunks("1;a\r\nx\r\n0\r\n\r\n")},
	{"extension: value", chunks("1;a=b\r\nx\r\n0\r\n\r\n")},
	{"extension: several", chunks("1;a=b;c;d=\"e\"\r\nx\r\n0;last\r\n\r\n")},
	{"extension: white space", chunks("1 \t; \ta \t= \tb ;c ;\td\r\nx\r\n0\r\n\r\n")},
	{"extension: quoted", chunks("1;a=\"b;\\\"\\\\ \t\x80\"\r\nx\r\n0\r\n\r\n")},
	{"extension: empty quotes", chunks("1;a=\"\"\r\nx\r\n0\r\n\r\n")},
	{"trailers", chunks("1\r\nx\r\n0\r\nA: 1\r\nB:\t\xFF \r\n\r\n")},
	{"trailers with the names of framing fields", chunks("0\r\nHost: other\r\nContent-Length: 7\r\nTransfer-Encoding: gzip\r\nExpect: it\r\n\r\n")},
}

// TestPath checks the path of each form of the request target.
func TestPath(t *testing.T) {
	for target, want := range map[string]string{
		"GET /":                "/",
		"GET /a%62?/c":         "/ab",
		"GET http://h":         "/",
		"GET http://h?x":       "/",
		"GET http://h/a?x":     "/a",
		"OPTIONS *":            "*",
		"OPTIONS http://h":     "*", // RFC 9112 §3.2.4
		"OPTIONS http://h?x":   "/",
		"OPTIONS http://h/":    "/",
		"OPTIONS http://h/*?x": "/*",
	} {
		o := splitEveryWay(t, []byte(target+" HTTP/1.1\r\nHost: h\r\n\r\n"))
		if o.err != nil || len(o.reqs) != 1 || !strings.Contains(o.reqs[0], "\npath "+want+"\n") {
			t.Errorf("%s: %v, %q, want the path %s", target, o.err, o.reqs, want)
		}
	}
}

func TestParserAccepts(t *testing.T) {
	for _, c := range accepted {
		t.Run(c.name, func(t *testing.T) {
			o := splitEveryWay(t, []byte(c.in))
			if o.err != nil || len(o.reqs) != 1 || o.taken != len(c.in) {
				t.Errorf("%v, %d requests, %d of %d bytes taken; want one request and no error", o.err, len(o.reqs), o.taken, len(c.in))
			}
		})
	}
}

// refused lists inputs with their error. The mark ¶ follows the byte at which the parser
// must refuse the request. The outcome must not depend on the bytes after the mark.
var refused = []struct {
	name, in string
	want     *Error
}{
	// The request line.
	{"three empty lines", "\r\n\r\n\r¶\nGET / HTTP/1.1\r\n", ErrEmptyLines},
	{"bare LF before the request line", "\n¶GET / HTTP/1.1\r\n", ErrMethod},
	{"bare CR before the request line", "\rG¶ET / HTTP/1.1\r\n", ErrLineEnd},
	{"space before the method", " ¶GET / HTTP/1.1\r\n", ErrMethod},
	{"no method", "\r\n ¶/ HTTP/1.1\r\n", ErrMethod},
	{"a method that is not a token", "GE(¶T / HTTP/1.1\r\n", ErrMethod},
	{"a TLS hello", "\x16¶\x03\x01", ErrMethod},
	{"a high byte in the method", "G\xC3¶T / HTTP/1.1\r\n", ErrMethod},
	{"tab after the method", "GET\t¶/ HTTP/1.1\r\n", ErrMethod},
	{"HTTP/0.9", "GET /\r¶\n", ErrTarget},
	{"no target", "GET\r¶\n\r\n", ErrMethod},
	{"two spaces before the target", "GET  ¶/ HTTP/1.1\r\n", ErrTarget},
	{"tab after the target", "GET /\t¶HTTP/1.1\r\n", ErrTarget},
	{"two spaces before the version", "GET /  ¶HTTP/1.1\r\n", ErrVersion},
	{"a space after the version", "GET / HTTP/1.1 ¶\r\n", ErrVersion},
	{"a space in the target", "GET /a b¶ HTTP/1.1\r\n", ErrVersion},
	{"version in lower case", "GET / h¶ttp/1.1\r\n", ErrVersion},
	{"another protocol", "GET / HTTPS¶/1.1\r\n", ErrVersion},
	{"two digits in the minor version", "GET / HTTP/1.10¶\r\n", ErrVersion},
	{"two digits in the major version", "GET / HTTP/11¶.1\r\n", ErrVersion},
	{"no digit in the minor version", "GET / HTTP/1.x¶\r\n", ErrVersion},
	{"bare LF after the version", "GET / HTTP/1.1\n¶Host: h\r\n", ErrVersion},
	{"bare CR after the version", "GET / HTTP/1.1\rH¶ost: h\r\n", ErrVersion},
	{"HTTP/2", "GET / HTTP/2.0\r\n¶\r\n", ErrVersionMajor},
	{"HTTP/0", "GET / HTTP/0.9\r\n¶\r\n", ErrVersionMajor},
	{"HTTP/2 and a space", "GET / HTTP/2.0 ¶\r\n", ErrVersion},
	// The target.
	{"NUL", "GET /\x00¶ HTTP/1.1\r\n", ErrTarget},
	{"DEL", "GET /\x7F¶ HTTP/1.1\r\n", ErrTarget},
	{"a high byte", "GET /\xE4¶ HTTP/1.1\r\n", ErrTarget},
	{"a high byte in the query", "GET /?\xE4¶ HTTP/1.1\r\n", ErrTarget},
	{"a fragment", "GET /#¶f HTTP/1.1\r\n", ErrTarget},
	{"a fragment after a query", "GET /?a#¶f HTTP/1.1\r\n", ErrTarget},
	{"a backslash", "GET /a\\¶b HTTP/1.1\r\n", ErrTarget},
	{"a quote", "GET /a\"¶b HTTP/1.1\r\n", ErrTarget},
	{"a less-than sign", "GET /<¶b HTTP/1.1\r\n", ErrTarget},
	{"a greater-than sign", "GET />¶b HTTP/1.1\r\n", ErrTarget},
	{"an opening brace", "GET /{¶b HTTP/1.1\r\n", ErrTarget},
	{"a closing brace", "GET /}¶b HTTP/1.1\r\n", ErrTarget},
	{"a backquote", "GET /`¶b HTTP/1.1\r\n", ErrTarget},
	{"a quote in the path of the absolute form", "GET http://h/\"¶b HTTP/1.1\r\n", ErrTarget},
	{"no slash", "GET a ¶HTTP/1.1\r\n", ErrTarget},
	{"asterisk with GET", "GET * ¶HTTP/1.1\r\n", ErrTarget},
	{"asterisk and another byte", "OPTIONS *x ¶HTTP/1.1\r\n", ErrTarget},
	{"asterisk and a query", "OPTIONS *? ¶HTTP/1.1\r\n", ErrTarget},
	{"only a query", "GET ?a ¶HTTP/1.1\r\n", ErrTarget},
	{"authority form with GET", "GET h:80 ¶HTTP/1.1\r\n", ErrTarget},
	{"another scheme", "GET ftp://h/ ¶HTTP/1.1\r\n", ErrTarget},
	{"a scheme with one slash", "GET http:/h ¶HTTP/1.1\r\n", ErrTarget},
	{"userinfo", "GET http://u:p@h/ ¶HTTP/1.1\r\n", ErrTarget},
	{"no authority", "GET http:///x ¶HTTP/1.1\r\n", ErrTarget},
	{"no authority, but a query", "GET http://?x ¶HTTP/1.1\r\n", ErrTarget},
	{"a port that is not a number", "GET http://h:x/ ¶HTTP/1.1\r\n", ErrTarget},
	{"the slashes of a scheme in the query", "GET a?://h/ ¶HTTP/1.1\r\n", ErrTarget},
	{"escape: not hex", "GET /%g¶0 HTTP/1.1\r\n", ErrEscape},
	{"escape: second digit not hex", "GET /%2g¶ HTTP/1.1\r\n", ErrEscape},
	{"escape: no digits", "GET /% ¶HTTP/1.1\r\n", ErrEscape},
	{"escape: one digit", "GET /%2 ¶HTTP/1.1\r\n", ErrEscape},
	{"escape: one digit before a query", "GET /%2?¶ HTTP/1.1\r\n", ErrEscape},
	{"escape: NUL", "GET /%0¶0 HTTP/1.1\r\n", ErrEscape},
	{"escape: control byte", "GET /a%1¶F HTTP/1.1\r\n", ErrEscape},
	{"escape: DEL", "GET /%7f¶ HTTP/1.1\r\n", ErrEscape},
	{"escape: in an authority", "GET http://a%z¶z/ HTTP/1.1\r\n", ErrEscape},
	// Field lines.
	{"obs-fold", with("A: b\r\n ¶c\r\n"), ErrObsFold},
	{"obs-fold with a tab", with("A: b\r\n\t¶c\r\n"), ErrObsFold},
	{"white space before the first field", "GET / HTTP/1.1\r\n ¶Host: h\r\n", ErrObsFold},
	{"no name", with(":¶ b\r\n"), ErrFieldName},
	{"no colon", with("A\r¶\n"), ErrFieldName},
	{"space before the colon", with("A ¶: b\r\n"), ErrFieldName},
	{"tab before the colon", with("Content-Length\t¶: 5\r\n"), ErrFieldName},
	{"a name that is not a token", with("A(¶: b\r\n"), ErrFieldName},
	{"a high byte in a name", with("\xC4¶: b\r\n"), ErrFieldName},
	{"NUL in a name", with("A\x00¶: b\r\n"), ErrFieldName},
	{"NUL in a value", with("A: b\x00¶\r\n"), ErrFieldValue},
	{"NUL at the beginning of a value", with("A: \x00¶\r\n"), ErrFieldValue},
	{"control byte in a value", with("A: b\x1F¶\r\n"), ErrFieldValue},
	{"VT before a value", with("A:\v¶b\r\n"), ErrFieldValue},
	{"DEL in a value", with("A: 0123456789\x7F¶\r\n"), ErrFieldValue},
	{"bare LF after a value", with("A: b\n¶C: d\r\n"), ErrLineEnd},
	{"bare LF instead of a value", with("A:\n¶C: d\r\n"), ErrLineEnd},
	{"bare CR in a value", with("A: b\rC¶: d\r\n"), ErrLineEnd},
	{"CR CR LF", with("A: b\r\r¶\n"), ErrLineEnd},
	{"bare LF at the end of the head", with("\n¶"), ErrFieldName},
	{"bare CR at the end of the head", with("\rx¶"), ErrLineEnd},
	// Host.
	{"no Host", "GET / HTTP/1.1\r\n\r\n¶", ErrHostMissing},
	{"no Host, absolute form", "GET http://h/ HTTP/1.1\r\n\r\n¶", ErrHostMissing},
	{"no Host in 1.2", "GET / HTTP/1.2\r\n\r\n¶", ErrHostMissing},
	{"two Hosts", with("Host: h\r\n¶"), ErrHostTwice},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\nhOST: h\r\n¶", ErrHostTwice},
	{"two Hosts, absolute form", "GET http://h/ HTTP/1.1\r\nHost: h\r\nHost: h\r\n¶", ErrHostTwice},
	{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n¶", ErrHost},
	{"a bad Host, absolute form", "GET http://h/ HTTP/1.1\r\nHost: a b\r\n¶", ErrHost},
	{"Host: userinfo", "GET / HTTP/1.1\r\nHost: u@h\r\n¶", ErrHost},
	{"Host: a path", "GET / HTTP/1.1\r\nHost: h/x\r\n¶", ErrHost},
	{"Host: a list", "GET / HTTP/1.1\r\nHost: a, b\r\n¶", ErrHost},
	{"Host: a port alone", "GET / HTTP/1.1\r\nHost: :80\r\n¶", ErrHost},
	{"Host: two ports", "GET / HTTP/1.1\r\nHost: h:80:80\r\n¶", ErrHost},
	{"Host: port not digits", "GET / HTTP/1.1\r\nHost: h:8a\r\n¶", ErrHost},
	{"Host: a bad escape", "GET / HTTP/1.1\r\nHost: h%2\r\n¶", ErrHost},
	{"Host: a high byte", "GET / HTTP/1.1\r\nHost: \xE4\r\n¶", ErrHost},
	{"Host: IPv6 without an end", "GET / HTTP/1.1\r\nHost: [::1\r\n¶", ErrHost},
	{"Host: IPv6 and more", "GET / HTTP/1.1\r\nHost: [::1]x\r\n¶", ErrHost},
	{"Host: IPv6 with a zone", "GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n¶", ErrHost},
	{"Host: IPv4 in brackets", "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n¶", ErrHost},
	{"Host: nothing in brackets", "GET / HTTP/1.1\r\nHost: []\r\n¶", ErrHost},
	// What the protocol depends on.
	{"two Content-Types", with("Content-Type: a/b\r\ncontent-type: a/b\r\n¶"), ErrTypeTwice},
	{"another expectation", with("Expect: tea\r\n\r\n¶"), ErrExpectation},
	{"another expectation in a list", with("Expect: 100-continue, tea\r\n\r\n¶"), ErrExpectation},
	{"two expectations", with("Expect: 100-continue\r\nExpect: tea\r\n\r\n¶"), ErrExpectation},
	{"length: empty", with("Content-Length:\r\n¶"), ErrLength},
	{"length: plus", with("Content-Length: +5\r\n¶"), ErrLength},
	{"length: minus", with("Content-Length: -5\r\n¶"), ErrLength},
	{"length: hex", with("Content-Length: 0x5\r\n¶"), ErrLength},
	{"length: a list", with("Content-Length: 5, 5\r\n¶"), ErrLength},
	{"length: a space inside", with("Content-Length: 5 5\r\n¶"), ErrLength},
	{"length: a fraction", with("Content-Length: 5.0\r\n¶"), ErrLength},
	{"length: 2 to the 63", with("Content-Length: 9223372036854775808\r\n¶"), ErrLength},
	{"length: 2 to the 64 and 5", with("Content-Length: 18446744073709551621\r\n¶"), ErrLength},
	{"length: the largest number", with("Content-Length: 9223372036854775807\r\n\r\n¶"), ErrBodyLong},
	{"lengths that differ", with("Content-Length: 5\r\nContent-Length: 6\r\n¶"), ErrLengthTwice},
	{"length and coding", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n¶"), ErrLengthCoding},
	{"coding and length", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n¶"), ErrLengthCoding},
	{"unknown coding and length", with("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n¶"), ErrLengthCoding},
	{"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n¶", ErrCoding10},
	{"coding: twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n¶"), ErrCoding},
	{"coding: twice in one", with("Transfer-Encoding: chunked, chunked\r\n¶"), ErrCoding},
	{"coding: not last", with("Transfer-Encoding: chunked, gzip\r\n¶"), ErrCoding},
	{"coding: not last, in two lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n¶"), ErrCoding},
	{"coding: twice after another", with("Transfer-Encoding: gzip, chunked, chunked\r\n¶"), ErrCoding},
	{"coding: between two others", with("Transfer-Encoding: gzip, chunked\r\nTransfer-Encoding: br\r\n¶"), ErrCoding},
	{"coding: after another", with("Transfer-Encoding: gzip, chunked\r\n\r\n¶"), ErrCodingOther},
	{"coding: after two others", with("Transfer-Encoding: gzip\t,\tdeflate , Chunked\r\n\r\n¶"), ErrCodingOther},
	{"coding: after another line", with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n¶"), ErrCodingOther},
	{"coding: after a quoted comma", with("Transfer-Encoding: gzip;a=\"b\\\", c\" ,chunked\r\n\r\n¶"), ErrCodingOther},
	{"coding: in a quoted string", with("Transfer-Encoding: gzip;a=\"b, chunked\"\r\n\r\n¶"), ErrCodingFinal},
	{"coding: empty", with("Transfer-Encoding:\r\n¶"), ErrCoding},
	{"coding: empty element first", with("Transfer-Encoding: ,chunked\r\n¶"), ErrCoding},
	{"coding: empty element last", with("Transfer-Encoding: chunked,\r\n¶"), ErrCoding},
	{"coding: empty element between two", with("Transfer-Encoding: gzip, ,chunked\r\n¶"), ErrCoding},
	{"coding: only a comma", with("Transfer-Encoding: ,\r\n¶"), ErrCoding},
	{"coding: an empty line and chunked", with("Transfer-Encoding:\r\n¶Transfer-Encoding: chunked\r\n"), ErrCoding},
	{"coding: parameter", with("Transfer-Encoding: chunked;a=b\r\n¶"), ErrCoding},
	{"coding: parameter after another coding", with("Transfer-Encoding: gzip, chunked ; a=b\r\n¶"), ErrCoding},
	{"coding: semicolon", with("Transfer-Encoding: chunked;\r\n¶"), ErrCoding},
	{"coding: no name", with("Transfer-Encoding: ;a=b\r\n¶"), ErrCoding},
	{"coding: no parameter name", with("Transfer-Encoding: gzip;=b\r\n¶"), ErrCoding},
	{"coding: more after a quote", with("Transfer-Encoding: gzip;a=\"b\"c\r\n¶"), ErrCoding},
	{"coding: ends in a quoted pair", with("Transfer-Encoding: gzip;a=\"\\\"\r\n¶"), ErrCoding},
	{"coding: quoted", with("Transfer-Encoding: \"chunked\"\r\n¶"), ErrCoding},
	{"coding: two words", with("Transfer-Encoding: x chunked\r\n¶"), ErrCoding},
	{"coding: open parameter", with("Transfer-Encoding: gzip;a\r\n¶"), ErrCoding},
	{"coding: open quote", with("Transfer-Encoding: gzip;a=\"b\r\n¶"), ErrCoding},
	{"coding: no value", with("Transfer-Encoding: gzip;a=\r\n¶"), ErrCoding},
	{"coding: no parameter", with("Transfer-Encoding: gzip;\r\n¶"), ErrCoding},
	{"coding: unknown", with("Transfer-Encoding: gzip\r\n\r\n¶"), ErrCodingFinal},
	{"coding: identity", with("Transfer-Encoding: identity\r\n\r\n¶"), ErrCodingFinal},
	{"coding: two unknown", with("Transfer-Encoding: gzip, deflate\r\n\r\n¶"), ErrCodingFinal},
	{"coding: unknown with parameters", with("Transfer-Encoding: x ; a = \"b\\\"\" ;c=d\r\n\r\n¶"), ErrCodingFinal},
	{"coding: begins like chunked", with("Transfer-Encoding: chunkedx\r\n\r\n¶"), ErrCodingFinal},
	// Chunks.
	{"chunk: no digit", chunks("\r¶\n"), ErrChunkSize},
	{"chunk: not hex", chunks("g¶\r\n"), ErrChunkSize},
	{"chunk: 0x", chunks("0x¶5\r\n"), ErrChunkSize},
	{"chunk: space before the size", chunks(" ¶5\r\n"), ErrChunkSize},
	{"chunk: minus", chunks("-¶1\r\n"), ErrChunkSize},
	{"chunk: plus", chunks("+¶1\r\n"), ErrChunkSize},
	{"chunk: underscore", chunks("1_¶0\r\n"), ErrChunkSize},
	{"chunk: 17 digits", chunks("00000000000000005¶\r\n"), ErrChunkSize},
	{"chunk: bare LF", chunks("5\n¶"), ErrChunkSize},
	{"chunk: bare CR", chunks("5\rx¶"), ErrLineEnd},
	{"chunk: space after the size", chunks("5 \r¶\n"), ErrChunkExt},
	{"chunk: the largest size", chunks("ffffffffffffffff\r\n¶"), ErrBodyLong},
	{"chunk: sizes whose sum overflows", chunks("2\r\nab\r\nfffffffffffffffe\r\n¶"), ErrBodyLong},
	{"chunk: data too long", chunks("3\r\nabcd¶\r\n"), ErrChunkEnd},
	{"chunk: bare LF after the data", chunks("3\r\nabc\n¶"), ErrChunkEnd},
	{"chunk: bare CR after the data", chunks("3\r\nabc\r0¶"), ErrChunkEnd},
	{"extension: empty", chunks("5;\r¶\n"), ErrChunkExt},
	{"extension: empty, before another", chunks("5;;¶a\r\n"), ErrChunkExt},
	{"extension: no name", chunks("5;=¶a\r\n"), ErrChunkExt},
	{"extension: no value", chunks("5;a=\r¶\n"), ErrChunkExt},
	{"extension: space after the name", chunks("5;a \r¶\n"), ErrChunkExt},
	{"extension: two words", chunks("5;a b¶\r\n"), ErrChunkExt},
	{"extension: open quote", chunks("5;a=\"b\r¶\n"), ErrChunkExt},
	{"extension: control byte in quotes", chunks("5;a=\"\x01¶\r\n"), ErrChunkExt},
	{"extension: quoted control byte", chunks("5;a=\"\\\n¶"), ErrChunkExt},
	{"extension: bare LF", chunks("5;a\n¶"), ErrChunkExt},
	{"extension: a byte after the quotes", chunks("5;a=\"b\"c¶"), ErrChunkExt},
	{"extension: bare CR", chunks("5;a\rb¶"), ErrLineEnd},
	// Trailers.
	{"trailer: obs-fold", chunks("0\r\nA: b\r\n ¶c\r\n"), ErrObsFold},
	{"trailer: no colon", chunks("0\r\nA\r¶\n"), ErrFieldName},
	{"trailer: a second last chunk", chunks("0\r\n0\r¶\n"), ErrFieldName},
	{"trailer: control byte", chunks("0\r\nA: \x01¶\r\n"), ErrFieldValue},
	{"trailer: bare LF", chunks("0\r\nA: b\n¶"), ErrLineEnd},
	{"trailer: bare LF at the end", chunks("0\r\n\n¶"), ErrFieldName},
}

func TestParserRefuses(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			before, after, marked := strings.Cut(c.in, "¶")
			if !marked {
				t.Fatal("the input has no mark")
			}
			o := splitEveryWay(t, []byte(before+after))
			if o.err != c.want {
				t.Fatalf("error %v, want %v", o.err, c.want)
			}
			if o.fed != len(before) {
				t.Errorf("refused after %q, want after %q", (before + after)[:o.fed], before)
			}
			if len(o.reqs) != 0 {
				t.Errorf("a complete request before the error: %q", o.reqs)
			}
			if other := parsePieces(t, 0, [][]byte{[]byte(before)}, plain); other.err != o.err || other.taken != o.taken {
				t.Errorf("without the bytes after the mark: %v, %d bytes taken; with them: %v, %d", other.err, other.taken, o.err, o.taken)
			}
		})
	}
}

// TestParserNeedsMore parses every proper prefix of valid requests. The parser must ask
// for more bytes: a prefix is neither an error nor a complete request.
func TestParserNeedsMore(t *testing.T) {
	for _, c := range accepted {
		for n := range len(c.in) {
			o := parsePieces(t, 0, [][]byte{[]byte(c.in[:n])}, plain)
			if o.err != nil || len(o.reqs) != 0 {
				t.Errorf("%s, only %q: %v, %d requests; want neither", c.name, c.in[:n], o.err, len(o.reqs))
			}
		}
	}
}

// padded returns a request whose head has n bytes.
func padded(n int) string {
	const start, end = "GET / HTTP/1.1\r\nHost: h\r\nX: ", "\r\n\r\n"
	return start + strings.Repeat("x", n-len(start)-len(end)) + end
}

func lines(n int) string { return strings.Repeat("A: b\r\n", n) }

// A limitCase is an input at or over a limit. The mark ¶ has the same meaning as in refused.
type limitCase struct {
	name, in string
	want     *Error // nil if the input reaches the limit exactly
}

func limits() []limitCase {
	x := func(n int) string { return strings.Repeat("x", n) }
	get := func(target string) string { return "GET " + target + " HTTP/1.0\r\n\r\n" }
	trailer := func(n int) string { return chunks("0\r\nA: " + x(n-len("A: \r\n\r\n")) + "\r\n\r\n") }
	return []limitCase{
		{"method at 8 KiB", x(8192) + " / HTTP/1.0\r\n\r\n", nil},
		{"method over 8 KiB", x(8193) + "¶ / HTTP/1.0\r\n\r\n", ErrMethodLong},
		{"method at 8 KiB and an invalid byte", x(8192) + "(¶", ErrMethod},
		{"target at 8 KiB", get("/" + x(8191)), nil},
		{"target over 8 KiB", "GET /" + x(8192) + "¶", ErrTargetLong},
		{"target at 8 KiB, with a query", get("/?" + x(8190)), nil},
		{"target over 8 KiB, with a query", "GET /?" + x(8191) + "¶", ErrTargetLong},
		{"target at 8 KiB, ending in a query", get("/" + x(8190) + "?"), nil},
		{"target over 8 KiB, ending in a query", "GET /" + x(8191) + "?¶", ErrTargetLong},
		{"target at 8 KiB, ending in an escape", get("/" + x(8188) + "%41"), nil},
		{"target over 8 KiB, at the second digit of an escape", "GET /" + x(8189) + "%41¶", ErrTargetLong},
		{"target over 8 KiB, at the first digit of an escape", "GET /" + x(8190) + "%4¶1", ErrTargetLong},
		{"target over 8 KiB, at the percent sign of an escape", "GET /" + x(8191) + "%¶41", ErrTargetLong},
		{"target at 8 KiB and an invalid byte", "GET /" + x(8191) + "#¶", ErrTarget},
		{"target over 8 KiB in a head over 64 KiB", "GET /" + x(8192) + "¶" + x(70000), ErrTargetLong},
		{"head at 64 KiB", padded(65536), nil},
		{"head over 64 KiB", strings.TrimSuffix(padded(65537), "\n") + "¶\n", ErrHeadLong},
		{"head far over 64 KiB", padded(70000)[:65536] + "¶" + x(4464), ErrHeadLong},
		{"head at 64 KiB after empty lines", "\r\n\r\n" + padded(65536), nil},
		{"one field of 50,000 bytes", with("Cookie: " + x(50000) + "\r\n\r\n"), nil},
		{"a name of 50,000 bytes", with(x(50000) + ": y\r\n\r\n"), nil},
		{"a Host of 50,000 bytes", "GET / HTTP/1.1\r\nHost: " + x(50000) + "\r\n\r\n", nil},
		{"a Connection of 50,000 tabs and options", with("Connection: " + strings.Repeat("a,\t\t\t", 10000) + "x\r\n\r\n"), nil},
		{"a Content-Length of 50,000 zeros", with("Content-Length: " + strings.Repeat("0", 50000) + "\r\n\r\n"), nil},
		{"a coding with 10,000 parameters", with("Transfer-Encoding: a" + strings.Repeat(";b=c", 10000) + "\r\n\r\n¶"), ErrCodingFinal},
		{"6,000 codings", with("Transfer-Encoding: " + strings.Repeat("a;b=\",\",\t", 6000) + "chunked\r\n\r\n¶"), ErrCodingOther},
		{"a coding with 50,000 tabs", with("Transfer-Encoding: a" + strings.Repeat("\t", 50000) + ";b=c\r\n\r\n¶"), ErrCodingFinal},
		{"a value of 50,000 tabs", with("A: a" + strings.Repeat("\t", 50000) + "\r\n\r\n"), nil},
		{"a target of 2,700 escapes", get("/" + strings.Repeat("%41", 2700)), nil},
		{"absolute form at 8 KiB", get("http://" + x(4000) + "/" + x(4184)), nil},
		{"200 fields", "GET / HTTP/1.0\r\n" + lines(200) + "\r\n", nil},
		{"201 fields", "GET / HTTP/1.0\r\n" + lines(200) + "A¶: b\r\n\r\n", ErrFieldsMany},
		{"201 fields and obs-fold", "GET / HTTP/1.0\r\n" + lines(200) + " ¶", ErrObsFold},
		{"chunk line at 4 KiB", chunks("1;" + x(4094) + "\r\nx\r\n0\r\n\r\n"), nil},
		{"chunk line over 4 KiB", chunks("1;" + x(4095) + "¶\r\n"), ErrChunkLine},
		{"chunk line at 4 KiB, quoted", chunks("1;a=\"" + x(4090) + "\"\r\nx\r\n0\r\n\r\n"), nil},
		{"chunk line over 4 KiB, quoted", chunks("1;a=\"" + x(4091) + "\"¶\r\n"), ErrChunkLine},
		{"chunk line over 4 KiB, white space", chunks("1" + strings.Repeat(" ", 4096) + "¶"), ErrChunkLine},
		{"last chunk line over 4 KiB", chunks("0;" + x(4095) + "¶\r\n"), ErrChunkLine},
		{"trailers at 64 KiB", trailer(65536), nil},
		{"trailers over 64 KiB", strings.TrimSuffix(trailer(65537), "\n") + "¶\n", ErrHeadLong},
		{"200 trailers", chunks("0\r\n" + lines(200) + "\r\n"), nil},
		{"201 trailers", chunks("0\r\n" + lines(200) + "A¶: b\r\n\r\n"), ErrFieldsMany},
		{"200 fields and 200 trailers", "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" + lines(198) + "\r\n0\r\n" + lines(200) + "\r\n", nil},
		{"Content-Length over 1 MiB", with("Content-Length: 1048577\r\n\r\n¶"), ErrBodyLong},
		{"a chunk over 1 MiB", chunks("100001\r\n¶"), ErrBodyLong},
		{"chunks over 1 MiB in total", chunks("10000\r\n" + x(65536) + "\r\nf0001\r\n¶"), ErrBodyLong},
	}
}

func TestParserLimits(t *testing.T) {
	for _, c := range limits() {
		t.Run(c.name, func(t *testing.T) {
			before, after, _ := strings.Cut(c.in, "¶")
			o := splitEveryWay(t, []byte(before+after))
			if o.err != c.want {
				t.Fatalf("error %v, want %v", o.err, c.want)
			}
			if c.want == nil && (o.taken != len(c.in) || len(o.reqs) != 1) {
				t.Errorf("%d of %d bytes taken, %d requests", o.taken, len(c.in), len(o.reqs))
			}
			if c.want != nil && o.fed != len(before) {
				t.Errorf("refused after %d bytes, want after %d", o.fed, len(before))
			}
		})
	}
}

func TestParserLargeBodies(t *testing.T) {
	body := make([]byte, maxBody)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	chunked := func() []byte {
		b := []byte(chunks(""))
		for left, n := body, 1; len(left) > 0; n = n*3 + 1 {
			n = min(n, len(left), 100000)
			b = fmt.Appendf(b, "%x;e\r\n%s\r\n", n, left[:n])
			left = left[n:]
		}
		return append(b, "0\r\n\r\n"...)
	}
	for name, in := range map[string][]byte{
		"with a length": append([]byte(with("Content-Length: 1048576\r\n\r\n")), body...),
		"chunked":       chunked(),
	} {
		for _, step := range []int{1 << 21, 1000, 16384, 77777} {
			var (
				b   stream.Buffer
				p   Parser
				req Request
			)
			p.Reset(&req, &b)
			r := bytes.NewReader(in)
			for {
				if _, err := b.Fill(io.LimitReader(r, int64(step))); err != nil {
					t.Fatal(err)
				}
				done, err := p.Parse(&b)
				if err != nil {
					t.Fatal(err)
				}
				if done {
					break
				}
			}
			if !bytes.Equal(req.Body, body) || string(req.bytes(req.host)) != "h" {
				t.Errorf("%s, %d bytes at a time: the body is wrong, or the host %q is", name, step, req.bytes(req.host))
			}
			if held := b.Cap(); name == "chunked" && step == 1000 && held > 16<<10 {
				t.Errorf("the buffer holds %d bytes, want at most 16 KiB: chunks are decoded as they arrive", held)
			}
		}
	}
}

func TestConnectionOptions(t *testing.T) {
	for _, c := range []struct {
		minor int
		lines string
		want  string
	}{
		{1, "", ""},
		{1, "Connection: close\r\n", " close"},
		{1, "Connection: keep-alive\r\n", ""},
		{1, "Connection: keep-alive, close\r\n", " close"},
		{1, "Connection: x\r\nConnection: \tCLOSE ,y\r\n", " close"},
		{1, "Connection: closed\r\n", ""},
		{1, "Connection: ,,\t,\r\n", ""},
		{1, "Connection:\r\n", ""},
		{2, "Connection: close\r\n", " close"},
		{0, "", " close"},
		{0, "Connection: Keep-Alive\r\n", " keep-alive"},
		{0, "Connection: close, keep-alive\r\n", " close"},
		{0, "Connection: x\r\n", " close"},
	} {
		in := fmt.Sprintf("GET / HTTP/1.%d\r\nHost: h\r\n%s\r\n", c.minor, c.lines)
		o := parsePieces(t, 0, [][]byte{[]byte(in)}, plain)
		want := fmt.Sprintf("is GET 1.%d%s", c.minor, c.want)
		if len(o.reqs) != 1 || !strings.HasSuffix(o.reqs[0], want) {
			t.Errorf("%q: %v %q, want %q", in, o.err, o.reqs, want)
		}
	}
}

func TestRequestFields(t *testing.T) {
	var b stream.Buffer
	var p Parser
	var req Request
	p.Reset(&req, &b)
	b.Fill(strings.NewReader("GET /p?q HTTP/1.1\r\nhOsT: h\r\nA: 1\r\nB:\r\na: 2\r\n\r\n"))
	if done, err := p.Parse(&b); !done || err != nil {
		t.Fatal(done, err)
	}
	if v, ok := req.Get("a"); string(v) != "1" || !ok {
		t.Errorf("Get(a) = %q, %v", v, ok)
	}
	if v, ok := req.Get("B"); len(v) != 0 || !ok {
		t.Errorf("Get(B) = %q, %v", v, ok)
	}
	if v, ok := req.Get("C"); v != nil || ok {
		t.Errorf("Get(C) = %q, %v", v, ok)
	}
	got := ""
	for v := range req.Values("A") {
		got += string(v) + ";"
	}
	for name, value := range req.Fields() {
		got += string(name) + "=" + string(value) + ";"
		if string(name) == "B" {
			break
		}
	}
	for range req.Values("A") {
		got += "first"
		break
	}
	if want := "1;2;hOsT=h;A=1;B=;first"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if string(req.Target()) != "/p?q" || string(req.Query()) != "q" || string(req.bytes(req.host)) != "h" || string(req.Path) != "/p" {
		t.Errorf("target %s, query %s, host %s, path %s; want /p?q, q, h, /p", req.Target(), req.Query(), req.bytes(req.host), req.Path)
	}
}
