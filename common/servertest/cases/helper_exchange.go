package cases

import (
	"fmt"

	"fourways.example/common/servertest/wire"
)

// follow is put behind a refused request, to show that it is never answered: it is complete and
// has a response that cannot be taken for another.
const follow = "GET /healthz HTTP/1.1\r\nHost: behind\r\n\r\n"

// A row is a request and what must become of it.
type row struct {
	name string
	send string // the raw bytes
	want int    // status
	// kept: the connection serves the next request. Otherwise the request is refused.
	kept   bool
	method string // as the response sees it: HEAD has no body
	body   string // "" does not look
	// once: send it whole only. For rows that differ in a byte from one that was sent in
	// every manner, and for large ones.
	once bool
	also int // another status that is as good; 0 is none
}

// ok is a row for a kept 200.
func ok(name, send string) row { return row{name: name, send: send, want: 200, kept: true} }

// bad is a row for a refused 400.
func bad(name, send string) row { return row{name: name, send: send, want: 400} }

// exchange plays the rows: each request whole, byte by byte and cut at every line end. All manners of
// a kept request share one connection.
func exchange(t *T, rows ...row) {
	t.Helper()
	for _, r := range rows {
		var kept *Client
		for _, m := range manners(r) {
			if !t.Sub(fmt.Sprintf("%s, %s", r.name, m.name), func(t *T) {
				if kept == nil {
					kept = t.Connect(t.Server, DialOptions{})
				}
				kept.T = t
				m.send(kept, r.send)
				r.check(kept)
			}) {
				break // the other manners would say the same
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
			c.T.Errorf("Connection: close with a %d that keeps the connection%s", resp.Status, c.About(resp))
		}
		c.WantKept()
		return
	}
	if !resp.Has("Connection", "close") {
		c.T.Errorf("a refusal without Connection: close%s", c.About(resp))
	}
	c.WantEnd()
}

type manner struct {
	name string
	send func(c *Client, raw string)
}

func manners(r row) []manner {
	whole := manner{"whole", func(c *Client, raw string) {
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
		return []manner{whole}
	}
	return []manner{
		whole,
		{"byte by byte", func(c *Client, raw string) { c.Drip(raw) }},
		{"cut at line ends", func(c *Client, raw string) { c.SendPieces(raw, lineCuts(raw)...) }},
	}
}

// lineCuts are the places before, in and behind each line end.
func lineCuts(raw string) []int {
	var at []int
	for i := range len(raw) {
		if raw[i] == '\r' || raw[i] == '\n' {
			at = append(at, i, i+1)
		}
	}
	return at
}
