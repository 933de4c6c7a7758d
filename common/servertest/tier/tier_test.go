package tier

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/record"
)

// dial connects to a port of 127.0.0.1.
func dial(t *testing.T, port int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(process.Patience))
	return c
}

// newFake starts a Fake for a test.
func newFake(t *testing.T) *Fake {
	t.Helper()
	f, err := NewFake()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// post is the exchange that adds a note, get the one that lists them.
func post(note string) string {
	return Array("RPUSH", "notes", note) + Array("LTRIM", "notes", "-3", "-1")
}

var get = Array("LRANGE", "notes", "-3", "-1")

// read reads n bytes.
func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	b := make([]byte, n)
	if n, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	return string(b)
}

// TestFakeIsLikeRedis compares the replies of a Fake with those that the documentation of Redis gives, and with those
// of a real one where there is one.
func TestFakeIsLikeRedis(t *testing.T) {
	talk := []struct{ send, want string }{
		{get, "*0\r\n"},
		{post("a"), ":1\r\n+OK\r\n"},
		{post("b"), ":2\r\n+OK\r\n"},
		{get, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
		{post("c") + post("d"), ":3\r\n+OK\r\n:4\r\n+OK\r\n"},
		{get + get, strings.Repeat("*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n", 2)},
		{Array("LRANGE", "notes", "1", "5"), "*2\r\n$1\r\nc\r\n$1\r\nd\r\n"},
		{Array("LRANGE", "notes", "5", "1"), "*0\r\n"},
	}
	check := func(t *testing.T, port int) {
		c := dial(t, port)
		for _, step := range talk {
			_, _ = io.WriteString(c, step.send)
			if got := read(t, c, len(step.want)); got != step.want {
				t.Errorf("%q is answered %q, want %q", step.send, got, step.want)
			}
		}
	}
	t.Run("fake", func(t *testing.T) { check(t, newFake(t).Port()) })
	t.Run("real", func(t *testing.T) {
		r, err := StartRedis()
		if errors.Is(err, ErrNoRedis) {
			record.Missing(t, "%v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer r.Kill()
		check(t, r.Port)
	})
}

// TestFakeScripts checks what a script can do, and what the Fake counts.
func TestFakeScripts(t *testing.T) {
	f := newFake(t)
	f.Does(func(q *Question) {
		if q.Number == 1 {
			q.Send("+ONE\r\n")
			return
		}
		q.Drip("+TWO")
		q.Close()
	})
	c := dial(t, f.Port())
	_, _ = io.WriteString(c, get)
	if got := read(t, c, 6); got != "+ONE\r\n" {
		t.Errorf("%q", got)
	}
	_, _ = io.WriteString(c, get)
	if rest, err := io.ReadAll(c); string(rest) != "+TWO" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	f.Hold()
	c = dial(t, f.Port())
	_, _ = io.WriteString(c, post("x")+get)
	if !kernel.Eventually(process.Patience, func() bool { return len(f.Waiting()) == 2 }) {
		t.Fatalf("%d questions wait, want 2", len(f.Waiting()))
	}
	if n := f.Count(); n.Overlaps != 1 || n.Opened != 2 || n.Most > 2 {
		t.Errorf("%+v", n)
	}
	f.Release()
	if got, want := read(t, c, len(":1\r\n+OK\r\n*1\r\n$1\r\nx\r\n")), ":1\r\n+OK\r\n*1\r\n$1\r\nx\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if f.Drop((*Conn).Close); f.Count().Open > 1 {
		t.Errorf("%+v", f.Count())
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after Drop: %v", err)
	}
	f.Refuse()
	if _, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", f.Port())); err == nil {
		t.Error("after Refuse a client is let in")
	}
	if err := f.Listen(); err != nil {
		t.Fatal(err)
	}
	dial(t, f.Port())
}

// TestUnreachable checks that a connection attempt neither succeeds nor fails.
func TestUnreachable(t *testing.T) {
	u, err := NewUnreachable()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	_, err = net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", u.Port), 100*time.Millisecond)
	if e := net.Error(nil); !errors.As(err, &e) || !e.Timeout() {
		t.Errorf("connecting: %v, want a time-out", err)
	}
}

// TestReadCommand reads commands that are not well formed.
func TestReadCommand(t *testing.T) {
	for _, raw := range []string{"PING\r\n", "*0\r\n", "*1\r\n:1\r\n", "*1\n$1\r\nx\r\n", "*1\r\n$9999999\r\n", "*x\r\n", "*1\r\n$-1\r\n"} {
		if c, err := readCommand(bufio.NewReader(strings.NewReader(raw))); err == nil {
			t.Errorf("%q is read as %q", raw, c)
		}
	}
}
