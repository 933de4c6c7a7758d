package cases

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// The time-outs in these cases are short, but the server may be up to 3 s late. The cases measure from
// a moment before the time-out can have begun, so a late client cannot make it look too early.
const (
	shortTimeout = 300 * time.Millisecond
	// longTimeout is for cases in which the client itself must act before the time-out.
	longTimeout = time.Second
)

func timeoutCases() []Case {
	flag := func(name string) []string { return []string{"--" + name, shortTimeout.String()} }
	idle := []string{"--idle-timeout", longTimeout.String()}
	wantNotBefore := func(t *T, start time.Time, least time.Duration) {
		if took := time.Since(start); took < least {
			t.Errorf("the time-out came after %v, before its %v were over", took, least)
		}
	}
	// wantOnTime also checks that the time-out is not so late that it may be another one.
	wantOnTime := func(t *T, start time.Time, least time.Duration) {
		wantNotBefore(t, start, least)
		if took := time.Since(start); took > least+3*time.Second {
			t.Errorf("the time-out came after %v, want %v", took, least)
		}
	}
	return []Case{
		{Name: "timeout-idle", IDs: []string{"timeout-idle", "timeout-idle-silent"}, Flags: idle, Run: func(t *T) {
			c := t.Dial()
			start := time.Now()
			c.Request("GET", "/healthz").WantBody(200, "ok")
			c.WantEnd()
			wantOnTime(t, start, longTimeout)
		}},
		{Name: "timeout-idle-new", IDs: []string{"timeout-idle-new", "timeout-idle-silent"}, Flags: idle, Run: func(t *T) {
			start := time.Now()
			t.Dial().WantEnd()
			wantOnTime(t, start, longTimeout)
		}},
		{Name: "timeout-idle-ends", IDs: []string{"timeout-idle"}, Flags: idle, Run: func(t *T) {
			// The idle time-out does not apply while a request is incomplete.
			c := t.Dial()
			c.Send(get)
			c.AwaitRead()
			c.WantSilence(3 * longTimeout / 2)
			c.Send("\r\n").WantBody(200, "ok")
			c.WantEnd()
		}},
		{
			Name: "timeout-idle-default", IDs: []string{"timeout-idle-default"}, Alone: true,
			Run: func(t *T) {
				// Waiting for 60 s would take too long, so the help must name the default.
				says := regexp.MustCompile(`idle-timeout.*\n?.*\b5 ?s`) // in the same line or the next
				if t.Stage() == 4 {
					says = regexp.MustCompile(`idle-timeout.*\n?.*\b(60 ?s|1 ?m)`)
				}
				if _, help, _ := t.Exec("--help"); !says.MatchString(help) {
					t.Errorf("the help does not match %v:%s", says, process.Indent(help))
				}
				c := t.Dial().Patience(5 * time.Second)
				c.WantSilence(4 * time.Second)
				if t.Stage() == 4 {
					c.WantSilence(2 * time.Second)
					c.WantKept()
					return
				}
				c.WantEnd()
			},
		},
		{Name: "timeout-header", IDs: []string{"timeout-header", "refuse-408"}, Flags: flag("header-timeout"), Run: func(t *T) {
			for _, part := range []string{"G", "GET /healthz HTTP/1.1\r\n", get, get + "\r"} {
				t.Sub(fmt.Sprintf("%q", part), func(t *T) {
					c := t.Dial()
					start := time.Now()
					c.Send(part).WantRefused(408)
					wantOnTime(t, start, shortTimeout)
				})
			}
			// A client that goes on sending can still read the 408.
			c := t.Dial()
			c.Send("GET /")
			c.AwaitFIN()
			c.Send(strings.Repeat("x", 100_000))
			c.AwaitRead()
			c.WantRefused(408)
			c.Close()
			// The time-out of the second head begins with the first byte of that head.
			c = t.Dial()
			c.Send(follow+"GET /").WantBody(200, "ok")
			c.WantRefused(408)
		}},
		{Name: "timeout-header-fixed", IDs: []string{"timeout-header-fixed"}, Flags: flag("header-timeout"), Run: func(t *T) {
			c := t.Dial()
			c.Send(get + "X: ")
			c.DripUntil(shortTimeout/10, "x")
			c.WantRefused(408)
			c.Close()
			c = t.Dial() // whole lines do not extend the time either
			c.Send(get)
			c.DripUntil(shortTimeout/10, "X: y\r\n")
			c.WantRefused(408)
		}},
		{Name: "timeout-header-starts", IDs: []string{"timeout-header"}, Flags: flag("header-timeout"), Run: func(t *T) {
			// Neither idle time nor earlier requests count towards the time-out of a head.
			c := t.Dial()
			c.WantSilence(2 * shortTimeout)
			c.WantKept()
			c.WantSilence(2 * shortTimeout)
			c.WantKept()
		}},
		{Name: "timeout-body", IDs: []string{"timeout-body", "refuse-408"}, Flags: flag("body-timeout"), Run: func(t *T) {
			for _, part := range []string{sized("5", ""), sized("5", "hell"), chunked(""), chunked("5\r\nhel"), chunked(chunk("5", "hello") + "0\r\n")} {
				t.Sub(fmt.Sprintf("%q", part), func(t *T) {
					c := t.Dial()
					start := time.Now()
					c.Send(part).WantRefused(408)
					wantOnTime(t, start, shortTimeout)
				})
			}
		}},
		{Name: "timeout-body-fixed", IDs: []string{"timeout-body-fixed"}, Flags: flag("body-timeout"), Run: func(t *T) {
			c := t.Dial()
			c.Send(sized("100000", ""))
			c.DripUntil(shortTimeout/10, "x")
			c.WantRefused(408)
			c.Close()
			c = t.Dial()
			c.Send(chunked(""))
			c.DripUntil(shortTimeout/10, chunk("1", "x"))
			c.WantRefused(408)
		}},
		{Name: "timeout-body-starts", IDs: []string{"timeout-body"}, Flags: flag("body-timeout"), Run: func(t *T) {
			// A head may take longer than the body time-out.
			c := t.Dial()
			c.Send(post)
			c.WantSilence(2 * shortTimeout)
			c.Send("Content-Length: 2\r\n\r\nok").WantBody(200, "ok")
		}},
		{Name: "timeout-body-own", IDs: []string{"timeout-body"}, Flags: []string{"--body-timeout", longTimeout.String()}, Run: func(t *T) {
			// The time of the head does not count towards the time-out of its body.
			c := t.Dial()
			c.Send(post)
			c.WantSilence(3 * longTimeout / 2)
			c.Send("Content-Length: 2\r\n\r\no").AwaitRead()
			c.WantSilence(longTimeout / 10)
			c.Send("k").WantBody(200, "ok")
			c.WantKept()
		}},
		{Name: "timeout-write", IDs: []string{"timeout-write"}, Flags: []string{"--write-timeout", (3 * longTimeout / 2).String()}, Run: func(t *T) {
			// The server must not wait for two time-outs: one in which the kernel's buffer fills, and one
			// in which nothing moves. A busy machine may be late, so there are three tries.
			const least = 3 * longTimeout / 2
			took := time.Duration(0)
			for try := 0; try < 3 && (took == 0 || took > 2*least-100*time.Millisecond); try++ {
				c := t.DialTo(t.Server, DialOptions{RecvBuf: 4096})
				start := time.Now()
				c.Request("GET", "/big.bin").AwaitAnswer()
				t.Eventually("the server closes the connection of a client that does not read", func() bool { return t.Server.Connections() == 0 })
				wantNotBefore(t, start, least)
				took = time.Since(start)
				if _, err := c.Stream(wire.Digest(t.Root.BigSum)); err == nil {
					t.Errorf("the server closed the connection, but the whole response arrived")
				}
				c.Close()
			}
			if took > 2*least-100*time.Millisecond {
				t.Errorf("the time-out came after %v, want %v", took, least)
			}
		}},
		{Name: "timeout-write-progress", IDs: []string{"timeout-write-progress", "content-big"}, Flags: flag("write-timeout"), Run: func(t *T) {
			slowReading(t, func(in io.Reader) io.Reader { return wire.Slowly(in, docroot.BigSize/120, 12*time.Millisecond) })
		}},
		{Name: "timeout-write-slow", IDs: []string{"timeout-write-progress"}, Flags: flag("write-timeout"), Run: func(t *T) {
			// The kernel calls a socket writable only when a third of its send queue is free, and
			// the queue holds megabytes. At this pace that takes longer than the time-out, although
			// the client keeps reading.
			slowReading(t, func(in io.Reader) io.Reader {
				return io.MultiReader(wire.Slowly(io.LimitReader(in, 2<<20), 16<<10, 15*time.Millisecond), in)
			})
		}},
	}
}

