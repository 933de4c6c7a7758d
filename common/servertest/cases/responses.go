package cases

import (
	"fmt"
	"slices"
	"strings"
)

// sample has a request for each kind of response.
var sample = []struct {
	method, target string
	fields         []string
	want           int
}{
	{"GET", "/", nil, 200},
	{"GET", "/plain.txt", nil, 200},
	{"GET", "/empty.txt", nil, 200},
	{"GET", "/k.txt", nil, 200},
	{"GET", "/healthz", nil, 200},
	{"POST", "/echo", nil, 200},
	{"GET", "/loadavg", nil, 200},
	{"GET", "/api/login", nil, 200},
	{"OPTIONS", "/plain.txt", nil, 204},
	{"GET", "/plain.txt", []string{"Range: bytes=2-4"}, 206},
	{"GET", "/sub", nil, 301},
	{"GET", "/plain.txt", []string{"If-None-Match: *"}, 304},
	{"GET", "/private/x", nil, 403},
	{"GET", "/nothing-there", nil, 404},
	{"GET", "/api/nothing-there", nil, 404},
	{"DELETE", "/plain.txt", nil, 405},
	{"GET", "/plain.txt", []string{`If-Match: "other"`}, 412},
	{"GET", "/plain.txt", []string{"Range: bytes=1000-"}, 416},
	{"BREW", "/", nil, 501},
}

func responseCases() []Case {
	return []Case{
		// wire.ReadResponse checks the form of every response in all cases. This case reads each kind
		// of response once, and another response after it. For a server that somebody else wrote, only the
		// cases that name the claim fail if Date, Content-Type or Content-Length is missing.
		{Name: "resp-form", IDs: []string{"resp-status-line", "resp-length", "resp-exact", "resp-error-text"}, Run: func(t *T) {
			for _, s := range sample {
				t.Sub(fmt.Sprint(s.method, " ", s.target, " ", s.fields), func(t *T) {
					c := t.Dial()
					resp := c.Request(s.method, s.target, s.fields...).WantTo(s.method, s.want)
					c.WantKept()
					if s.want < 400 {
						return
					}
					wantErrorText(t, resp)
				})
			}
			t.Sub("a part of a big file", func(t *T) { // a server may send it straight from the file, where more bytes follow
				c := t.Dial()
				c.Request("GET", "/big.bin", "Range: bytes=2-4").Want(206)
				c.WantKept()
			})
			for raw, want := range map[string]int{
				"GET /\x01 HTTP/1.1\r\n\r\n": 400, "GET / HTTP/2.0\r\n\r\n": 505, sized("2000000", ""): 413, get + "Expect: x\r\n\r\n": 417,
				"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\n\r\n": 414, get + strings.Repeat("X: y\r\n", 300) + "\r\n": 431,
			} {
				c := t.Dial()
				resp := c.Send(raw).WantRefused(want)
				c.Close()
				wantErrorText(t, resp)
			}
		}},
		{Name: "resp-date", IDs: []string{"resp-date"}, Run: readSample},
		{Name: "resp-content-type", IDs: []string{"resp-content-type"}, Run: readSample},
		{Name: "resp-head", IDs: []string{"resp-head"}, Run: func(t *T) {
			for _, s := range sample {
				if s.method != "GET" || s.target == "/loadavg" {
					continue
				}
				if s.want == 206 || s.want == 416 {
					continue // Range applies to GET only (RFC 9110 §14.2)
				}
				t.Sub(s.target, func(t *T) {
					c := t.Dial()
					get := c.Request("GET", s.target, s.fields...).Want(s.want)
					head := c.Request("HEAD", s.target, s.fields...).WantTo("HEAD", s.want)
					c.WantKept()
					if a, b := fieldLines(get), fieldLines(head); !slices.Equal(a, b) {
						t.Errorf("GET has\n\t%s\nHEAD has\n\t%s", strings.Join(a, "\n\t"), strings.Join(b, "\n\t"))
					}
				})
			}
			t.Sub("405 to HEAD", func(t *T) {
				c := t.Dial()
				c.Request("HEAD", "/echo").WantTo("HEAD", 405)
				c.WantKept()
			})
		}},
		{Name: "resp-one-segment", IDs: []string{"resp-one-segment"}, Run: func(t *T) {
			c := t.Dial()
			for _, s := range sample {
				if s.want == 204 {
					continue
				}
				before := c.Segments()
				c.Request(s.method, s.target, s.fields...).WantTo(s.method, s.want)
				if n := c.Segments() - before; n != 1 {
					t.Errorf("%s %s: the response came in %d segments, want 1", s.method, s.target, n)
				}
			}
		}},
	}
}

// readSample reads each kind of response once.
func readSample(t *T) {
	for _, s := range sample {
		t.Sub(fmt.Sprint(s.method, " ", s.target, " ", s.fields), func(t *T) {
			t.Dial().Request(s.method, s.target, s.fields...).WantTo(s.method, s.want)
		})
	}
}

// wantErrorText checks the body of an error.
func wantErrorText(t *T, resp *Response) {
	t.Helper()
	isText := strings.HasPrefix(resp.Get("Content-Type"), "text/") || mayLack(t, resp, "Content-Type")
	if n := len(resp.Body); n == 0 || n > 1000 || !isText {
		t.Errorf("the body of the %d is %d bytes of %s, want 1 to 1000 bytes of text", resp.Status, n, resp.Get("Content-Type"))
	}
}

// fieldLines returns the header fields of a response without Date, sorted.
func fieldLines(r *Response) []string {
	var lines []string
	for _, f := range r.Fields {
		if !strings.EqualFold(f.Name, "Date") {
			lines = append(lines, f.Name+": "+f.Value)
		}
	}
	slices.Sort(lines)
	return lines
}
