package cases

import (
	"cmp"
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
		if got := resp.Values(name); !slices.Equal(got, []string{value}) {
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
