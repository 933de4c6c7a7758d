package cases

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// unacked is the length in bytes of a response that fits into the kernel's send buffer. If the client
// does not read, most of it is still unacknowledged when the server has nothing more to send.
const unacked = 1_000_000

func closeCases() []Case {
	part := func(fields ...string) string {
		return wire.Request("GET", "/big.bin", "", append(fields, "Range: bytes=0-999999")...)
	}
	slow := func(t *T, s *Server) *Client { return t.DialTo(s, DialOptions{RecvBuf: 4096}) }
	// awaitSent waits until the kernel has all of the response and the server has shut down its
	// sending side.
	awaitSent := func(t *T, c *Client, what string) {
		t.Helper()
		t.Eventually(what, func() bool {
			end, err := kernel.ServerEnd(c.Conn)
			return err != nil || end.State != unix.BPF_TCP_ESTABLISHED && end.State != unix.BPF_TCP_CLOSE_WAIT
		})
	}
	whole := func(t *T, c *Client) {
		t.Helper()
		resp, err := c.Stream(func(_ *Response, in io.Reader) error {
			n, err := io.Copy(io.Discard, in)
			if n != unacked {
				t.Errorf("%d of %d bytes arrived: %v", n, unacked, err)
			}
			return err
		})
		if err != nil {
			t.Fatalf("reading the last response: %v", err)
		}
		if resp.Status != 206 {
			t.Errorf("answered %d, want 206", resp.Status)
		}
		c.WantEnd()
	}
	return []Case{
		{Name: "close-lingers", IDs: []string{"close-lingers"}, Run: func(t *T) {
			for how, send := range map[string]string{
				"Connection: close": part("Connection: close"),
				"HTTP/1.0":          strings.Replace(part(), "HTTP/1.1", "HTTP/1.0", 1),
				"half-close":        part(),
			} {
				for what, more := range map[string]func(c *Client){
					"nothing more":   func(*Client) {},
					"CR LF":          func(c *Client) { c.Send("\r\n") },
					"an urgent byte": func(c *Client) { c.Control(func(fd int) { _ = unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) }) },
				} {
					if how == "half-close" && what != "nothing more" {
						continue
					}
					t.Sub(how+", then "+what, func(t *T) {
						c := slow(t, t.Server)
						c.Send(send)
						if how == "half-close" {
							c.CloseWrite()
						}
						awaitSent(t, c, "the server shuts down its sending side")
						more(c)
						whole(t, c)
						c.Close()
					})
				}
			}
			t.Sub("a small response, then an urgent byte", func(t *T) {
				// The urgent byte arrives before the server has read the requests, and a read stops in front
				// of it.
				c := slow(t, t.Server)
				c.Send(strings.Repeat(wire.Request("GET", "/k.txt", ""), 40) + wire.Request("GET", "/healthz", "", "Connection: close"))
				c.Control(func(fd int) { _ = unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
				awaitSent(t, c, "the server shuts down its sending side")
				for range 40 {
					c.Want(200)
				}
				c.WantBody(200, "ok")
				c.WantEnd()
			})
		}},
		{Name: "close-lingers-idle", IDs: []string{"close-lingers", "timeout-idle-acked"}, Flags: []string{"--idle-timeout", longTimeout.String()}, Run: func(t *T) {
			c := slow(t, t.Server)
			c.Send(part())
			c.AwaitAnswer()
			<-time.After(2 * longTimeout) // longer than the idle time-out
			if end, err := kernel.ServerEnd(c.Conn); err != nil || end.State != unix.BPF_TCP_ESTABLISHED {
				t.Fatalf("the idle time-out closed the connection before the response was acknowledged")
			}
			resp := c.Read()
			start := time.Now()
			if resp.Status != 206 || len(resp.Body) != unacked {
				t.Errorf("answered %v, want 206 with %d bytes", resp, unacked)
			}
			c.WantKept()
			c.WantEnd()
			if took := time.Since(start); took < longTimeout || took > longTimeout+3*time.Second {
				t.Errorf("the connection was closed %v after the last response, want the idle time-out of %v", took, longTimeout)
			}
		}},
		{Name: "close-lingers-stop", IDs: []string{"close-lingers", "stop-finishes"}, NoServer: true, Run: func(t *T) {
			for _, connection := range []string{"keep-alive", "close"} {
				s := t.Begin(Config{})
				c := slow(t, s)
				c.Send(part("Connection: " + connection))
				c.AwaitAnswer()
				s.Signal(syscall.SIGTERM)
				awaitSent(t, c, "the server shuts down its sending side")
				c.Send("\r\n")
				whole(t, c)
				c.Close()
				if state, status, ok := s.Wait(process.StopPatience); !ok || status != 0 {
					t.Errorf("%s, want exit status 0", state)
				}
			}
		}},
		{Name: "close-bounded", IDs: []string{"close-bounded"}, Flags: []string{"--write-timeout", longTimeout.String()}, Alone: true, Run: func(t *T) {
			for how, end := range map[string]func(c *Client){
				"nothing more": func(*Client) {},
				"half-close":   func(c *Client) { c.CloseWrite() },
			} {
				t.Sub(how, func(t *T) {
					c := slow(t, t.Server)
					start := time.Now()
					c.Send(part("Connection: close"))
					end(c)
					awaitSent(t, c, "the server shuts down its sending side")
					if n := t.Server.Connections(); n != 1 {
						t.Errorf("%d connections are open while the last response is unacknowledged, want 1", n)
					}
					t.Eventually("the server closes the connection of a client that does not read", func() bool { return t.Server.Connections() == 0 })
					if took := time.Since(start); took < longTimeout || took > longTimeout+3*time.Second {
						t.Errorf("the server closed it after %v, want the write time-out of %v", took, longTimeout)
					}
					if _, err := io.Copy(io.Discard, c.R); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("the client's read ended with %v, want a reset", err)
					}
					c.Close()
				})
			}
			// A client that reads slowly gets the whole response.
			c := slow(t, t.Server)
			c.Send(part("Connection: close"))
			awaitSent(t, c, "the server shuts down its sending side")
			n, err := io.Copy(io.Discard, wire.Slowly(c.R, unacked/20, 3*longTimeout/20))
			if n < unacked || err != nil {
				t.Errorf("a slow client got %d bytes: %v", n, err)
			}
		}},
		{Name: "close-counted", IDs: []string{"close-bounded", "cli-max-conns"}, Flags: []string{"--max-conns", "2", "--write-timeout", longTimeout.String()}, Alone: true, Run: func(t *T) {
			start := time.Now()
			most := 2
			if t.Stage() == 1 {
				most = 1
			}
			for range most {
				c := slow(t, t.Server)
				c.Send(part("Connection: close"))
				awaitSent(t, c, "the server shuts down its sending side")
			}
			next := t.Dial()
			next.Request("GET", "/healthz").WantBody(200, "ok")
			if took := time.Since(start); took < longTimeout {
				t.Errorf("a client was let in after %v: connections with an unacknowledged response did not count", took)
			}
		}},
		{Name: "timeout-late", IDs: []string{"timeout-late"}, NoServer: true, Run: func(t *T) {
			flags := []string{"--header-timeout", longTimeout.String(), "--body-timeout", longTimeout.String(), "--idle-timeout", longTimeout.String()}
			for what, cut := range map[string]int{"head": 10, "body": len(sized("5", "he")), "idle": 0} {
				s := t.Begin(Config{Flags: flags})
				c := t.DialTo(s, DialOptions{})
				whole := sized("5", "hello")
				start := time.Now()
				c.Send(whole[:cut]).AwaitRead()
				t.Eventually("the server sleeps", func() bool { return s.Connections() == 1 && !s.Awake() })
				s.Signal(syscall.SIGSTOP)
				t.Eventually("the server is suspended", s.Suspended)
				c.Send(whole[cut:])
				time.Sleep(time.Until(start.Add(longTimeout + longTimeout/2))) // longer than any of the time-outs
				s.Signal(syscall.SIGCONT)
				resp, err := c.TryRead("POST")
				if err != nil || string(resp.Body) != "hello" {
					t.Errorf("%s: a request that arrived in time got %v, %v", what, resp, err)
				}
				c.Close()
			}
		}},
	}
}