// slowReading reads big.bin at a pace that takes longer than the write time-out. The server must send
// all of it. If the machine is so busy that the client itself pauses, slowReading tries again.
func slowReading(t *T, pace func(io.Reader) io.Reader) {
	t.Helper()
	for range 5 {
		c := t.DialTo(t.Server, DialOptions{RecvBuf: 4096})
		c.Request("GET", "/big.bin")
		start := time.Now()
		late := &stopwatch{last: start}
		_, err := c.Stream(func(resp *Response, in io.Reader) error {
			late.in = pace(in)
			return wire.Digest(t.Root.BigSum)(resp, late)
		})
		took := time.Since(start)
		if err == nil {
			if took < 2*shortTimeout {
				t.Errorf("the client read all of it in %v, too fast to test the time-out", took)
			}
			c.WantKept()
			return
		}
		c.Close()
		if late.longest < shortTimeout/3 {
			t.Fatalf("the response ended after %v: %v", took, err)
		}
	}
	t.Logf("skipped: this machine is too busy to read at a steady pace")
}

// A stopwatch records the longest time between two reads.
type stopwatch struct {
	in      io.Reader
	last    time.Time
	longest time.Duration
}

func (s *stopwatch) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	now := time.Now()
	s.longest, s.last = max(s.longest, now.Sub(s.last)), now
	return n, err
}
