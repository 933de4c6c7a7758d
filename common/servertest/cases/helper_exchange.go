package cases

import (
	"fmt"

	"fourways.example/common/servertest/wire"
)

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
