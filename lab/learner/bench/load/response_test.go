package load

import (
	"strings"
	"testing"
)

// TestResponse reads responses in every way of splitting them into two parts, and byte by byte.
func TestResponse(t *testing.T) {
	const two = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 Not Found\r\ncontent-length:0\r\nConnection: close\r\n\r\n"
	parts := [][]string{{two}, strings.Split(two, "")}
	for i := 1; i < len(two); i++ {
		parts = append(parts, []string{two[:i], two[i:]})
	}
	for _, p := range parts {
		var r response
		var statuses []int
		for _, s := range p {
			rest := []byte(s)
			for len(rest) > 0 {
				var done bool
				var err error
				if rest, done, err = r.take(rest); err != nil {
					t.Fatalf("%q: %v", p, err)
				}
				if done {
					statuses = append(statuses, r.status)
				}
			}
		}
		if len(statuses) != 2 || statuses[0] != 200 || statuses[1] != 404 || !r.closes {
			t.Errorf("%q: statuses %v, closes %v", p, statuses, r.closes)
		}
	}
}

// TestBadResponse checks that a response that cannot be counted is an error.
func TestBadResponse(t *testing.T) {
	for _, s := range []string{
		"SSH-2.0-OpenSSH\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: three\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("x", maxHead),
	} {
		var r response
		if _, done, err := r.take([]byte(s)); err == nil {
			t.Errorf("%.40q: done %v, want an error", s, done)
		}
	}
}
