package process

import (
	"strings"
	"testing"
)

// TestBlockage tells loops that are blocked from pools of threads.
func TestBlockage(t *testing.T) {
	calls := map[string]int{"recvfrom": 4, "epoll_wait": 1}
	for _, row := range []struct {
		name string
		b    blockage
		want string
	}{
		{"a loop that reads a watched client", blockage{calls, 1, 1, 500, 0}, "Event loops are blocked"},
		{"loops that read new clients", blockage{calls, 2, 0, 0, 2}, "Event loops are blocked"},
		{"a pool, and a loop that accepts and waits for the queue", blockage{calls, 4, 0, 0, 1}, "No epoll set of the server watches a client. Its threads are in epoll_wait (1), recvfrom (4)."},
		{"a pool, and a loop that accepts", blockage{calls, 4, 0, 0, 0}, "No epoll set"},
		{"threads that compute", blockage{calls, 0, 0, 0, 0}, ""},
		{"threads that do something else", blockage{calls, 0, 0, 500, 1}, ""},
	} {
		if got := row.b.String(); row.want == "" && got != "" || !strings.HasPrefix(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
