package cases

import (
	"cmp"
	"slices"
	"strings"

	"fourways.example/common/servertest/wire"
)

// An ask is a request and what its answer must be. The connection must be kept.
type ask struct {
	name   string   // "" is made from method, target and fields
	method string   // "" is GET
	target string   // as it stands in the request line
	fields []string // of the request; $TAG in them is the entity tag of the target
	send   string   // the body of the request
	want   int
	body   string   // of the response; "" does not look
	has    []string // fields of the response, as "Name: value": just these of that name
	hasnt  []string // names of fields that it must not have
}

func (a ask) title() string {
	if a.name != "" {
		return a.name
	}
	return strings.Join(append([]string{cmp.Or(a.method, "GET"), a.target}, a.fields...), " ")
}

// askAll plays the asks on one connection, as far as the answers allow.
func askAll(t *T, asks ...ask) {
	t.Helper()
	askAllOf(t, t.Server, asks...)
}

// askAllOf is ask for any server.
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

// askOne sends one request and judges its answer.
func askOne(c *Client, a ask) *Response {
	c.T.Helper()
	method := cmp.Or(a.method, "GET")
	c.Send(wire.Request(method, a.target, a.send, withTag(c, a.target, a.fields)...))
	resp := c.WantTo(method, a.want)
	if resp.Has("Connection", "close") {
		c.T.Errorf("Connection: close with a %d that keeps the connection%s", resp.Status, c.About(resp))
	}
	if a.body != "" && string(resp.Body) != a.body {
		c.T.Errorf("the body is %s, want %s%s", wire.Quote(string(resp.Body)), wire.Quote(a.body), c.About(nil))
	}
	for _, f := range a.has {
		name, value, _ := strings.Cut(f, ": ")
		if got := resp.Values(name); !slices.Equal(got, []string{value}) {
			c.T.Errorf("%s is %q, want %q%s", name, got, value, c.About(resp))
		}
	}
	for _, name := range a.hasnt {
		if got := resp.Values(name); len(got) > 0 {
			c.T.Errorf("%s is %q, want none%s", name, got, c.About(resp))
		}
	}
	return resp
}

// withTag puts the entity tag of the target where $TAG stands. (Three letters alone are in a token in
// base64 now and then.)
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

// try runs a command of the system, not the program.
func try(t *T, wrap []string, args ...string) (out string, status int) {
	p := &Program{Path: wrap[0], Args: slices.Concat(wrap[1:], args)}
	status, out, _, err := p.Exec(Config{})
	if err != nil {
		status = -1
	}
	return out, status
}
