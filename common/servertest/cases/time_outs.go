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

// The times that these cases set are short; the bounds they check are not. That a time-out comes is
// waited for; that it does not come early is checked from before it can have begun, so that it
// does not matter how late this side of the connection is.
const (
	shortly = 300 * time.Millisecond
	early   = shortly / 2 // for those who cannot say when it began
	// idly is longer: for once the client must not be late with what it does.
	idly = time.Second
)

func timeoutCases() []Case {
	flag := func(name string) []string { return []string{"--" + name, shortly.String()} }
	idle := []string{"--idle-timeout", idly.String()}
	notBefore := func(t *T, start time.Time, least time.Duration) {
		if took := time.Since(start); took < least {
			t.Errorf("after %v, before the %v are over", took, least)
		}
	}
	// timely is also not so late that it may be another time-out, or the default.
	timely := func(t *T, start time.Time, least time.Duration) {
		notBefore(t, start, least)
		if took := time.Since(start); took > least+3*time.Second {
			t.Errorf("after %v, though the time-out is %v", took, least)
		}
	}
	return []Case{
		{Name: "timeout-idle", IDs: []string{"timeout-idle", "timeout-idle-silent"}, Flags: idle, Run: func(t *T) {
			c := t.Dial()
			start := time.Now()
			c.Request("GET", "/healthz").WantBody(200, "ok")
			c.WantEnd()
			timely(t, start, idly)
		}},
		{Name: "timeout-idle-new", IDs: []string{"timeout-idle-new", "timeout-idle-silent"}, Flags: idle, Run: func(t *T) {
			start := time.Now()
			t.Dial().WantEnd()
			timely(t, start, idly)
		}},
		{Name: "timeout-idle-ends", IDs: []string{"timeout-idle"}, Flags: idle, Run: func(t *T) {
			// A request that takes longer than the idle time-out is not idle.
			c := t.Dial()
			c.Send(get)
			c.AwaitRead()
			c.WantSilence(3 * idly / 2)
			c.Send("\r\n").WantBody(200, "ok")
			c.WantEnd()
		}},
		{
			Name: "timeout-idle-default", IDs: []string{"timeout-idle-default"}, Alone: true,
			Run: func(t *T) {
				// The silence below cannot tell 60 s from 30 s; the help knows.
				says := regexp.MustCompile(`idle-timeout.*\n?.*\b5 ?s`) // beside it or in the next line
				if t.Stage() == 4 {
					says = regexp.MustCompile(`idle-timeout.*\n?.*\b(60 ?s|1 ?m)`)
				}
				if _, help, _ := t.Exec("--help"); !says.MatchString(help) {
					t.Errorf("no match of %v in the help:%s", says, process.Indent(help))
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
					timely(t, start, shortly)
				})
			}
			// Nor does its end take the answer away from who goes on sending.
			c := t.Dial()
			c.Send("GET /")
			c.AwaitFIN()
			c.Send(strings.Repeat("x", 100_000))
			c.AwaitRead()
			c.WantRefused(408)
			c.Close()
			// The time of the second head begins with its own first byte.
			c = t.Dial()
			c.Send(follow+"GET /").WantBody(200, "ok")
			c.WantRefused(408)
		}},
		{Name: "timeout-header-fixed", IDs: []string{"timeout-header-fixed"}, Flags: flag("header-timeout"), Run: func(t *T) {
			c := t.Dial()
			c.Send(get + "X: ")
			c.DripUntil(shortly/10, "x")
			c.WantRefused(408)
			c.Close()
			c = t.Dial() // whole lines are no more than bytes either
			c.Send(get)
			c.DripUntil(shortly/10, "X: y\r\n")
			c.WantRefused(408)
		}},
		{Name: "timeout-header-starts", IDs: []string{"timeout-header"}, Flags: flag("header-timeout"), Run: func(t *T) {
			// Idle time is not the head's, and neither is the time of other requests.
			c := t.Dial()
			c.WantSilence(2 * shortly)
			c.WantKept()
			c.WantSilence(2 * shortly)
			c.WantKept()
		}},
		{Name: "timeout-body", IDs: []string{"timeout-body", "refuse-408"}, Flags: flag("body-timeout"), Run: func(t *T) {
			for _, part := range []string{sized("5", ""), sized("5", "hell"), chunked(""), chunked("5\r\nhel"), chunked(chunk("5", "hello") + "0\r\n")} {
				t.Sub(fmt.Sprintf("%q", part), func(t *T) {
					c := t.Dial()
					start := time.Now()
					c.Send(part).WantRefused(408)
					timely(t, start, shortly)
				})
			}
		}},
		{Name: "timeout-body-fixed", IDs: []string{"timeout-body-fixed"}, Flags: flag("body-timeout"), Run: func(t *T) {
			c := t.Dial()
			c.Send(sized("100000", ""))
			c.DripUntil(shortly/10, "x")
			c.WantRefused(408)
			c.Close()
			c = t.Dial()
			c.Send(chunked(""))
			c.DripUntil(shortly/10, chunk("1", "x"))
			c.WantRefused(408)
		}},
		{Name: "timeout-body-starts", IDs: []string{"timeout-body"}, Flags: flag("body-timeout"), Run: func(t *T) {
			// The head may take longer than a body may.
			c := t.Dial()
			c.Send(post)
			c.WantSilence(2 * shortly)
			c.Send("Content-Length: 2\r\n\r\nok").WantBody(200, "ok")
		}},
		{Name: "timeout-body-own", IDs: []string{"timeout-body"}, Flags: []string{"--body-timeout", idly.String()}, Run: func(t *T) {
			// Nor is the time of its head taken from a body that comes in pieces.
			c := t.Dial()
			c.Send(post)
			c.WantSilence(3 * idly / 2)
			c.Send("Content-Length: 2\r\n\r\no").AwaitRead()
			c.WantSilence(idly / 10)
			c.Send("k").WantBody(200, "ok")
			c.WantKept()
		}},
		{Name: "timeout-write", IDs: []string{"timeout-write"}, Flags: []string{"--write-timeout", (3 * idly / 2).String()}, Run: func(t *T) {
			// It must not be two time-outs: one in which the kernel took what it had room for, and one
			// in which it took nothing. Where this machine was busy meanwhile, it tries again.
			const least = 3 * idly / 2
			took := time.Duration(0)
			for try := 0; try < 3 && (took == 0 || took > 2*least-100*time.Millisecond); try++ {
				c := t.DialTo(t.Server, DialOptions{RecvBuf: 4096})
				start := time.Now()
				c.Request("GET", "/big.bin").AwaitAnswer()
				t.Eventually("the server gives up a client that does not read", func() bool { return t.Server.Connections() == 0 })
				notBefore(t, start, least)
				took = time.Since(start)
				if _, err := c.Stream(wire.Digest(t.Root.BigSum)); err == nil {
					t.Errorf("yet the whole response is there")
				}
				c.Close()
			}
			if took > 2*least-100*time.Millisecond {
				t.Errorf("after %v, though the time-out is %v", took, least)
			}
		}},
		{Name: "timeout-write-progress", IDs: []string{"timeout-write-progress", "content-big"}, Flags: flag("write-timeout"), Run: func(t *T) {
			slowReading(t, func(in io.Reader) io.Reader { return wire.Slowly(in, docroot.BigSize/120, 12*time.Millisecond) })
		}},
		{Name: "timeout-write-slow", IDs: []string{"timeout-write-progress"}, Flags: flag("write-timeout"), Run: func(t *T) {
			// The kernel reports room for more only when a third of its queue is free, and the
			// queue holds megabytes: at this pace that takes longer than the time-out, though
			// the client takes some bytes all the time.
			slowReading(t, func(in io.Reader) io.Reader {
				return io.MultiReader(wire.Slowly(io.LimitReader(in, 2<<20), 16<<10, 15*time.Millisecond), in)
			})
		}},
	}
}

// slowReading reads big.bin at some pace, which must take longer than the time-out and must not be
// held against it. Where this machine is so busy that the reader itself was late, nothing is
// proven, and it tries again.
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
			if took < 2*shortly {
				t.Errorf("all of it in %v: too fast to prove anything", took)
			}
			c.WantKept()
			return
		}
		c.Close()
		if late.longest < shortly/3 {
			t.Fatalf("after %v: %v", took, err)
		}
	}
	t.Logf("this machine is too busy to read at a steady pace: nothing is proven")
}

// A stopwatch takes down the longest time between two reads.
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
