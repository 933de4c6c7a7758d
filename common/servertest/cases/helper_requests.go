package cases

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"fourways.example/common/servertest/wire"
)

// An ask is a request and the response that it must get. The connection must be kept alive.
type ask struct {
	name   string   // if "", made from method, target and fields
	method string   // if "", GET
	target string   // as in the request line
	fields []string // header fields of the request; $TAG stands for the entity tag of the target
	send   string   // request body
	want   int      // expected status
	body   string   // expected response body; "" accepts any body
	has    []string // "Name: value": the response must have exactly one field of that name, with that value
	lacks  []string // names of header fields that the response must not have
}

func (a ask) title() string {
	if a.name != "" {
		return a.name
	}
	return strings.Join(append([]string{cmp.Or(a.method, "GET"), a.target}, a.fields...), " ")
}

// askAll sends the requests on one connection. After a failure it opens a new one.
func askAll(t *T, asks ...ask) {
	t.Helper()
	askAllOf(t, t.Server, asks...)
}

// askAllOf is askAll for the server s.
func askAllOf(t *T, s *Server, asks ...ask) {
	t.Helper()
	var c *Client
	for _, a := range asks {
		if !t.Sub(a.title(), func(t *T) {
			if c == nil {
				c = t.Connect(s, DialOptions{})
			}
			c.T = t
			askOne(c, a)
			c.WantKept()
		}) && c != nil {
			c.Close()
			c = nil
		}
	}
	if c != nil {
		c.Close()
	}
}

// askOne sends one request and checks its response.
func askOne(c *Client, a ask) *Response {
	c.T.Helper()
	method := cmp.Or(a.method, "GET")
	c.Send(wire.Request(method, a.target, a.send, withTag(c, a.target, a.fields)...))
	resp := c.WantTo(method, a.want)
	if resp.Has("Connection", "close") {
		c.T.Errorf("Connection: close in a %d response, which must keep the connection alive%s", resp.Status, c.About(resp))
	}
	if a.body != "" && string(resp.Body) != a.body {
		c.T.Errorf("the body is %s, want %s%s", wire.Quote(string(resp.Body)), wire.Quote(a.body), c.About(nil))
	}
	for _, f := range a.has {
		name, value, _ := strings.Cut(f, ": ")
		if got := resp.Values(name); !slices.Equal(got, []string{value}) && !mayLack(c.T, resp, name) {
			c.T.Errorf("%s is %q, want %q%s", name, got, value, c.About(resp))
		}
	}
	for _, name := range a.lacks {
		if got := resp.Values(name); len(got) > 0 {
			c.T.Errorf("%s is %q, want none%s", name, got, c.About(resp))
		}
	}
	return resp
}

// presence has the claim that a response has a field at all.
var presence = map[string]string{"Content-Type": "resp-content-type", "X-Content-Type-Options": "type-nosniff"}

// mayLack reports whether a response lacks a field that it should have, and other cases are about that.
func mayLack(t wire.TB, resp *Response, name string) bool {
	claim := presence[name]
	return claim != "" && len(resp.Values(name)) == 0 && t.Tolerates(claim)
}

// withTag replaces $TAG in the fields by the entity tag of the target. The dollar sign matters: the
// letters TAG alone may occur in a base64 token.
func withTag(c *Client, target string, fields []string) []string {
	c.T.Helper()
	if !strings.Contains(strings.Join(fields, ""), "$TAG") {
		return fields
	}
	tag := c.Request("HEAD", target).WantTo("HEAD", 200).Get("ETag")
	filled := make([]string, len(fields))
	for i, f := range fields {
		filled[i] = strings.ReplaceAll(f, "$TAG", tag)
	}
	return filled
}

// try runs a system command instead of the server. The status is -1 if the command cannot be run.
func try(t *T, wrap []string, args ...string) (out string, status int) {
	p := &Program{Path: wrap[0], Args: slices.Concat(wrap[1:], args)}
	status, out, _, err := p.Exec(Config{})
	if err != nil {
		status = -1
	}
	return out, status
}

// follow is a complete request. A case sends it after a refused request, or as a body, where the
// server must not answer it.
const follow = "GET /healthz HTTP/1.1\r\nHost: follow\r\n\r\n"

// A row is a raw request and the response that it must get.
type row struct {
	name string
	send string // the raw bytes
	want int    // expected status
	// kept says that the connection must be kept alive. Otherwise the request must be refused.
	kept   bool
	method string // of the request, if not GET: a response to HEAD has no body
	body   string // expected response body; "" accepts any body
	// once sends the request in one piece only. It is for large requests, and for rows that differ
	// by one byte from a row that is sent in every way.
	once bool
	also int // another accepted status; 0 is none
}

// ok returns a row for a request that gets 200 and is kept alive.
func ok(name, send string) row { return row{name: name, send: send, want: 200, kept: true} }

// bad returns a row for a request that is refused with 400.
func bad(name, send string) row { return row{name: name, send: send, want: 400} }

// exchange sends each row's request whole, byte by byte, and cut at every line end. If the request
// is kept alive, all its deliveries share one connection.
func exchange(t *T, rows ...row) {
	t.Helper()
	for _, r := range rows {
		var kept *Client
		for _, d := range deliveries(r) {
			if !t.Sub(fmt.Sprintf("%s, %s", r.name, d.name), func(t *T) {
				if kept == nil {
					kept = t.Connect(t.Server, DialOptions{})
				}
				kept.T = t
				d.send(kept, r.send)
				r.check(kept)
			}) {
				break // the other deliveries would fail in the same way
			}
			if !r.kept {
				kept.Close()
				kept = nil
			}
		}
		if kept != nil {
			kept.Close()
		}
	}
}

func (r row) check(c *Client) {
	c.T.Helper()
	method := r.method
	if method == "" {
		method = "GET"
	}
	resp := c.ReadTo(method)
	if resp.Status != r.want && (r.also == 0 || resp.Status != r.also) {
		c.T.Fatalf("answered %d %s, want %d%s", resp.Status, resp.Reason, r.want, c.About(resp))
	}
	if r.body != "" && string(resp.Body) != r.body {
		c.T.Fatalf("the body is %s, want %s", wire.Quote(string(resp.Body)), wire.Quote(r.body))
	}
	if r.kept {
		if resp.Has("Connection", "close") {
			c.T.Errorf("Connection: close in a %d response, which must keep the connection alive%s", resp.Status, c.About(resp))
		}
		c.WantKept()
		return
	}
	if !resp.Has("Connection", "close") {
		c.T.Errorf("the refusal has no Connection: close%s", c.About(resp))
	}
	c.WantEnd()
}

// A delivery is one way to cut a request into segments.
type delivery struct {
	name string
	send func(c *Client, raw string)
}

func deliveries(r row) []delivery {
	whole := delivery{"whole", func(c *Client, raw string) {
		if !r.kept {
			raw += follow
		}
		if len(raw) > 64<<10 {
			c.SendLater(raw)
			return
		}
		c.Send(raw)
	}}
	if r.once || len(r.send) > 2000 {
		return []delivery{whole}
	}
	return []delivery{
		whole,
		{"byte by byte", func(c *Client, raw string) { c.Drip(raw) }},
		{"cut at line ends", func(c *Client, raw string) { c.SendPieces(raw, lineCuts(raw)...) }},
	}
}

// lineCuts returns the positions before and after each CR and each LF.
func lineCuts(raw string) []int {
	var at []int
	for i := range len(raw) {
		if raw[i] == '\r' || raw[i] == '\n' {
			at = append(at, i, i+1)
		}
	}
	return at
}
