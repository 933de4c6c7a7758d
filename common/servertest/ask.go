package servertest

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// ask plays the asks on one connection, as far as the answers allow.
func (t *T) ask(asks ...ask) {
	t.Helper()
	t.askOf(t.Server, asks...)
}

// askOf is ask for any server.
func (t *T) askOf(s *Server, asks ...ask) {
	t.Helper()
	var c *Client
	for _, a := range asks {
		if !t.sub(a.title(), func(t *T) {
			if c == nil {
				c = t.connect(s, DialOptions{})
			}
			c.t = t
			c.ask(a)
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

// ask sends one request and judges its answer.
func (c *Client) ask(a ask) *Response {
	c.t.Helper()
	method := cmp.Or(a.method, "GET")
	c.Send(request(method, a.target, a.send, c.withTag(a.target, a.fields)...))
	resp := c.WantTo(method, a.want)
	if resp.Has("Connection", "close") {
		c.t.Errorf("Connection: close with a %d that keeps the connection%s", resp.Status, c.about(resp))
	}
	if a.body != "" && string(resp.Body) != a.body {
		c.t.Errorf("the body is %s, want %s%s", quote(string(resp.Body)), quote(a.body), c.about(nil))
	}
	for _, f := range a.has {
		name, value, _ := strings.Cut(f, ": ")
		if got := resp.Values(name); !slices.Equal(got, []string{value}) {
			c.t.Errorf("%s is %q, want %q%s", name, got, value, c.about(resp))
		}
	}
	for _, name := range a.hasnt {
		if got := resp.Values(name); len(got) > 0 {
			c.t.Errorf("%s is %q, want none%s", name, got, c.about(resp))
		}
	}
	return resp
}

// withTag puts the entity tag of the target where $TAG stands. (Three letters alone are in a token in
// base64 now and then.)
func (c *Client) withTag(target string, fields []string) []string {
	c.t.Helper()
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

// folder makes a folder of its own for a case whose root must hold just this. What begins with
// "->" is a symbolic link.
func (t *T) folder(files map[string]string) *Root {
	t.Helper()
	top, err := os.MkdirTemp(filepath.Dir(t.Root.Dir), "folder-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.onEnd(func() { _ = os.RemoveAll(top) })
	r := &Root{Dir: filepath.Join(top, "root")}
	for _, dir := range []string{top, r.Dir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatalf("%v", err)
		}
		_ = os.Chmod(dir, 0o755)
	}
	for name, text := range files {
		to, link := strings.CutPrefix(text, "->")
		if !link {
			err = r.put(name, []byte(text))
		} else if err = os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err == nil {
			err = os.Symlink(to, r.Path(name))
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
	}
	return r
}

// file makes a file of the case's own in the shared root.
func (t *T) file(suffix string, data string) (name string) {
	t.Helper()
	name, err := t.Root.Write(suffix, []byte(data))
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.onEnd(func() { _ = os.Remove(t.Root.Path(name)) })
	return name
}

// must ends the case where something that is not the server's goes wrong.
func (t *T) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// try runs a command of the system, not the program.
func (t *T) try(wrap []string, args ...string) (out string, status int) {
	p := &Program{Path: wrap[0], Args: slices.Concat(wrap[1:], args)}
	status, out, _, err := p.Exec(Config{})
	if err != nil {
		status = -1
	}
	return out, status
}
