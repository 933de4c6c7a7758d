package wire

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// recorder is a TB that keeps the first failure. Its Fatalf returns.
type recorder struct{ failure string }

func (r *recorder) Helper()       {}
func (r *recorder) WaitedInVain() {}
func (r *recorder) Lenient() bool { return true }

func (r *recorder) Tolerates(string) bool { return false }

func (r *recorder) Errorf(format string, args ...any) { r.Fatalf(format, args...) }

func (r *recorder) Fatalf(format string, args ...any) {
	if r.failure == "" {
		r.failure = fmt.Sprintf(format, args...)
	}
}

// toyServer answers one client with the given bytes and closes the connection.
func toyServer(t *testing.T, answer string) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(server, answer); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	return client.(*net.TCPConn)
}

// TestAwaitAnswer checks that any byte of an answer is an answer, even if the server closes the
// connection after a few of them, and that a close without a byte is none.
func TestAwaitAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		fails        bool
	}{
		{"a whole answer of 21 bytes", "HTTP/1.0 200 OK\r\n\r\nok", false},
		{"one byte", "H", false},
		{"no byte", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn, r := toyServer(t, tt.answer), &recorder{}
			c := NewClient(r, conn, conn, 10*time.Second)
			c.AwaitAnswer()
			if (r.failure != "") != tt.fails {
				t.Fatalf("AwaitAnswer fails with %q, want a failure: %v", r.failure, tt.fails)
			}
			if got, err := io.ReadAll(c.R); string(got) != tt.answer || err != nil {
				t.Errorf("%q, %v is left to be read, want %q", got, err, tt.answer)
			}
		})
	}
}
