package cases

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// smallWindow is the size in bytes of a receive buffer. While its client does not read, most of big.bin
// stays at the server. When the client reads, the rest arrives within 5 s even on a busy machine.
const smallWindow = 64 << 10

// atOnce is less than the 5 s that a stopping server gives to responses under way. A server that takes
// longer has waited for something.
const atOnce = 4 * time.Second

func stopCases() []Case {
	exits := func(t *T, s *Server, within time.Duration) {
		t.Helper()
		start := time.Now()
		state, status, ok := s.Wait(within)
		if !ok || status != 0 {
			t.Fatalf("%s after %v, want exit status 0 within %v", state, time.Since(start).Round(time.Millisecond), within)
		}
	}
	// underWay requests big.bin and waits until the response begins to arrive.
	underWay := func(t *T, s *Server) *Client {
		t.Helper()
		c := t.DialTo(s, DialOptions{RecvBuf: smallWindow})
		c.Request("GET", "/big.bin")
		c.AwaitAnswer()
		return c
	}
	stopsListening := func(t *T, s *Server) {
		t.Helper()
		t.Eventually("the server no longer listens", func() bool { return !kernel.Listening(s.Port) })
	}
	return []Case{
		{Name: "stop-idle", IDs: []string{"stop-term", "stop-int"}, NoServer: true, Run: func(t *T) {
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				for _, used := range []bool{false, true} {
					s := t.Begin(Config{})
					if used {
						if err := suite.Healthy(s); err != nil {
							t.Errorf("%v", err)
						}
					}
					s.Signal(sig)
					exits(t, s, atOnce)
				}
			}
		}},
		{Name: "stop-hup", IDs: []string{"stop-hup"}, NoServer: true, Run: func(t *T) {
			// A process inherits ignored signals, so a server that this process starts under nohup(1) would
			// ignore SIGHUP. It does not inherit signals that are delivered to a channel.
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			s := t.Begin(Config{})
			s.Signal(syscall.SIGHUP)
			exits(t, s, atOnce)
			s = t.Begin(Config{})
			c := underWay(t, s)
			s.Signal(syscall.SIGHUP)
			stopsListening(t, s)
			if _, err := c.Stream(wire.Digest(t.Root.BigSum)); err != nil {
				t.Errorf("the response under way: %v", err)
			}
			c.WantEnd()
			exits(t, s, process.StopPatience)
			if out := s.Stdout.String(); !strings.HasSuffix(out, ": stopped\n") {
				t.Errorf("want the stop as the last line on stdout, got:%s", process.Indent(out))
			}
		}},
		{Name: "stop-hup-ignored", IDs: []string{"stop-hup-ignored"}, NoServer: true, Run: func(t *T) {
			s := t.Begin(Config{Wrap: []string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}})
			c := t.DialTo(s, DialOptions{})
			for range 2 {
				s.Signal(syscall.SIGHUP)
				c.WantSilence(50 * time.Millisecond)
				c.WantKept()
			}
			s.Signal(syscall.SIGTERM)
			exits(t, s, atOnce)
		}},
		{Name: "stop-line", IDs: []string{"stop-line"}, NoServer: true, Run: func(t *T) {
			for _, flags := range [][]string{nil, {"-s"}} {
				for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
					s := t.Begin(Config{Flags: flags})
					c := underWay(t, s)
					s.Signal(sig)
					stopsListening(t, s)
					if _, err := c.Stream(wire.Digest(t.Root.BigSum)); err != nil {
						t.Errorf("the response under way: %v", err)
					}
					c.WantEnd()
					exits(t, s, process.StopPatience)
					out := s.Stdout.String()
					if !regexp.MustCompile(fmt.Sprintf(`\nstage%d\S*: stopped\n$`, t.Stage())).MatchString(out) || strings.Count(out, ": stopped\n") != 1 {
						t.Errorf("%q, %v: want the stop as the last line on stdout, got:%s", flags, sig, process.Indent(out))
					}
				}
			}
		}},
		{Name: "stop-idle-conns", IDs: []string{"stop-idle-conns"}, NoServer: true, Run: func(t *T) {
			s := t.Begin(Config{Flags: []string{"--idle-timeout", "1m"}})
			used := t.DialTo(s, DialOptions{})
			used.WantKept()
			idle := []*Client{used}
			if t.Stage() > 1 { // stage 1 would not accept a second connection
				silent := t.DialTo(s, DialOptions{})
				t.Eventually("both connections are open", func() bool { return s.Connections() == 2 })
				idle = append(idle, silent)
			}
			s.Signal(syscall.SIGTERM)
			for _, c := range idle {
				c.Patience(atOnce).WantEnd()
			}
			exits(t, s, atOnce)
		}},
		{Name: "stop-idle-many", IDs: []string{"stop-idle-conns"}, NoServer: true, Stages: stages.In(2, 3, 4), Run: func(t *T) {
			s := t.Begin(Config{Flags: []string{"--idle-timeout", "1m"}})
			var idle []*Client
			for range 30 {
				c := t.DialTo(s, DialOptions{})
				c.WantKept()
				idle = append(idle, c)
			}
			s.Signal(syscall.SIGTERM)
			for _, c := range idle {
				c.Patience(atOnce).WantEnd()
			}
			exits(t, s, atOnce)
		}},
		{Name: "stop-finishes", IDs: []string{"stop-finishes", "stop-ends", "stop-no-accept", "stop-term"}, NoServer: true, Run: func(t *T) {
			s := t.Begin(Config{})
			c := underWay(t, s)
			s.Signal(syscall.SIGTERM)
			stopsListening(t, s)
			if conn, err := s.Dial(DialOptions{}); err == nil {
				_ = conn.Close()
				t.Errorf("a new client is accepted")
			}
			if _, err := c.Stream(wire.Digest(t.Root.BigSum)); err != nil {
				t.Errorf("reading the response under way: %v", err)
			}
			c.WantEnd()
			exits(t, s, atOnce)
		}},
		{Name: "stop-finishes-request", IDs: []string{"stop-finishes"}, NoServer: true, Run: func(t *T) {
			// Half a request is not a response under way, so the server may answer it or close. It must
			// not send half a response.
			s := t.Begin(Config{})
			c := t.DialTo(s, DialOptions{})
			c.Send(sized("5", "he"))
			c.AwaitRead()
			s.Signal(syscall.SIGTERM)
			stopsListening(t, s)
			c.Send("llo")
			resp, err := c.TryRead("POST")
			var reset bool
			if err != nil {
				reset = errors.Is(err, syscall.ECONNRESET)
			}
			if err != nil && !wire.Closed(err) && !reset {
				t.Errorf("want a response or a closed connection, got: %v", err)
			}
			if err == nil && string(resp.Body) != "hello" && resp.Status < 400 {
				t.Errorf("answered %v, want the whole body or an error", resp)
			}
			exits(t, s, process.StopPatience)
		}},
		{Name: "stop-five-seconds", IDs: []string{"stop-five-seconds"}, NoServer: true, Alone: true, Run: func(t *T) {
			// A busy machine may explain one late stop, but not three.
			var took time.Duration
			for range 3 {
				s := t.Begin(Config{})
				underWay(t, s)
				start := time.Now()
				s.Signal(syscall.SIGTERM)
				exits(t, s, process.StopPatience)
				if took = time.Since(start); took < 5500*time.Millisecond {
					return
				}
			}
			t.Errorf("the server stops after %v, want 5 s", took.Round(time.Millisecond))
		}},
		{Name: "stop-second-signal", IDs: []string{"stop-second-signal"}, NoServer: true, Alone: true, Run: func(t *T) {
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
				s := t.Begin(Config{})
				underWay(t, s)
				start := time.Now()
				s.Signal(sig)
				stopsListening(t, s)
				s.Signal(sig)
				if state, _, ok := s.Wait(process.StopPatience); !ok || time.Since(start) > 4*time.Second {
					t.Errorf("two signals %v: %s after %v, want an exit at once", sig, state, time.Since(start))
				}
			}
		}},
		{Name: "stop-port-free", IDs: []string{"stop-port-free"}, NoServer: true, Run: func(t *T) {
			port := t.FreePort()
			for range 3 {
				s := t.Begin(Config{Port: port})
				// The server closes both connections, so both are in TIME_WAIT on its side.
				t.DialTo(s, DialOptions{}).Request("GET", "/healthz", "Connection: close").WantBody(200, "ok")
				kept := t.DialTo(s, DialOptions{})
				kept.Request("GET", "/healthz").WantBody(200, "ok")
				if err := s.Stop(); err != nil {
					t.Fatalf("%v", err)
				}
				kept.WantEnd()
			}
		}},
		{Name: "stop-retry", IDs: []string{"stop-retry"}, NoServer: true, Run: stopRetry},
		{Name: "stop-stdout-closed", IDs: []string{"stop-stdout-closed"}, NoServer: true, Run: func(t *T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatalf("%v", err)
			}
			s := t.Begin(Config{Stdout: w})
			_ = w.Close()
			buf := make([]byte, 4096)
			if n, err := r.Read(buf); err != nil || !strings.Contains(string(buf[:n]), strconv.Itoa(s.Port)) {
				t.Errorf("the start line is %q, %v", buf[:n], err)
			}
			_ = r.Close()
			for range 50 {
				if err := suite.Healthy(s); err != nil {
					t.Fatalf("with its stdout closed: %v", err)
				}
			}
		}},
		{Name: "stop-stdout-stuck", IDs: []string{"stop-stdout-closed"}, NoServer: true, Run: func(t *T) {
			// The reader is still there but does not read, so the pipe is full.
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatalf("%v", err)
			}
			s := t.Begin(Config{Stdout: w})
			_ = w.Close()
			c := t.DialTo(s, DialOptions{})
			long := "/healthz?" + strings.Repeat("x", 1000)
			for range 500 {
				c.Request("GET", long).WantBody(200, "ok")
			}
			c.Close()
			go func() { // empty the pipe before the stop, which may wait for the log
				_, _ = io.Copy(io.Discard, r)
				_ = r.Close()
			}()
		}},
	}
}

// stopRetry keeps sending requests while a server is stopped and another one takes over its port. The
// signal arrives in the middle of a response. The response is larger than the kernel's buffers, so the
// server itself must finish it.
func stopRetry(t *T) {
	const requests, middle, step = 60, 20, 4096
	port, big := t.FreePort(), t.Root.Big()
	s := t.Begin(Config{Port: port})
	c := t.DialTo(s, DialOptions{RecvBuf: smallWindow})
	restarted := make(chan *Server, 1)
	restart := func(old *Server) {
		_, _, _ = old.Wait(process.StopPatience)
		next, err := t.Program.Begin(Config{Port: port, Root: t.Root.Dir})
		if err != nil {
			t.Errorf("restart: %v", err)
		}
		restarted <- next
	}
	ask := func(i int) error {
		size := step
		if i == middle {
			size = 8 << 20
		}
		c.Request("GET", "/big.bin", fmt.Sprintf("Range: bytes=%d-%d", i*step, i*step+size-1))
		if i == middle {
			c.AwaitAnswer()
			s.Signal(syscall.SIGTERM)
			go restart(s)
		}
		resp, err := c.TryRead("GET")
		if err == nil && (resp.Status != 206 || !bytes.Equal(resp.Body, big[i*step:i*step+size])) {
			return fmt.Errorf("answered %v, want 206 with the requested bytes", resp)
		}
		if resp != nil && err != nil {
			return fmt.Errorf("in the middle of a response: %v", err) // not %w: the client must not repeat this request
		}
		return err
	}
	for i := range requests {
		err := ask(i)
		if wire.Closed(err) || errors.Is(err, syscall.ECONNRESET) { // no byte of the response has arrived
			next := <-restarted
			if next == nil {
				return
			}
			t.OnEnd(next.Kill)
			restarted <- nil
			c = t.DialTo(next, DialOptions{})
			err = ask(i)
		}
		if err != nil {
			t.Fatalf("request %d is lost: %v", i, err)
		}
	}
	if next := <-restarted; next != nil { // the first server ended after the last request
		next.Kill()
	}
}
